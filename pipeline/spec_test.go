package pipeline_test

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline"
)

func TestRegistry(t *testing.T) {
	r := toyRegistry()
	want := []string{"decontaminate", "minhash", "mix", "normalize", "submit", "tokenize", "train"}
	if got := r.Names(); !slices.Equal(got, want) {
		t.Errorf("Names = %v, want %v", got, want)
	}
	for i, k := range r.Kinds() {
		if k.Name != want[i] {
			t.Errorf("Kinds[%d] = %s, want %s", i, k.Name, want[i])
		}
	}
	if k, ok := r.Lookup("minhash"); !ok || k.Version != 3 {
		t.Errorf("Lookup(minhash) = version %d, %v", k.Version, ok)
	}
	if _, ok := r.Lookup("min_hash"); ok {
		t.Error("Lookup finds a kind that is not there")
	}
}

// panics returns what f panics with.
func panics(f func()) (message string) {
	defer func() {
		if r := recover(); r != nil {
			message = fmt.Sprint(r)
		}
	}()
	f()
	return ""
}

func kindOf[C any](name string) func() {
	return func() { pipeline.Spec[C]{Name: name, New: built[C](name)}.Kind() }
}

type loop struct {
	Next []loop `yaml:"next" doc:"More."`
}

// TestSpecMistakes: a wrong declaration is found when the program starts, by its name.
func TestSpecMistakes(t *testing.T) {
	for _, c := range []struct {
		name string
		make func()
		want string
	}{
		{"name", kindOf[struct{}]("Min-Hash"), "snake case"},
		{"section", kindOf[struct{}]("input"), "no part of a plan"},
		{"id", kindOf[struct{}]("id"), "no part of a plan"},
		{"no struct", kindOf[int]("a"), "a struct"},
		{"no New", func() { pipeline.Spec[struct{}]{Name: "a"}.Kind() }, "a New function"},
		{"no key", kindOf[struct {
			A int `doc:"x"`
		}]("a"), "yaml tag"},
		{"no doc", kindOf[struct {
			A int `yaml:"a"`
		}]("a"), "doc tag"},
		{"two keys", kindOf[struct {
			A int `yaml:"a" doc:"x"`
			B int `yaml:"b" doc:"x" alias:"a"`
		}]("a"), "twice"},
		{"bad bound", kindOf[struct {
			A int `yaml:"a" doc:"x" min:"one"`
		}]("a"), `bound "one"`},
		{"bound of a text", kindOf[struct {
			A string `yaml:"a" doc:"x" max:"1"`
		}]("a"), `bound "1"`},
		{"type", kindOf[struct {
			A chan int `yaml:"a" doc:"x"`
		}]("a"), "cannot be decoded"},
		{"map key", kindOf[struct {
			A map[int]int `yaml:"a" doc:"x"`
		}]("a"), "keys of a map"},
		{"nested", kindOf[struct {
			A []struct{ B int } `yaml:"a" doc:"x"`
		}]("a"), "field a: field"},
		{"loop", kindOf[loop]("a"), "holds itself"},
		{"default", func() {
			pipeline.Spec[nearCopies]{Name: "a", New: built[nearCopies]("a"), Default: nearCopies{Bands: 999}}.Kind()
		}, "default of bands"},
		{"registry", func() { pipeline.NewRegistry(append(toyKinds(), toyKinds()[0])...) }, "two kinds"},
	} {
		if got := panics(c.make); !strings.Contains(got, c.want) {
			t.Errorf("%s: panic %q, want one with %q", c.name, got, c.want)
		}
	}
}

func TestProgram(t *testing.T) {
	step, err := toyRegistry().ParseExample(toyKinds()[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := step.Program(); err == nil || err.Error() != "normalize is a toy" {
		t.Errorf("Program error = %v", err)
	}
}

// TestDefaultsStay checks that decoding changes a copy of the defaults, also behind
// pointers and in lists.
func TestDefaultsStay(t *testing.T) {
	type config struct {
		Index *indexFolder       `yaml:"index" doc:"Folder."`
		Names []string           `yaml:"names" doc:"Names."`
		Mix   map[string]float64 `yaml:"mix" doc:"Weights."`
		Count *int               `yaml:"count" doc:"Count."`
	}
	one := 1
	def := config{&indexFolder{"a", "b"}, []string{"x", "y"}, map[string]float64{"p": 1}, &one}
	kind := pipeline.Spec[config]{Name: "keep", Default: def, New: built[config]("keep"),
		Example: "keep: {index: {dir: z}, names: [n], mix: {q: 2}, count: 5}"}.Kind()
	before := string(pipeline.Canonical(kind.Default()))
	step, err := pipeline.NewRegistry(kind).ParseExample(kind)
	if err != nil {
		t.Fatal(err)
	}
	if after := string(pipeline.Canonical(kind.Default())); after != before {
		t.Errorf("the default changed from %s to %s", before, after)
	}
	five := 5
	want := config{&indexFolder{"z", "b"}, []string{"n"}, map[string]float64{"q": 2}, &five}
	if !reflect.DeepEqual(step.Config, want) {
		t.Errorf("config %s, want %s", pipeline.Canonical(step.Config), pipeline.Canonical(want))
	}
	own := kind.Default().(config)
	own.Index.Dir, own.Names[0], own.Mix["p"], *own.Count = "changed", "changed", 9, 9
	if after := string(pipeline.Canonical(kind.Default())); after != before {
		t.Errorf("a change of one default shows in the next: %s", after)
	}
	kind = pipeline.Spec[config]{Name: "keep", Default: def, New: built[config]("keep"), Example: "keep: {count: null}"}.Kind()
	if step, err = pipeline.NewRegistry(kind).ParseExample(kind); err != nil || step.Config.(config).Count != nil {
		t.Errorf("null does not unset a pointer: %v", err)
	}
}

func TestCanonical(t *testing.T) {
	empty, null := tokens{}, tokens{Split: []float64{}, Notes: map[string]bool{}}
	if a, b := pipeline.Canonical(empty), pipeline.Canonical(null); string(a) != string(b) {
		t.Errorf("nil and empty lists differ: %s, %s", a, b)
	}
	minute, same := pipeline.Duration(60e9), pipeline.Duration(60e9)
	if a, b := pipeline.Canonical(trainer{Deadline: &minute}), pipeline.Canonical(&trainer{Deadline: &same}); string(a) != string(b) {
		t.Errorf("equal values behind pointers differ: %s, %s", a, b)
	}
	got := string(pipeline.Canonical(nearCopies{Bands: 14, Verify: 0.1, Keep: "<a>", Salt: math.MaxUint64, Memory: 3 << 20}))
	want := `{"bands":14,"index":null,"keep":"<a>","memory":"3MiB","rows":0,"salt":18446744073709551615,"verify":0.1}`
	if got != want {
		t.Errorf("Canonical = %s, want %s", got, want)
	}
	if panics(func() { pipeline.Canonical(nearCopies{Verify: math.NaN()}) }) == "" {
		t.Error("NaN has a canonical form")
	}
	seen := map[string]int{}
	for i, c := range []nearCopies{{}, {Bands: 1}, {Rows: 1}, {Verify: 1}, {Keep: "1"}, {Salt: 1}, {Memory: 1},
		{Index: &indexFolder{}}, {Index: &indexFolder{Dir: "1"}}, {Index: &indexFolder{Generation: "1"}}} {
		text := string(pipeline.Canonical(c))
		if j, dup := seen[text]; dup {
			t.Errorf("configs %d and %d have one form, %s", i, j, text)
		}
		seen[text] = i
	}
}

// completing parses the least plan with a Complete hook.
func completing(complete func(*pipeline.Plan)) (*pipeline.Plan, error) {
	opt := toyOptions()
	opt.Complete = complete
	src := "network: {profile: connito}\ninput:\n  - path: a.jsonl\nheld_out: {fraction: 0.1}\nstages:\n" +
		"  - minhash: {}\n  - train: {max_steps: 1}\n"
	return pipeline.ParsePlan("plan.yaml", []byte(src), toyRegistry(), opt)
}

func TestInsert(t *testing.T) {
	guardKind, _ := toyRegistry().Lookup("decontaminate")
	tokenizeKind, _ := toyRegistry().Lookup("tokenize")
	plan, err := completing(func(p *pipeline.Plan) {
		p.Insert(0, guardKind, "against: [held_out]")
		p.Insert(1, tokenizeKind, "")
		p.Insert(-1, guardKind, "against: [a]")
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range plan.Stages {
		got = append(got, fmt.Sprintf("%s:%v:%d", s.ID, s.Implied, s.Line))
	}
	want := "[decontaminate-2:true:0 minhash:false:6 decontaminate:true:6 tokenize:true:6 train:false:7]"
	if fmt.Sprint(got) != want {
		t.Errorf("stages %v, want %s", got, want)
	}
	if s := plan.Stages[2].Effective[0]; s.Key != "against" || s.Origin != "implied" || fmt.Sprint(s.Value) != "[held_out]" {
		t.Errorf("setting of an implied step: %+v", s)
	}
	if s := plan.Stages[3].Effective[0]; s.Key != "sequence_length" || s.Origin != "connito@0c936fa" || fmt.Sprint(s.Value) != "1024" {
		t.Errorf("an implied step lacks the profile's default: %+v", s)
	}
	for _, c := range []struct {
		index int
		data  pipeline.Data
		want  int
		ok    bool
	}{{4, pipeline.Tokens, 3, true}, {4, pipeline.Documents, 1, true}, {1, pipeline.Documents, -1, true}, {3, pipeline.Tokens, -1, false}} {
		if from, ok := plan.From(c.index, c.data); from != c.want || ok != c.ok {
			t.Errorf("From(%d, %s) = %d, %v; want %d, %v", c.index, c.data, from, ok, c.want, c.ok)
		}
	}
	if panics(func() { plan.Insert(0, guardKind, "") }) == "" {
		t.Error("Insert works on a finished plan")
	}
}

func TestInsertMistake(t *testing.T) {
	guardKind, _ := toyRegistry().Lookup("decontaminate")
	_, err := completing(func(p *pipeline.Plan) { p.Insert(0, guardKind, "agianst: [held_out]") })
	want := `implied stage decontaminate: implied[0].decontaminate.agianst: unknown key; the keys here are against
  did you mean "against"?`
	if err == nil || !strings.HasSuffix(err.Error(), want+"\n2 mistakes") {
		t.Errorf("error\n%v\nwant\n%s", err, want)
	}
	if _, err := completing(func(p *pipeline.Plan) { p.Insert(0, guardKind, "against: [") }); err == nil {
		t.Error("broken YAML of an implied step is accepted")
	}
}

// TestPlanPaths: relative paths start at the plan's folder.
func TestPlanPaths(t *testing.T) {
	plan, err := pipeline.ParsePlan("/plans/math/data.yaml", []byte("input: [{path: a}]\nstages: [{normalize: {}}]\n"),
		toyRegistry(), pipeline.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"a.jsonl": "/plans/math/a.jsonl", "../b": "/plans/b", "/c/*": "/c/*", "s3://d/e": "s3://d/e",
	} {
		if got := plan.Path(path); got != want {
			t.Errorf("Path(%s) = %s, want %s", path, got, want)
		}
	}
	if plan.Dir() != "/plans/math" || plan.Name != "data" {
		t.Errorf("Dir %s, Name %s", plan.Dir(), plan.Name)
	}
}

// TestBareOptions: a program without profiles says so; one without an environment has none.
func TestBareOptions(t *testing.T) {
	src := "network: {profile: connito}\ninput: [{path: \"${env:HOME}\"}]\nstages: [{normalize: {}}]\n"
	_, err := pipeline.ParsePlan("p.yaml", []byte(src), toyRegistry(), pipeline.ParseOptions{})
	diags, ok := err.(pipeline.Diags)
	if !ok || len(diags) != 2 || diags[0].Path != "network.profile" || diags[1].Path != "input[0].path" {
		t.Errorf("error %v", err)
	}
}

// TestDiagText shows the three forms of a mistake.
func TestDiagText(t *testing.T) {
	d := pipeline.Diag{File: "p.yaml", Line: 12, Col: 3, Path: "seed", Msg: "want x", Hint: "write y", Source: "\tab: c\r"}
	for _, c := range []struct{ got, want string }{
		{d.Error(), "p.yaml:12:3: seed: want x; write y"},
		{d.String(), "p.yaml:12:3: seed: want x\n  12 |  ab: c\n     |   ^\n  write y"},
		{pipeline.Diag{Flag: "--set a=b", Msg: "no"}.String(), "--set a=b: no"},
		{pipeline.Diags{d, {File: "f", Line: 1, Col: 1, Msg: "m"}}.Error(),
			d.String() + "\nf:1:1: m\n2 mistakes"},
	} {
		if c.got != c.want {
			t.Errorf("got\n%s\nwant\n%s", c.got, c.want)
		}
	}
}
