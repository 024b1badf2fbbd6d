package stages_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"bzdata/eval"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
	"bzdata/tokenize"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
	"bzdata/train/tensor"
)

// TestStepsOfTheUpdate trains beyond the best step: the update is that step's, by what its files say and by
// the loss that its weights have on the select part.
func TestStepsOfTheUpdate(t *testing.T) {
	trainsModels(t)
	dir := modelCorpus(t, 200)
	opt := options(dir)
	// The learning rate is too high towards the end of a long constant schedule.
	plan := strings.Replace(modelPlan, "max_steps: 12", "max_steps: 200, schedule: constant", 1)
	res := run(t, dir, plan, opt)
	var best, last, lowest float64
	for _, p := range panelsOf(t, res, "train") {
		for _, c := range p.Curves.Series {
			if c.Name == "held-out loss, select" {
				from := 1 // the base itself is no update
				at := from
				for i := from; i < len(c.Y); i++ {
					if c.Y[i] < c.Y[at] {
						at = i
					}
				}
				best, last, lowest = c.X[at], c.X[len(c.X)-1], c.Y[at]
			}
		}
	}
	if best == last || last != 200 {
		t.Fatalf("the best of %g steps is %g: the test tells nothing", last, best)
	}
	meta := readJSON[map[string]any](t, opt, "out/update/update.json")
	if meta["steps"] != best || meta["steps_run"] != last {
		t.Errorf("update.json names %v of %v steps, want %g of %g", meta["steps"], meta["steps_run"], best, last)
	}
	manifest := readJSON[map[string]any](t, opt, "out/bundle/manifest.json")
	if id := manifest["id"].(map[string]any); id["inner_step"] != best || manifest["steps_run"] != last {
		t.Errorf("the manifest names %v of %v steps, want %g of %g", id["inner_step"], manifest["steps_run"], best, last)
	}
	if loss := selectLoss(t, dir, opt); loss != lowest {
		t.Errorf("the update's weights have the select loss %v, the lowest of the training is %v", loss, lowest)
	}
}

// selectLoss reads a run's update back over the base and measures the select part.
func selectLoss(t *testing.T, dir string, opt pipeline.Options) float64 {
	t.Helper()
	base, err := checkpoint.OpenDir(store.OS(), filepath.Join(dir, "base"))
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	update, err := stages.OpenUpdate(store.OS(), filepath.Join(opt.Workdir, "out", "update"))
	if err != nil {
		t.Fatal(err)
	}
	defer update.Close()
	sel, err := tokenize.OpenShardFile(store.OS(), filepath.Join(opt.Workdir, "out", "tokens", "select-00000.tokens"))
	if err != nil {
		t.Fatal(err)
	}
	defer sel.Close()
	cfg, err := model.ReadConfig(store.OS(), filepath.Join(dir, "base"))
	if err != nil {
		t.Fatal(err)
	}
	kernels, err := tensor.Choose("plain") // as options has it
	if err != nil {
		t.Fatal(err)
	}
	stream, err := model.NewStream(cfg, base, tensor.New(kernels, 2))
	if err != nil {
		t.Fatal(err)
	}
	_, losses, err := eval.NewEvaluator(stream, sel, eval.Options{}).Losses(context.Background(), update)
	if err != nil {
		t.Fatal(err)
	}
	return losses.Mean()
}
