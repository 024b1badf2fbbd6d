package stages_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
	"bzdata/train/checkpoint"
)

// TestOpenCandidate opens an update in each form that it has, and wants the same tensors.
func TestOpenCandidate(t *testing.T) {
	trainsModels(t)
	dir := overlayCorpus(t)
	groups, err := checkpoint.LoadGroups(store.OS(), filepath.Join(dir, "expert_groups"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"connito", "blockzero", "blockzero-docs"} {
		profile, err := network.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		opt := options(dir)
		opt.Workdir = filepath.Join(t.TempDir(), "run")
		if _, err := bundled(t, dir, bundlePlanOf(name, "dtype: F16", ""), opt); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(opt.Workdir, "out")
		m := manifestOf(t, filepath.Join(out, "bundle"))
		folder := filepath.Join(out, "bundle", m.Directory)
		want := ""
		for _, path := range []string{filepath.Join(out, "update"), filepath.Join(out, "bundle"), folder,
			filepath.Join(folder, m.Files[0].Name)} {
			c, err := stages.OpenCandidate(store.OS(), path, profile.Naming(), groups)
			if err != nil {
				t.Fatal(err)
			}
			tensors, err := checkpoint.Tensors(c)
			if err != nil {
				t.Fatal(err)
			}
			hash, err := checkpoint.Hash(tensors)
			if err != nil || len(tensors) != 6 || want != "" && hash != want {
				t.Errorf("%s, %s, %s: %d tensors, %s, %v", name, path, c.What, len(tensors), hash, err)
			}
			if want = hash; tensors[0].Name != "model.layers.1.mlp.experts.0.down_proj.weight" {
				t.Errorf("%s: the first is %s", path, tensors[0].Name)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestOpenExam(t *testing.T) {
	dir := modelCorpus(t, 120)
	opt := options(dir)
	plan := modelPlan[:strings.Index(modelPlan, "  - train:")]
	if _, err := bundled(t, dir, plan, opt); err != nil {
		t.Fatal(err)
	}
	tokens := filepath.Join(opt.Workdir, "out", "tokens")
	for _, part := range []string{"judge", "select", "train"} {
		exam, err := stages.OpenExam(store.OS(), tokens, part, filepath.Join(dir, "base"))
		if err != nil || exam.Sequences() == 0 || len(exam.Sources) != 1 {
			t.Fatalf("%s: %v", part, err)
		}
		exam.Close()
	}
	tinyBase(t, filepath.Join(dir, "other"), []string{"some other text makes another tokenizer, zzz qqq"})
	_, err := stages.OpenExam(store.OS(), tokens, "judge", filepath.Join(dir, "other"))
	is[*pipeline.DataError](t, err)
	if !strings.Contains(err.Error(), "another tokenizer") {
		t.Error(err)
	}
	_, err = stages.OpenExam(store.OS(), tokens, "nosuch", "")
	is[*pipeline.DataError](t, err)
	_, err = stages.OpenExam(store.OS(), dir, "judge", "")
	var usage *pipeline.UsageError
	if !errors.As(err, &usage) {
		t.Error(err)
	}
}
