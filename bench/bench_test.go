package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain lets the test program be the one that measures, as bench is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		if err := runWorker(os.Args[2:]); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   string
	}{
		{nil, "–"},
		{[]float64{3}, "3.00"},
		{[]float64{3, 1, 2}, "2.00 (1.00 … 3.00)"},
		{[]float64{40, 10, 20, 30}, "25.0 (10.0 … 40.0)"},
		{[]float64{1234.6, 0.01234, 98.76}, "98.8 (0.0123 … 1235)"},
	} {
		if got := spreadOf(c.values).String(); got != c.want {
			t.Errorf("spread of %v: %q, want %q", c.values, got, c.want)
		}
	}
}

func TestRatiosAreTakenWithinARound(t *testing.T) {
	peer := &contender{runs: []sample{{cpu: 10, said: said{Startup: 2}}, {cpu: 90, said: said{Startup: 10}}, {cpu: 7}}}
	ours := &contender{runs: []sample{{cpu: 1, wall: 5}, {cpu: 20, wall: 5}}}
	whole := comparison{over: peer, under: ours, value: cpuOf, bar: 7.25}
	if got := whole.spread(); got != (spread{7.25, 4.5, 10, 2}) || whole.verdict() != "reached" {
		t.Errorf("whole: %+v, %s", got, whole.verdict())
	}
	after := comparison{over: peer, under: ours, value: cpuOf, overValue: workOf, bar: 7.25}
	if got := after.spread(); got != (spread{6, 4, 8, 2}) || after.verdict() != "**missed**" {
		t.Errorf("after start-up: %+v, %s", got, after.verdict())
	}
	none := comparison{over: &contender{why: "no network"}, under: ours, value: cpuOf, bar: 2}
	if none.verdict() != "not measured" {
		t.Errorf("a peer that did not run: %s", none.verdict())
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1 000", 1234567: "1 234 567"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestReplaceSection(t *testing.T) {
	order := []string{"a", "b", "c"}
	text := replaceSection("", "b", "first b", order)
	text = replaceSection(text, "c", "the c\n\n| x |", order)
	text = replaceSection(text, "a", "the a", order)
	text = replaceSection(text, "b", "second b", order)
	want := resultsHead + "\n<!-- begin a -->\nthe a\n<!-- end -->\n\n<!-- begin b -->\nsecond b\n<!-- end -->\n" +
		"\n<!-- begin c -->\nthe c\n\n| x |\n<!-- end -->\n"
	if text != want {
		t.Errorf("got %q, want %q", text, want)
	}
}

func TestRenderReportsAbsentPeers(t *testing.T) {
	ours := &contender{name: "bzdata", cores: 1,
		runs: []sample{{wall: 2, cpu: 1, rss: 3 << 20, said: said{Kept: 12345, Version: "v1"}}}}
	peer := &contender{name: "peer", cores: 1, why: "cannot be installed: a | b"}
	s := &section{title: "T", groups: []group{{"G:", 5_000_000, []*contender{ours, peer}}},
		found: []comparison{{what: "ratio", over: peer, under: ours, value: cpuOf, bar: 50}}, notes: []string{"a note"}}
	got := s.render("x", "go run . x", []string{"a machine"})
	for _, want := range []string{"## T\n\n    go run . x\n\n- a machine\n",
		"| bzdata (v1) | 1 | 2.00 | 1.00 | 0 | 5.00 | 3 | 12 345 |\n",
		"| peer | 1 | not measured: cannot be installed: a / b | | | | | |\n",
		"| ratio | – | ≥ 50 | not measured |\n", "- a note"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

func TestAlternateTakesTurns(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	script := func(name, command string) *contender {
		return &contender{name: name, cores: 1, argv: []string{"sh", "-c", "echo " + name + " >>" + log + "; " + command}}
	}
	a := script("a", `echo noise; echo '{"kept":7,"startup":0.5,"phases":{"p":1}}'`)
	a.after = func(s *said) error { s.Rows = s.Kept + 1; return nil }
	failing := script("f", "echo 'no such thing' >&2; exit 3")
	absent := &contender{name: "absent", why: "not here"}
	b := script("b", "true")
	if err := alternate(context.Background(), io.Discard, 3, []*contender{a, failing, absent, b}); err != nil {
		t.Fatal(err)
	}
	order, err := os.ReadFile(log)
	if err != nil || strings.Join(strings.Fields(string(order)), " ") != "a f b a b a b" {
		t.Errorf("order %q, %v", order, err)
	}
	if len(a.runs) != 3 || len(b.runs) != 3 || len(failing.runs) != 0 {
		t.Fatalf("runs: %d, %d, %d", len(a.runs), len(b.runs), len(failing.runs))
	}
	s := a.runs[2]
	if s.said.Kept != 7 || s.said.Rows != 8 || s.said.Startup != 0.5 || phaseOf("p", "q")(s) != 1 || s.wall <= 0 || s.rss <= 0 {
		t.Errorf("sample %+v", s)
	}
	if !strings.Contains(failing.why, "no such thing") || !strings.Contains(failing.why, "3") {
		t.Errorf("why: %q", failing.why)
	}
}

func TestPlantedCopies(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("sample/truth.jsonl", `{"file":"f","row":0,"kind":"clean"}
{"file":"f","row":1,"kind":"clean"}
{"file":"f","row":2,"kind":"exact_copy","of":"f:0"}
{"file":"f","row":3,"kind":"near_copy","of":"f:0","edits":1,"jaccard":0.9}
{"file":"f","row":4,"kind":"near_copy","of":"f:1","edits":9,"jaccard":0.5}
{"file":"f","row":5,"kind":"clean"}
{"file":"f","row":6,"kind":"exact_copy","of":"f:5"}
`)
	var rows strings.Builder
	for _, i := range "0123456" {
		rows.WriteString(`{"id":"p00` + string(i) + `","text":"x"}` + "\n")
	}
	c := &corpus{dir: dir, rows: set{path: write("rows/rows.jsonl", rows.String())}}
	truth, err := clustersOf(c)
	if err != nil || truth.copies != 3 || len(truth.of) != 5 {
		t.Fatalf("%+v, %v", truth, err)
	}
	for kept, want := range map[string]outcome{
		"0 1 4 5":       {},
		"3 1 4 6":       {}, // any one of a cluster will do
		"0 2 3 1 4 5 6": {left: 3},
		"1":             {lost: 2, others: 1},
	} {
		ids := map[string]bool{}
		for _, i := range strings.Fields(kept) {
			ids["p00"+i] = true
		}
		if got, err := truth.judge(c.rows, ids); err != nil || got != want {
			t.Errorf("kept %s: %+v, %v; want %+v", kept, got, err, want)
		}
	}
}

func TestShingles(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "",
		"One two":               "one two",
		"a b c d e":             "a b c d e",
		" a b\tc  d e f \n":     "a b c d e|b c d e f",
		"a b c d e f g":         "a b c d e|b c d e f|c d e f g",
		"A single-Word\u00a0ok": "a single-word ok",
	} {
		var got []string
		for _, s := range shinglesOf(text) {
			got = append(got, string(s))
		}
		if strings.Join(got, "|") != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestReadersAgree runs every reader of JSONL and Parquet in this process on one file.
func TestReadersAgree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rows", "rows.jsonl")
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	lines := `{"id":"a","text":"plain","meta":{"n":1.50}}` + "\n" +
		`{"id":"b","text":"es\u0063aped \"ü\" \ud83d\ude00\n","meta":null}` + "\n"
	if err := os.WriteFile(path, []byte(lines), 0o666); err != nil {
		t.Fatal(err)
	}
	s, err := openSet(path)
	if err != nil || s.documents != 2 || s.bytes != int64(len(lines)) || s.textBytes != 5+18 {
		t.Fatalf("%+v, %v", s, err)
	}
	names := map[string][]string{"": {"jsonl-bzdata", "jsonl-encodingjson", "jsonl-v2", "jsonl-v2tokens"}}
	for _, ext := range []string{".jsonl.zst", ".jsonl.gz"} {
		names[ext] = []string{"jsonl-bzdata"}
	}
	names[".parquet"] = []string{"jsonl-bzdata", "parquet-arrow"}
	var sum said
	if err := scanEncodingJSON([]string{path}, &sum); err != nil {
		t.Fatal(err)
	}
	for ext, list := range names {
		file := path
		if ext != "" {
			if file, err = s.converted(ext); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range list {
			got := said{Phases: map[string]float64{}}
			if err := workers()[name]([]string{file}, &got); err != nil {
				t.Errorf("%s of %q: %v", name, ext, err)
			}
			if got.Rows != 2 || got.Bytes != 23 || got.Sum != sum.Sum {
				t.Errorf("%s of %q: %+v", name, ext, got)
			}
		}
	}
}
