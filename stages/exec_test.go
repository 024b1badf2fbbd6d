package stages_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
)

// programVar makes this test binary a program for the exec stage: it names what it does. A program that hangs says so first, to
// the pipe that pipeVar names.
const (
	programVar = "BZDATA_TEST_PROGRAM"
	pipeVar    = "BZDATA_TEST_PIPE"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(programVar); what != "" {
		os.Exit(testProgram(what))
	}
	os.Exit(m.Run())
}

// ownProgram is the configuration of an exec stage that runs this test binary.
func ownProgram(what string) string {
	name, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("{command: [%q], env: {%s: %s}, answer_seconds_max: 60}", name, programVar, what)
}

// testProgram answers as a program of a user might, well or badly.
func testProgram(what string) int {
	in, out := bufio.NewReaderSize(os.Stdin, 1<<20), bufio.NewWriter(os.Stdout)
	switch what {
	case "all", "batch", "block":
		return patientProgram(what, in, out)
	case "early":
		fmt.Println("{}")
	case "never":
		select {}
	case "yes":
		for {
			fmt.Println("null")
		}
	}
	for n := 0; ; n++ {
		line, err := in.ReadString('\n')
		if err == io.EOF {
			break
		}
		if status := answerLine(what, n, line, out); status >= 0 {
			return status
		}
		out.Flush()
	}
	switch what {
	case "late":
		return 4
	case "stay":
		return hang()
	}
	return 0
}

// hang says that the program does no more, and does no more.
func hang() int {
	f, err := os.OpenFile(os.Getenv(pipeVar), os.O_WRONLY, 0)
	if err != nil || f.Close() != nil {
		return 5
	}
	select {}
}

// awaitHang has a program be found to hang only after it has said that it does, when it was looked at some more times: what it
// has answered before is read by then. It returns the name of a pipe for pipeVar, and what makes the usual rule hold again.
func awaitHang(t *testing.T) (pipe string, restore func()) {
	t.Helper()
	pipe = filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	var said atomic.Bool
	go func() {
		if f, err := os.Open(pipe); err == nil { // waits for the program
			said.Store(true)
			f.Close()
		}
	}()
	var looks atomic.Int64
	return pipe, stages.WatchPrograms(10*time.Millisecond, func(time.Duration, time.Duration) bool {
		return said.Load() && looks.Add(1) > 20
	})
}

// answerLine returns the exit status, or -1 if the program goes on.
func answerLine(what string, n int, line string, out io.Writer) int {
	switch {
	case what == "edit":
		fmt.Fprintln(out, edited(line))
	case what == "secret" && os.Getenv("BZDATA_TEST_SECRET") == "":
		return 4
	case what == "exit" && n == 2:
		fmt.Fprintln(os.Stderr, strings.Repeat("noise\n", 100_000)+"no such model\nsee the manual")
		return 3
	case what == "few" && n == 3:
		return 0
	case what == "extra" && n == 4:
		fmt.Fprint(out, line, line)
	case what == "skip" && n == 4:
	case what == "kill" && n == 2:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case what == "close" && n == 2:
		os.Stdout.Close()
		return hang()
	case what == "noise":
		fmt.Fprintln(os.Stderr, strings.Repeat("noise\n", 1<<20))
		fmt.Fprint(out, line)
	case what == "json" && n == 1:
		fmt.Fprintln(out, `{"text": "half`)
	case what == "notext" && n == 1:
		fmt.Fprintln(out, `{"id": 5}`)
	case what == "reason" && n == 1:
		fmt.Fprintln(out, `{"drop": "Not A Reason"}`)
	case what == "long" && n == 1:
		fmt.Fprintf(out, "{\"text\": %q}\n", strings.Repeat("long ", 1000))
	case what == "hang" && n == 1:
		return hang()
	default:
		fmt.Fprint(out, line)
	}
	return -1
}

// patientProgram edits like the program edit, but does not answer each line before it reads
// the next.
func patientProgram(what string, in *bufio.Reader, out *bufio.Writer) int {
	most := map[string]int{"all": 1 << 30, "batch": 7, "block": 1}[what]
	for end := false; !end; {
		var lines []string
		for len(lines) < most && !end {
			line, err := in.ReadString('\n')
			if end = err != nil; !end {
				lines = append(lines, line)
			}
		}
		for _, line := range lines {
			fmt.Fprintln(out, edited(line))
		}
		if what == "batch" {
			out.Flush()
		}
	}
	out.Flush()
	return 0
}

// edited drops short documents, doubles those with a question mark and numbers them.
func edited(line string) string {
	var doc map[string]any
	if err := json.Unmarshal([]byte(line), &doc); err != nil {
		return err.Error()
	}
	text, _ := doc["text"].(string)
	switch {
	case text == "":
		return "null"
	case len(text) < 12:
		return `{"drop": "short"}`
	case !strings.Contains(text, "?") && len(text) < 1<<20:
		return strings.TrimSuffix(line, "\n")
	}
	doc["text"], doc["length"] = text+"\n"+text[len(text)-1:], len(text)
	answer, err := json.Marshal(doc)
	if err != nil {
		return err.Error()
	}
	return string(answer)
}

const execPlan = "name: p\ninput: [{path: data}]\nstages:\n  - exec: %s\n  - export: {format: jsonl}\n"

func TestExecEdits(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "data", "a.jsonl"), `{"text":"","n":1.0}
{"text":"too short"}
{"n":1e2,"text":"goes through untouched","k":{"a":[1,2.50]}}
{"text":"what is edited, é?","n":9007199254740993}
`)
	opt := options(dir)
	res := run(t, dir, fmt.Sprintf(execPlan, ownProgram("edit")), opt)
	want := []string{`{"length":19,"n":9007199254740992,"text":"what is edited, é?\n?"}`, `{"n":1e2,"text":"goes through untouched","k":{"a":[1,2.50]}}`}
	if got := exportedLines(t, opt); !slices.Equal(got, want) {
		t.Errorf("exported %s", strings.Join(got, "\n"))
	}
	if l := ledger(t, res, "exec"); l.Dropped["exec"] != 1 || l.Dropped["short"] != 1 || l.Edits["documents"] != 1 || l.Edits["records"] != 1 {
		t.Errorf("dropped %v, edits %v", l.Dropped, l.Edits)
	}
}

// TestExecFailures lets the program fail in every way: each ends the run with an error that
// names the program, the document and what it said.
func TestExecFailures(t *testing.T) {
	dir := t.TempDir()
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), sentences(1, 6, 20)...)
	quick := func(what, more string) string {
		return strings.Replace(ownProgram(what), "answer_seconds_max: 60", more, 1)
	}
	for what, parts := range map[string][]string{
		"exit":   {"data:a.jsonl:2", "exit status 3", "no such model | see the manual"},
		"few":    {"data:a.jsonl:3", "ended after 3 answers", "null to drop it"},
		"extra":  {"more lines than it was asked, 6"},
		"skip":   {"data:a.jsonl:5", "ended after 5 answers", "null to drop it"},
		"kill":   {"data:a.jsonl:2", "signal: killed", "after 2 answers"},
		"close":  {"data:a.jsonl:2", "closed its output and did not end", "answer_seconds_max"},
		"never":  {"data:a.jsonl:0", "neither answered nor ended", "it has answered 0 documents"},
		"yes":    {"more lines than it was asked", `"null"`},
		"json":   {"data:a.jsonl:1", `{\"text\": \"half`, "JSON"},
		"notext": {"data:a.jsonl:1", `"text" is missing`},
		"reason": {"data:a.jsonl:1", "Not A Reason"},
		"late":   {"after the last document", "exit status 4"},
		"long":   {"data:a.jsonl:1", "answer_bytes_max"},
		"hang":   {"data:a.jsonl:1", "neither answered nor ended", "answer_seconds_max", "it has answered 1 documents"},
		"stay":   {"answer_seconds_max", "end"},
	} {
		t.Run(what, func(t *testing.T) {
			config, restore := ownProgram(what), func() {}
			switch what {
			case "long":
				config = quick(what, "answer_bytes_max: 4KiB")
			case "hang", "stay", "close":
				var pipe string
				pipe, restore = awaitHang(t)
				config = strings.Replace(config, "env: {", "env: {"+pipeVar+": "+pipe+", ", 1)
			case "never":
				restore = stages.WatchPrograms(10*time.Millisecond, nil)
				config = quick(what, "answer_seconds_max: 1")
			}
			opt := options(dir)
			opt.Workdir = filepath.Join(dir, what)
			err := fails(t, dir, fmt.Sprintf(execPlan, config), opt, append(parts, "stage exec", filepath.Base(os.Args[0]))...)
			restore()
			plainError(t, err)
			if rest := leftovers(t, opt.FS, opt.Workdir); len(rest) > 0 {
				t.Errorf("the run left %v", rest)
			}
			run(t, dir, fmt.Sprintf(execPlan, ownProgram("cat")), opt)
		})
	}
	opt := options(dir)
	plainError(t, fails(t, dir, fmt.Sprintf(execPlan, `{command: [./no-such-program]}`), opt, "no-such-program", "`command`"))
	fails(t, dir, fmt.Sprintf(execPlan, ownProgram("early")), opt, "stage exec")
}

// TestExecPatience compares programs that answer late, up to all at once after the last
// document, with one that answers line by line. The documents are more than are held in
// memory, and some are larger than a pipe holds; the last stage sees what the one before holds back.
func TestExecPatience(t *testing.T) {
	dir := t.TempDir()
	var texts []string
	for i, text := range sentences(1, 400, 30) {
		switch {
		case i%50 == 7:
			texts = append(texts, strings.Repeat(text+"? ", 2000))
		case i%9 == 0:
			texts = append(texts, "short")
		default:
			texts = append(texts, strings.Repeat(text+" ", 100))
		}
	}
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), texts...)
	jsonl(t, filepath.Join(dir, "data", "b.jsonl"), texts[300:]...)
	plan := "name: p\ninput: [{path: data}]\nstages:\n  - exec: %s\n  - exec: %s\n  - export: {format: jsonl}\n"
	var want []string
	var wantLedger string
	for i, programs := range [][2]string{{"edit", "edit"}, {"all", "all"}, {"batch", "all"}, {"all", "block"}, {"block", "batch"}} {
		opt := options(dir)
		opt.Workdir = filepath.Join(dir, strings.Join(programs[:], "-"))
		res := run(t, dir, fmt.Sprintf(plan, ownProgram(programs[0]), ownProgram(programs[1])), opt)
		got := exportedLines(t, opt)
		l1, l2 := ledger(t, res, "exec-1"), ledger(t, res, "exec-2")
		counts := fmt.Sprint(l1.In, l1.Kept, l1.Dropped, l1.Edits, l2.In, l2.Kept, l2.Dropped, l2.Edits)
		if i == 0 {
			want, wantLedger = got, counts
			continue
		}
		if !slices.Equal(got, want) || counts != wantLedger {
			t.Errorf("%s: %d documents, %s; line by line %d documents, %s", programs, len(got), counts, len(want), wantLedger)
		}
	}
	opt := options(dir)
	opt.Workdir = filepath.Join(dir, "noise")
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), sentences(1, 6, 20)...)
	run(t, dir, fmt.Sprintf(execPlan, ownProgram("noise")), opt)
}

// TestExecIsKeyed checks what repeats the stage and what does not.
func TestExecIsKeyed(t *testing.T) {
	dir := t.TempDir()
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), sentences(1, 6, 20)...)
	write(t, filepath.Join(dir, "model.bin"), "1")
	write(t, filepath.Join(dir, "filter.py"), "1")
	opt := options(dir)
	config := strings.Replace(ownProgram("cat"), "]", ", filter.py], files: model.bin", 1)
	plan := fmt.Sprintf(execPlan, config)
	for _, step := range []struct {
		what   string
		change func()
		again  bool
	}{
		{"first run", func() {}, true},
		{"nothing", func() {}, false},
		{"patience", func() { plan = strings.Replace(plan, "max: 60", "max: 50", 1) }, false},
		{"a file", func() { write(t, filepath.Join(dir, "model.bin"), "2") }, true},
		{"an argument's file", func() { write(t, filepath.Join(dir, "filter.py"), "2") }, true},
		{"the version", func() { plan = strings.Replace(plan, "files:", "version: v2, files:", 1) }, true},
		{"the environment", func() { plan = strings.Replace(plan, "env: {", "env: {LEVEL: 3, ", 1) }, true},
	} {
		step.change()
		if ran := startedTasks(t, dir, plan, opt); (ran["exec data:a.jsonl"] == 1) != step.again {
			t.Errorf("%s changed, and %v ran", step.what, ran)
		}
	}
}

// TestExecPassesEnvironment gives the program a secret that nothing written holds.
func TestExecPassesEnvironment(t *testing.T) {
	const secret = "s3cr3t-of-the-test"
	dir := t.TempDir()
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), sentences(1, 6, 20)...)
	opt := options(dir)
	plan := fmt.Sprintf(execPlan, strings.Replace(ownProgram("secret"), "env:", "pass_env: [BZDATA_TEST_SECRET], env:", 1))
	fails(t, dir, plan, opt, "the environment has no BZDATA_TEST_SECRET")
	t.Setenv("BZDATA_TEST_SECRET", secret)
	if _, err := pipeline.Run(context.Background(), parse(t, dir, plan), opt); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(opt.Workdir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		if strings.Contains(string(data), secret) {
			t.Errorf("%s holds the secret", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestExecNeedsConsent(t *testing.T) {
	dir := t.TempDir()
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), sentences(1, 6, 20)...)
	opt := options(dir)
	opt.AllowExec = false
	is[*pipeline.UsageError](t, fails(t, dir, fmt.Sprintf(execPlan, `{command: [rm, -rf, x]}`), opt,
		"plan.yaml:4:5", `["rm" "-rf" "x"]`, "--allow-exec"))
	if store.Exists(opt.FS, opt.Workdir) {
		t.Error("the refused run has made its work directory")
	}
	for plan, part := range map[string]string{
		`{}`: "command", `{command: [""]}`: "names no program", `{command: [a], env: {"A=B": c}}`: "environment variable",
		`{command: [a], env: {TOKEN: "${env:TOKEN}"}}`: "add the variable's name to pass_env",
		`{command: [a], pass_env: [A=B]}`:              "no name of an environment variable"} {
		mistake(t, fmt.Sprintf(execPlan, plan), part)
	}
}

// TestExecMessages edits a conversation and a text that a template makes.
func TestExecMessages(t *testing.T) {
	python(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "filter.py"), `import json, sys
for line in sys.stdin:
    doc = json.loads(line)
    if "messages" in doc:
        doc["messages"].append({"role": "user", "content": "Thanks."})
        doc.pop("n", None)
    else:
        doc["text"] = doc["text"].upper()
    print(json.dumps(doc))
`)
	write(t, filepath.Join(dir, "m", "a.jsonl"), `{"messages":[{"role":"user","content":"Hi","k":1}],"n":1}`+"\n")
	write(t, filepath.Join(dir, "t", "a.jsonl"), `{"q":"one","text":"own"}`+"\n")
	opt := options(dir)
	run(t, dir, "name: p\ninput: [{path: m, messages: messages}, {path: t, template: \"{{q}}!\"}]\nstages:\n"+
		"  - exec: {command: [python3, filter.py]}\n  - export: {format: jsonl}\n", opt)
	want := []string{`{"messages": [{"role": "user", "content": "Hi", "k": 1}, {"role": "user", "content": "Thanks."}],"text":"Hi\nThanks."}`,
		`{"q":"one","text_original":"own","text":"ONE!"}`}
	got := exportedLines(t, opt)
	for i, line := range want {
		if i >= len(got) || !sameJSON(t, got[i], line) {
			t.Errorf("exported %q, want %s", got, line)
		}
	}
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal([]byte(a), &x), json.Unmarshal([]byte(b), &y)); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(x) == fmt.Sprint(y)
}

// python skips a test where there is no Python.
func python(t *testing.T) {
	t.Helper()
	if err := exec.CommandContext(context.Background(), "python3", "-c", "").Run(); err != nil {
		t.Skipf("python3: %v", err)
	}
}

// TestExecExample runs examples/exec as its plan says.
func TestExecExample(t *testing.T) {
	python(t)
	dir := t.TempDir()
	for _, name := range []string{"plan.yaml", "filter.py", "bzexec.py"} {
		data, err := os.ReadFile(filepath.Join("..", "examples", "exec", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(data))
	}
	write(t, filepath.Join(dir, "data", "a.jsonl"), `{"text":"Lorem ipsum dolor sit amet","id":1}
{"text":"Read   more   of this fine and long text about nothing.","url":"u"}
{"text":"tiny"}
`)
	plan, err := os.ReadFile(filepath.Join(dir, "plan.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	opt := options(dir)
	res := run(t, dir, string(plan), opt)
	if l := ledger(t, res, "exec"); l.Dropped["lorem_ipsum"] != 1 || l.Dropped["few_words"] != 1 || l.Edits["documents"] != 1 {
		t.Errorf("dropped %v, edits %v", l.Dropped, l.Edits)
	}
	if got := exportedLines(t, opt); len(got) != 1 || !strings.Contains(got[0], `"text":"Read more of this fine and long text about nothing."`) {
		t.Errorf("exported %q", got)
	}
}
