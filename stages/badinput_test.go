package stages_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
)

const plainPlan = "name: p\ninput: [{path: data}]\nstages: [{normalize: {}}, {quality: {preset: connito, limits: {characters_min: 20}}}, " +
	"{exact_dedup: {}}, {export: {format: jsonl}}]\n"

// fails runs a plan that must fail with one line that has all the given parts.
func fails(t *testing.T, dir, plan string, opt pipeline.Options, parts ...string) error {
	t.Helper()
	_, err := pipeline.Run(context.Background(), parse(t, dir, plan), opt)
	if err == nil {
		t.Fatalf("the run succeeded; want an error with %q", parts)
	}
	t.Log(err)
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the error has several lines: %v", err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
	return err
}

// is checks the type of an error: what the exit code follows.
func is[E error](t *testing.T, err error) {
	t.Helper()
	var want E
	if !errors.As(err, &want) {
		t.Errorf("the error is %T, want %T: %v", err, want, err)
	}
}

// plainError checks that an error is none of those with a meaning of their own, so that
// a retry may help.
func plainError(t *testing.T, err error) {
	t.Helper()
	var usage *pipeline.UsageError
	var data *pipeline.DataError
	if errors.As(err, &usage) || errors.As(err, &data) {
		t.Errorf("the error is %T, want a plain one: %v", err, err)
	}
}

func TestEmptyFiles(t *testing.T) {
	for name, content := range map[string]string{"a.jsonl": "", "b.jsonl": "\ufeff", "c.jsonl": "\n \n\r\n"} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "data", name), content)
		is[*pipeline.DataError](t, fails(t, dir, plainPlan, options(dir), name, "no record", "check"))
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "data", "a.jsonl"), "")
	write(t, filepath.Join(dir, "data", "b.jsonl"), "")
	is[*pipeline.DataError](t, fails(t, dir, plainPlan, options(dir), "a.jsonl and 1 more", "no record"))
	jsonl(t, filepath.Join(dir, "data", "c.jsonl"), sentences(1, 5, 20)...)
	run(t, dir, plainPlan, options(dir))
	write(t, filepath.Join(dir, "exam.jsonl"), "")
	held := strings.Replace(plainPlan, "stages:", "held_out: [{path: exam.jsonl}]\nstages:", 1)
	is[*pipeline.DataError](t, fails(t, dir, held, options(dir), "exam.jsonl", "no record"))
}

func TestNoDocumentIsLeft(t *testing.T) {
	dir := t.TempDir()
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), "short", "too")
	opt := options(dir)
	is[*pipeline.DataError](t, fails(t, dir, plainPlan, opt, "no document is left after stage quality", "drops/"))
	rows := 0
	eachGathered(t, opt.FS, filepath.Join(opt.Workdir, pipeline.DropsName), func(f map[string]string) { rows++ })
	if rows != 2 {
		t.Errorf("the drop log has %d rows, want 2", rows)
	}
}

func TestMissingField(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "data", "a.jsonl"), strings.Repeat(`{"content":"x","id":1}`+"\n", 20))
	opt := options(dir)
	is[*pipeline.DataError](t, fails(t, dir, plainPlan, opt, "20 of 20 records", "max_reject_fraction", "a.jsonl", "row 0",
		`field "text" is missing`, `"content" "id"`, "rejects/"))
	rows := 0
	eachGathered(t, opt.FS, filepath.Join(opt.Workdir, pipeline.RejectsName), func(f map[string]string) { rows++ })
	if rows != 20 {
		t.Errorf("there are %d rejects, want 20", rows)
	}
	run(t, dir, strings.Replace(plainPlan, "path: data", "path: data, text: content", 1)+"max_reject_fraction: 1\n", func() pipeline.Options {
		jsonl(t, filepath.Join(dir, "data", "b.jsonl"), "y")
		write(t, filepath.Join(dir, "data", "c.jsonl"), `{"content":"long enough to be kept by the rule"}`+"\n")
		return opt
	}())
}

// cutFiles are files of good records, cut short.
func TestCutFiles(t *testing.T) {
	texts := sentences(1, 400, 30)
	for _, name := range []string{"x.jsonl.gz", "x.jsonl.zst", "x.parquet"} {
		dir := t.TempDir()
		file := filepath.Join(dir, "data", name)
		records(t, file, texts)
		jsonl(t, filepath.Join(dir, "data", "y.jsonl"), texts...)
		opt := options(dir)
		run(t, dir, plainPlan, opt)
		before := tasksOf(t, opt)
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{len(whole) - 1, len(whole) / 2, 10, 1} {
			write(t, file, string(whole[:n]))
			is[*pipeline.DataError](t, fails(t, dir, plainPlan, opt, file, "again"))
		}
		sameTree(t, "after bad input "+name, within(tasksOf(t, opt), before), before)
	}
}

// tasksOf describes what the tasks of a work directory have committed.
func tasksOf(t *testing.T, opt pipeline.Options) map[string]string {
	t.Helper()
	tree, err := store.Tree(opt.FS, filepath.Join(opt.Workdir, "stages"))
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// within is the part of a tree whose names another has.
func within(tree, other map[string]string) map[string]string {
	out := map[string]string{}
	for name := range other {
		if tree[name] != "" {
			out[name] = tree[name]
		}
	}
	return out
}

func TestUnreadableFile(t *testing.T) {
	dir := t.TempDir()
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), sentences(1, 5, 20)...)
	opt := options(dir)
	opt.Inputs = faultFS{FS: store.OS(), fail: func(op, name string) error {
		if op == "open" && strings.HasSuffix(name, "a.jsonl") {
			return &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
		}
		return nil
	}}
	err := fails(t, dir, plainPlan, opt, "data/a.jsonl", "permission denied", "let this user read it")
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("the cause is lost: %v", err)
	}
	if os.Geteuid() == 0 {
		return // root may read everything
	}
	if err := os.Chmod(filepath.Join(dir, "data", "a.jsonl"), 0); err != nil {
		t.Fatal(err)
	}
	fails(t, dir, plainPlan, options(dir), "data/a.jsonl", "permission denied")
}

func TestNothingThere(t *testing.T) {
	dir := t.TempDir()
	is[*pipeline.UsageError](t, fails(t, dir, plainPlan, options(dir), "data", "matches no file", "check the path"))
	write(t, filepath.Join(dir, "data", "readme.txt"), "no records")
	is[*pipeline.UsageError](t, fails(t, dir, plainPlan, options(dir), "data", "check the path"))
	if _, err := os.Stat(filepath.Join(dir, "run")); err == nil {
		t.Error("a plan that names nothing has made a work directory")
	}
}

// rewriteWeights changes the tensors of a base model's file.
func rewriteWeights(t *testing.T, dir string, edit func([]checkpoint.Tensor) []checkpoint.Tensor) {
	t.Helper()
	name := filepath.Join(dir, "model.safetensors")
	f, err := checkpoint.Open(store.OS(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ts, err := checkpoint.Tensors(f)
	if err != nil {
		t.Fatal(err)
	}
	ts = edit(ts)
	err = store.WriteFile(store.OS(), name, func(w io.Writer) error { return checkpoint.Write(w, ts, nil) })
	if err != nil {
		t.Fatal(err)
	}
}

func TestBadModelFolders(t *testing.T) {
	const plan = "name: p\nnetwork: {base: {model: base}}\ninput: [{path: data}]\nstages: [{route: {sample_tokens: 500, sequence_length: 32}}]\n"
	const tensorName = "model.layers.1.mlp.gate.weight"
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, base string)
		usage bool
		parts []string
	}{
		{"no folder", func(t *testing.T, base string) { remove(t, base) }, true, []string{"base", "check the path"}},
		{"no config", func(t *testing.T, base string) { remove(t, base+"/config.json") }, true, []string{"base/config.json", "check the path"}},
		{"no tokenizer", func(t *testing.T, base string) { remove(t, base+"/tokenizer.json") }, true, []string{"base/tokenizer.json", "check the path"}},
		{"no weights", func(t *testing.T, base string) { remove(t, base+"/model.safetensors") }, true, []string{"base", ".safetensors"}},
		{"missing tensor", func(t *testing.T, base string) {
			rewriteWeights(t, base, func(ts []checkpoint.Tensor) []checkpoint.Tensor {
				return slices.DeleteFunc(ts, func(x checkpoint.Tensor) bool { return x.Name == tensorName })
			})
		}, false, []string{"base", tensorName}},
		{"wrong shape", func(t *testing.T, base string) {
			rewriteWeights(t, base, func(ts []checkpoint.Tensor) []checkpoint.Tensor {
				for i := range ts {
					if ts[i].Name == tensorName {
						ts[i].Shape = []int{ts[i].Shape[1], ts[i].Shape[0]}
					}
				}
				return ts
			})
		}, false, []string{"base", tensorName, "shape"}},
		{"cut weights", func(t *testing.T, base string) {
			if err := os.Truncate(base+"/model.safetensors", 5000); err != nil {
				t.Fatal(err)
			}
		}, false, []string{"model.safetensors"}},
		{"config is no JSON", func(t *testing.T, base string) { write(t, base+"/config.json", "{") }, false, []string{"config.json"}},
		{"tokenizer is no JSON", func(t *testing.T, base string) { write(t, base+"/tokenizer.json", "[]") }, false, []string{"tokenizer.json"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			jsonl(t, filepath.Join(dir, "data", "a.jsonl"), problems(40)...)
			tinyBase(t, filepath.Join(dir, "base"), problems(40))
			c.spoil(t, filepath.Join(dir, "base"))
			err := fails(t, dir, plan, options(dir), c.parts...)
			if c.usage {
				is[*pipeline.UsageError](t, err)
			} else if plainError(t, err); !strings.Contains(err.Error(), "network.base.model") && c.name != "tokenizer is no JSON" {
				t.Errorf("the error does not say what to do: %v", err)
			}
		})
	}
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.RemoveAll(name); err != nil {
		t.Fatal(err)
	}
}

func TestUnwritableWorkdir(t *testing.T) {
	dir := t.TempDir()
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), sentences(1, 5, 20)...)
	write(t, filepath.Join(dir, "file"), "")
	opt := options(dir)
	opt.Workdir = filepath.Join(dir, "file", "run")
	fails(t, dir, plainPlan, opt, "file/run", "--workdir")
	if _, err := pipeline.Acquire(context.Background(), opt.FS, opt.Workdir, 0); err == nil || !strings.Contains(err.Error(), "--workdir") {
		t.Errorf("Acquire: %v", err)
	}
	opt = options(dir)
	opt.FS = faultFS{FS: store.OS(), fail: func(op, name string) error {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrPermission}
	}}
	fails(t, dir, plainPlan, opt, "run", "permission denied", "--workdir")
	if _, err := pipeline.Acquire(context.Background(), opt.FS, dir, 0); err == nil || !strings.Contains(err.Error(), "--workdir") {
		t.Errorf("Acquire in a folder that cannot be written: %v", err)
	}
}

func TestChangingInputIsRefused(t *testing.T) {
	dir := t.TempDir()
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), sentences(1, 20, 20)...)
	b := filepath.Join(dir, "data", "b.jsonl")
	jsonl(t, b, sentences(2, 20, 20)...)
	opt := options(dir)
	opt.Workers = 1
	opt.OnEvent = func(e pipeline.Event) {
		if e.Kind == "done" && strings.HasSuffix(e.Task, "a.jsonl") {
			jsonl(t, b, sentences(3, 19, 20)...)
		}
	}
	plainError(t, fails(t, dir, plainPlan, opt, b, "changed during the run", "run again"))
	opt.OnEvent = nil
	if ran := startedTasks(t, dir, plainPlan, opt); ran["exact_dedup data:a.jsonl"] != 1 {
		t.Errorf("after the change %v ran; the first pass over a.jsonl was done", ran)
	}
}

func TestChangingModelIsRefused(t *testing.T) {
	dir := t.TempDir()
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), problems(40)...)
	base := filepath.Join(dir, "base")
	tinyBase(t, base, problems(40))
	const plan = "name: p\nnetwork: {base: {model: base}}\ninput: [{path: data}]\nstages: [{route: {sample_tokens: 500, sequence_length: 32}}]\n"
	for what, change := range map[string]func(){
		"weights replaced": func() {
			rewriteWeights(t, base, func(ts []checkpoint.Tensor) []checkpoint.Tensor { return ts[1:] })
		},
		"tokenizer replaced": func() { write(t, base+"/tokenizer.json", "{}") },
	} {
		tinyBase(t, base, problems(40))
		opt := options(dir)
		opt.Workdir = filepath.Join(dir, what)
		opt.OnEvent = func(e pipeline.Event) {
			if e.Kind == "start" && e.Stage == "route" {
				change()
			}
		}
		plainError(t, fails(t, dir, plan, opt, "base/", "changed during the run"))
	}
	tinyBase(t, base, problems(40))
	opt := options(dir)
	opt.OnEvent = func(e pipeline.Event) {
		if e.Kind == "start" && e.Stage == "route" {
			tinyBase(t, base, problems(40)) // the same bytes once more
		}
	}
	run(t, dir, plan, opt)
}

func TestOtherKernelsAreRefused(t *testing.T) {
	dir := corpus(t, 50)
	opt := options(dir)
	want := outTree(t, parse(t, dir, smallPlan), opt)
	other := opt
	other.Kernels = "avx2"
	is[*pipeline.UsageError](t, fails(t, dir, smallPlan, other, opt.Workdir, "plain", "avx2", "--kernels plain", "--fresh"))
	if ran := started(t, parse(t, dir, smallPlan), opt); len(ran) != 0 {
		t.Errorf("after the refusal %v ran again", ran)
	}
	other.Fresh = true
	sameTree(t, "fresh with other kernels", outTree(t, parse(t, dir, smallPlan), other), want)
}

func TestDamagedOutputsAreRepaired(t *testing.T) {
	dir := corpus(t, 60)
	opt := options(dir)
	want := outTree(t, parse(t, dir, smallPlan), opt)
	files, err := filepath.Glob(filepath.Join(opt.Workdir, "stages", "*", "*"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files of tasks, %v", len(files), err)
	}
	more, err := filepath.Glob(filepath.Join(opt.Workdir, "stages", "*", "set", "data", "*"))
	if err != nil || len(more) == 0 {
		t.Fatal("no exported files")
	}
	damage := map[string]func(name string) error{
		"byte flipped": func(name string) error {
			data, err := os.ReadFile(name)
			if err != nil || len(data) == 0 {
				return err
			}
			data[len(data)/2] ^= 1
			return os.WriteFile(name, data, 0o666)
		},
		"cut short": func(name string) error {
			info, err := os.Stat(name)
			if err != nil {
				return err
			}
			return os.Truncate(name, info.Size()/2)
		},
		"removed": os.Remove,
	}
	for i, name := range append(files[:len(files):len(files)], more[0]) {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() || info.Size() == 0 || i%3 != 0 && name != more[0] {
			continue
		}
		what := []string{"byte flipped", "cut short", "removed"}[i/3%3]
		if err := damage[what](name); err != nil {
			t.Fatal(err)
		}
		sameTree(t, filepath.Base(name)+" "+what, outTree(t, parse(t, dir, smallPlan), opt), want)
		if ran := started(t, parse(t, dir, smallPlan), opt); len(ran) != 0 {
			t.Errorf("%s %s: after the repair %v ran again", filepath.Base(name), what, ran)
		}
	}
}

func TestDamagedRecord(t *testing.T) {
	dir := corpus(t, 50)
	opt := options(dir)
	want := outTree(t, parse(t, dir, smallPlan), opt)
	name := filepath.Join(opt.Workdir, "run.json")
	for _, damaged := range []string{"", "{", "[1]", `{"kernels": 5}`} {
		write(t, name, damaged)
		is[*pipeline.UsageError](t, fails(t, dir, smallPlan, opt, name, "damaged", "--fresh"))
	}
	opt.Fresh = true
	sameTree(t, "fresh", outTree(t, parse(t, dir, smallPlan), opt), want)
}

// TestMistakesKeepTheRecord runs with a mistake in a work directory that holds a run.
func TestMistakesKeepTheRecord(t *testing.T) {
	dir := corpus(t, 50)
	opt := options(dir)
	run(t, dir, smallPlan, opt)
	before, err := os.ReadFile(filepath.Join(opt.Workdir, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	var rec pipeline.RunRecord
	if err := json.Unmarshal(before, &rec); err != nil || rec.Status != "done" {
		t.Fatalf("%v, status %s", err, rec.Status)
	}
	wrong := opt
	wrong.Until = "nosuch"
	is[*pipeline.UsageError](t, fails(t, dir, smallPlan, wrong, "--until", "nosuch"))
	wrong = opt
	wrong.Fresh, wrong.Until = true, "nosuch"
	is[*pipeline.UsageError](t, fails(t, dir, smallPlan, wrong, "--until", "nosuch"))
	after, err := os.ReadFile(filepath.Join(opt.Workdir, "run.json"))
	if err != nil || string(after) != string(before) {
		t.Errorf("a mistaken command changed run.json: %v", err)
	}
	if ran := started(t, parse(t, dir, smallPlan), opt); len(ran) != 0 {
		t.Errorf("after mistaken commands %v ran again", ran)
	}
}
