package pipeline_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bzdata/pipeline"
)

var update = flag.Bool("update", false, "rewrite the expected files in testdata")

// flagsOf reads the options of a test plan off comments in its first lines, such as
// "# --var date=today" and "# --set minhash.bands=20".
func flagsOf(src []byte) pipeline.ParseOptions {
	opt := toyOptions()
	for line := range strings.SplitSeq(string(src), "\n") {
		name, pair, _ := strings.Cut(strings.TrimPrefix(line, "# "), " ")
		key, value, _ := strings.Cut(pair, "=")
		switch name {
		case "--var":
			opt.Vars[key] = value
		case "--set":
			opt.Set = append(opt.Set, pipeline.Override{Key: key, Value: value})
		default:
			return opt
		}
	}
	return opt
}

// golden compares got with a file, or rewrites the file under -update.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is stale; to rewrite it, run go test ./pipeline -run %s -update\ngot:\n%s\nwant:\n%s",
			file, t.Name(), got, want)
	}
}

func plans(t testing.TB, suffix string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "plans", "*"+suffix))
	if err != nil || len(files) == 0 {
		t.Fatalf("no plans: %v", err)
	}
	out := map[string][]byte{}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out[file] = src
	}
	return out
}

// TestBadPlans shows every message in full: *.bad.yaml are plans with mistakes, the .txt
// beside each is what the author gets to read.
func TestBadPlans(t *testing.T) {
	all := plans(t, ".bad.yaml")
	if len(all) < 40 {
		t.Fatalf("only %d bad plans", len(all))
	}
	for file, src := range all {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".bad.yaml"), func(t *testing.T) {
			plan, err := pipeline.ParsePlan("plan.yaml", src, toyRegistry(), flagsOf(src))
			if err == nil || plan != nil {
				t.Fatalf("ParsePlan = %v, %v; want no plan and an error", plan, err)
			}
			if _, ok := err.(pipeline.Diags); !ok {
				t.Fatalf("the error is a %T", err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}

// TestGoodPlans shows what a plan decodes to: every effective value with its origin.
func TestGoodPlans(t *testing.T) {
	for file, src := range plans(t, ".good.yaml") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".good.yaml"), func(t *testing.T) {
			plan, err := pipeline.ParsePlan("plans/my.plan.yaml", src, toyRegistry(), flagsOf(src))
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", dump(plan))
		})
	}
}

func dump(plan *pipeline.Plan) string {
	var b strings.Builder
	show := func(settings []pipeline.Setting) {
		for _, s := range settings {
			value, err := json.Marshal(s.Value)
			if err != nil {
				panic(err)
			}
			fmt.Fprintf(&b, "  %s = %s (%s)\n", s.Key, value, s.Origin)
		}
	}
	fmt.Fprintf(&b, "plan %s %s %v\n", plan.Name, plan.NetworkOrigin, plan.Vars)
	show(plan.Settings)
	for _, s := range plan.Stages {
		fmt.Fprintf(&b, "%d:%d %s %s\n", s.Line, s.Col, s.Label(), s.Kind.Name)
		show(s.Effective)
		fmt.Fprintf(&b, "  %s\n", pipeline.Canonical(s.Config))
	}
	return b.String()
}
