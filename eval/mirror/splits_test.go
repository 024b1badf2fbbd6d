package mirror

import (
	"slices"
	"strings"
	"testing"
)

// TestSplitFiles has cases of the patterns in datasets' data_files.py, with fsspec 2023.12 and later.
func TestSplitFiles(t *testing.T) {
	for _, c := range []struct{ names, split, want string }{
		{"data/train-00001-of-00002.parquet data/train-00000-of-00002.parquet data/test-00000-of-00001.parquet x/train.jsonl", "train",
			"data/train-00000-of-00002.parquet data/train-00001-of-00002.parquet"},
		{"data/extra-00000-of-00001.jsonl", "extra", "data/extra-00000-of-00001.jsonl"},
		{"train/a.jsonl train/deep/b.jsonl validation/c.jsonl more-train.jsonl", "train", "train/a.jsonl train/deep/b.jsonl"},
		{"my-train-2/a.jsonl other/b.jsonl", "train", "my-train-2/a.jsonl"},
		{"restrain/a.jsonl other/b.jsonl", "train", "other/b.jsonl restrain/a.jsonl"},
		{"train.jsonl dev.jsonl", "validation", "dev.jsonl"},
		{"c4-train.00001-of-01024.json.gz c4-train.00000-of-01024.json.gz c4-validation.0.json.gz", "train",
			"c4-train.00000-of-01024.json.gz c4-train.00001-of-01024.json.gz"},
		{"x/eval/a.jsonl", "test", "x/eval/a.jsonl"},
		{"b.jsonl a.jsonl README.md config.json .hidden/c.jsonl __x/d.jsonl", "train", "a.jsonl b.jsonl"},
		{"test-a.jsonl a.jsonl", "train", "error has no file of the split train; it has test"},
		{"", "train", "error has no file of the split train; it has train"},
	} {
		got, err := SplitFiles(strings.Fields(c.names), c.split)
		text := strings.Join(got, " ")
		if err != nil {
			text = "error " + err.Error()
		}
		if text != c.want {
			t.Errorf("%s of %s:\ngot  %s\nwant %s", c.split, c.names, text, c.want)
		}
	}
}

func TestOfOneKind(t *testing.T) {
	for names, want := range map[string]string{
		"a.parquet b.jsonl c.PARQUET": "a.parquet c.PARQUET", "a.jsonl b.parquet": "a.jsonl", "a.jsonl.gz b.json": "a.jsonl.gz b.json",
	} {
		if got := ofOneKind(strings.Fields(names)); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s: %v, want %s", names, got, want)
		}
	}
}

func TestConfigsBlock(t *testing.T) {
	text := "---\r\nlicense: mit\nconfigs:\n- config_name: a\n  data_files:\n  # one\n  - split: train\n    path: a/*\n\n" +
		"- config_name: b\ntags:\n- x\n---\n# configs:\n"
	want := "configs:\n- config_name: a\n  data_files:\n  # one\n  - split: train\n    path: a/*\n\n- config_name: b\n"
	if got := configsBlock(text); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, text := range []string{"", "# A\nconfigs:\n- x\n", "---\ntags: []\n---\nconfigs:\n"} {
		if got := configsBlock(text); got != "" {
			t.Errorf("%q has %q", text, got)
		}
	}
}

// FuzzConfigs reads any README without a panic, and what it takes for a split's files are patterns.
func FuzzConfigs(f *testing.F) {
	f.Add(readme)
	f.Add("---\nconfigs:\n- data_files: [a, [b], {split: train, path: 3}]\n  default: yes\n---\n")
	f.Add("---\nconfigs: {a: b}\n---\n")
	f.Fuzz(func(t *testing.T, text string) {
		configs, err := parseConfigs(text)
		if err != nil || len(configs) == 0 {
			return
		}
		c, err := choose(configs, "")
		if err != nil {
			return
		}
		if patterns, stated, err := c.patterns("train"); err == nil && stated && len(patterns) == 0 {
			t.Errorf("%q states no pattern", text)
		}
	})
}
