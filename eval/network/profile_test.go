package network

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
)

func load(t *testing.T, name string) *Profile {
	t.Helper()
	p, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustSay(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

func TestLoad(t *testing.T) {
	want := []string{"blockzero-docs", "blockzero@907d2e4", "connito@0c936fa", "sn9@6.0.4"}
	if got := Names(); !slices.Equal(got, want) {
		t.Fatalf("profiles %v, want %v", got, want)
	}
	seen := map[string]string{}
	for _, name := range want {
		p := load(t, name)
		for _, alias := range append(p.Aliases, p.Name) {
			if other, twice := seen[alias]; twice {
				t.Errorf("%s and %s are both called %s", other, name, alias)
			}
			seen[alias] = name
			if load(t, alias).Name != name {
				t.Errorf("%s does not lead to %s", alias, name)
			}
		}
	}
	_, err := Load("conito")
	mustSay(t, err, `unknown network profile "conito"; there are blockzero-docs, blockzero@907d2e4, connito@0c936fa`)
}

func TestValues(t *testing.T) {
	c := load(t, "connito")
	if c.DType() != checkpoint.F16 || c.Naming() != checkpoint.V2LiteFused {
		t.Errorf("update %v %v", c.DType(), c.Naming())
	}
	if c.Cycle.Blocks() != 500 || c.Cycle.WindowSeconds() != 3600 {
		t.Errorf("cycle of %d blocks, window %g s", c.Cycle.Blocks(), c.Cycle.WindowSeconds())
	}
	if l := c.Model.MoELayers.Layers(); len(l) != 26 || l[0] != 1 || l[25] != 26 {
		t.Errorf("layers %v", l)
	}
	b := load(t, "blockzero")
	if b.Cycle.Blocks() != 54 || b.Naming() != checkpoint.Qwen3Next || len(b.Model.MoELayers.Layers()) != 48 {
		t.Errorf("blockzero: %d blocks, %v", b.Cycle.Blocks(), b.Naming())
	}
	d := load(t, "blockzero-docs")
	if d.Cycle.Blocks() != 45 || d.Cycle.WindowSeconds() != 360 || d.Model.MoELayers.Layers() != nil {
		t.Errorf("docs: %d blocks", d.Cycle.Blocks())
	}
	s := load(t, "sn9")
	weights := 0.0
	for _, source := range s.Evaluate.Sources {
		weights += source.Weight
	}
	if weights != 1 || s.Cycle.WindowSeconds() != 0 {
		t.Errorf("sn9: weights sum to %g, window %g", weights, s.Cycle.WindowSeconds())
	}
}

func TestDefaults(t *testing.T) {
	for _, c := range []struct {
		profile, key string
		want         any
	}{
		{"connito", "train.learning_rate", 1e-5},
		{"connito", "train.warmup_steps", 0},
		{"connito", "train.beta2", 0.95},
		{"connito", "train.schedule", "cosine"},
		{"connito", "tokenize.sequence_length", 1024},
		{"connito", "tokenize.special_tokens", true},
		{"connito", "held_out.min_chars", 200},
		{"connito", "held_out.dedup_prefix_chars", 200},
		{"connito", "proof_of_loss.exponent", 1.2},
		{"connito", "proof_of_loss.rank_points", []float64{2.25, 1.5, 1.0}},
		{"connito", "bundle.dtype", "F16"},
		{"connito", "train.max_steps", nil},
		{"blockzero-docs", "train.learning_rate", 3e-5},
		{"blockzero-docs", "train.warmup_steps", 100},
		{"blockzero-docs", "train.max_steps", 500},
		{"blockzero-docs", "tokenize.sequence_length", nil},
		{"blockzero", "train.learning_rate", 2e-5},
		{"blockzero", "train.gradient_accumulation_steps", 5},
		{"sn9", "tokenize.packing", "eos-concat"},
		{"sn9", "train.learning_rate", nil},
	} {
		got := load(t, c.profile).Defaults()[c.key]
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s %s = %#v, want %#v", c.profile, c.key, got, c.want)
		}
	}
	p := load(t, "connito")
	p.Defaults()["train.learning_rate"] = 7.0
	if p.Defaults()["train.learning_rate"] != 1e-5 {
		t.Error("the defaults can be changed from outside")
	}
}

func TestLoadFile(t *testing.T) {
	text, err := builtin.ReadFile("profiles/connito@0c936fa.yaml")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "mine.yaml")
	read := func(from, to string) (*Profile, error) {
		t.Helper()
		if !strings.Contains(string(text), from) {
			t.Fatalf("the profile does not say %q", from)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), from, to)), 0o666); err != nil {
			t.Fatal(err)
		}
		return LoadFile(store.OS(), path)
	}
	p, err := read("learning_rate: 1.0e-5", "learning_rate: 1e-4")
	if err != nil || p.Train.LearningRate != 1e-4 || p.Defaults()["train.learning_rate"] != 1e-4 {
		t.Errorf("learning rate %v, %v", p, err)
	}
	for _, c := range [][2]string{{filepath.Dir(path), "mine.yaml"}, {"elsewhere", path}, {"elsewhere", "connito"}} {
		if p, err := Find(store.OS(), c[0], c[1]); err != nil || p.Name != "connito@0c936fa" {
			t.Errorf("Find(%s, %s): %v, %v", c[0], c[1], p, err)
		}
	}
	for _, c := range [][3]string{
		{"learning_rate:", "learnig_rate:", `mine.yaml: [23:3] unknown field "learnig_rate"`},
		{"name: connito@0c936fa", "name: ''", "needs name and source"},
		{"rule: connito", "rule: x", `evaluate.rule: unknown "x"`},
		{"dtype: F16", "dtype: fp16", "update.dtype"},
		{"naming: v2lite-fused", "naming: x", "update.naming"},
		{"hash: blake2b-24", "hash: x", "update.hash"},
		{"format: torch", "format: zip", "bundle.files"},
		{"{group}.pt", "{gruop}.pt", "unknown {field}"},
		{"{group}.pt", "../{group}.pt", "no name of a file"},
		{"commit: connito", "commit: x", "bundle.commit"},
	} {
		_, err := read(c[0], c[1])
		mustSay(t, err, c[2])
	}
}

// FuzzParse checks that no text crashes the reader and that what passes can be used.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"connito@0c936fa", "sn9@6.0.4"} {
		data, err := builtin.ReadFile("profiles/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err != nil {
			return
		}
		p.Defaults()
		p.Scorer()
		p.Layout(BundleID{})
		if p.DType().String() != p.Update.DType || p.Naming().String() != p.Update.Naming {
			t.Fatal("update's type or naming changed")
		}
	})
}
