package stages_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline"
)

// TestAuxLoss trains with the load-balancing loss and without: it has a column of its own, the training loss is without
// it, and Block Zero's profile asks for it.
func TestAuxLoss(t *testing.T) {
	trainsModels(t)
	dir := modelCorpus(t, 200)
	// The model has one mixture layer: with its router frozen the loss would change nothing.
	plan := strings.Replace(modelPlan, "stages:", "metrics: {formats: [csv, prometheus]}\nstages:", 1)
	plan = strings.Replace(plan, "max_steps: 12", "max_steps: 12, trainable: all", 1)
	plain, opt := metricsOptions(dir), metricsOptions(dir)
	plain.Workdir = filepath.Join(dir, "plain")
	run(t, dir, plan, plain)
	run(t, dir, strings.Replace(plan, "max_steps: 12", "max_steps: 12, router_aux_loss_coef: 20", 1), opt)
	without, with := rowsOf(t, plain.Workdir), rowsOf(t, opt.Workdir)
	for step := 1; step <= 12; step++ {
		aux, ok := with[step]["moe/aux_loss"].(float64)
		if _, other := without[step]["moe/aux_loss"]; !ok || other || aux < 1 || aux > 8 {
			t.Errorf("step %d: auxiliary loss %v, without the coefficient %v", step, with[step]["moe/aux_loss"], other)
		}
	}
	if with[1]["train/loss"] != without[1]["train/loss"] || with[12]["train/loss"] == without[12]["train/loss"] {
		t.Errorf("training loss %v and %v in the first step, %v and %v in the last", with[1]["train/loss"], without[1]["train/loss"],
			with[12]["train/loss"], without[12]["train/loss"])
	}
	table := readGlob(t, filepath.Join(opt.Workdir, "metrics", "*.csv"))
	lines := strings.Split(table, "\n")
	column := slices.Index(strings.Split(lines[0], ","), "aux_loss")
	if got, want := strings.Split(lines[2], ",")[column], with[1]["moe/aux_loss"]; !strings.HasPrefix(lines[2], "1,") || got != fmt.Sprint(want) {
		t.Errorf("aux_loss is %q in %q, want %v", got, lines[2], want)
	}
	if prom := readGlob(t, filepath.Join(opt.Workdir, "metrics", "*.prom")); !strings.Contains(prom, "moe_aux_loss{") {
		t.Errorf("no moe_aux_loss in\n%s", prom)
	}
	for profile, want := range map[string]float64{"blockzero@907d2e4": 1, "blockzero-docs": 0, "connito": 0, "sn9": 0} {
		p, err := parseProfiled(dir, strings.Replace(modelPlan, "network: {", "network: {profile: "+profile+", ", 1))
		if err != nil {
			t.Fatal(err)
		}
		got := math.NaN()
		at := slices.IndexFunc(p.Stages, func(s pipeline.Step) bool { return s.Kind.Name == "train" })
		for _, s := range p.Stages[at].Effective {
			if s.Key == "router_aux_loss_coef" {
				fmt.Sscan(fmt.Sprint(s.Value), &got)
			}
		}
		if got != want {
			t.Errorf("%s: router_aux_loss_coef is %v, want %v", profile, got, want)
		}
	}
}

// readGlob reads the only file of a pattern.
func readGlob(t *testing.T, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) != 1 {
		t.Fatalf("%s: %v, %v", pattern, names, err)
	}
	data, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
