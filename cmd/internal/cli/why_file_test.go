package cli

import (
	"strings"
	"testing"

	"bzdata/pipeline"
)

// TestNamedFiles names files as people do, in runs whose files share the ends of their paths.
func TestNamedFiles(t *testing.T) {
	files := []pipeline.InputRecord{
		{Source: "alpha", Path: "x.jsonl", Place: "data/alpha/x.jsonl"},
		{Source: "beta", Path: "x.jsonl", Place: "data/beta/x.jsonl"},
		{Source: "gamma", Path: "x.jsonl", Place: "/srv/raw/gamma/x.jsonl"},
		{Source: "deep", Path: "beta/y.jsonl", Place: "data/deep/beta/y.jsonl"},
		{Source: "top", Path: "y.jsonl", Place: "y.jsonl"},
		{Source: "far", Path: "z.jsonl", Place: "s3://bucket/beta/z.jsonl"},
		{Source: "old", Path: "w.jsonl"},
		{Source: "hidden", Path: "x.parquet", Place: ".data/x.parquet"},
	}
	for name, want := range map[string]string{
		"x.jsonl":                     "alpha beta gamma",
		"beta/x.jsonl":                "beta",
		"./beta/x.jsonl":              "beta",
		"data/beta/x.jsonl":           "beta",
		"../beta/../beta/x.jsonl":     "beta",
		"/home/me/data/alpha/x.jsonl": "alpha",
		"gamma/x.jsonl":               "gamma",
		"/mnt/raw/gamma/x.jsonl":      "gamma",
		"beta:x.jsonl":                "beta",
		"delta/x.jsonl":               "",
		"delta:x.jsonl":               "",
		"y.jsonl":                     "deep top",
		"beta/y.jsonl":                "deep",
		"/home/me/y.jsonl":            "top",
		"deep:beta/y.jsonl":           "deep",
		"s3://bucket/beta/z.jsonl":    "far",
		"beta/z.jsonl":                "far",
		"z.jsonl":                     "far",
		"any/w.jsonl":                 "old",
		".data/x.parquet":             "hidden",
		"data/x.parquet":              "",
		"jsonl":                       "",
		"..":                          "",
		"/":                           "",
	} {
		var got []string
		for _, in := range namedFiles(files, name) {
			got = append(got, in.Source)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s stands for %v, want %s", name, got, want)
		}
	}
}
