package metrics

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite rows.jsonl, rows.csv and rows.prom; then run testdata/make.py")

var start = time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)

// testRun is whose metrics the fixtures are.
func testRun() Run {
	return Run{Name: "math", ID: "0123abcd", Host: "miner-1", Group: "0", Project: "blockzero-miner",
		Config: map[string]any{"schedule": "cosine", "batch_size": 4}}
}

// testRows are rows as training makes them. The third has so many numbers that its record spans three
// blocks of W&B's file.
func testRows() []Row {
	rows := []Row{{Step: 0, Time: start}, {Step: 1, Time: start.Add(1500 * time.Millisecond)},
		{Step: 2, Time: start.Add(3 * time.Second)}, {Step: 3, Time: start.Add(4250 * time.Millisecond)},
		{Step: 7, Time: start.Add(time.Hour)}}
	rows[0].add([]Value{{ValLoss, 3.25}, {ValLossReduction, 0}}, nil)
	rows[1].add([]Value{{Loss, 3.2000000001}, {LossReduction, 0}, {LearningRate, 3e-5}, {GradientNorm, math.NaN()}},
		[]Load{{1, []int64{5, 0, 3, 0}}, {2, []int64{2, 2, 2, 2}}})
	many := []Value{{Loss, 2.5}, {LossReduction, -0.125}, {LearningRate, 1.5e-7}, {GradientNorm, 0.75}}
	for i := range 1500 {
		many = append(many, Value{fmt.Sprintf("more/number_%04d", i), float64(i) / 8})
	}
	rows[2].add(many, []Load{{1, []int64{0, 0, 8, 0}}, {2, []int64{7, 1, 0, 0}}})
	rows[3].add([]Value{{Loss, 2.25}, {Tokens, 123456789}}, nil)
	rows[4].add([]Value{{ProofLoss, 2}, {Score, 0.0625}, {Rank, 3}}, nil)
	return rows
}

// bytesOf is a format's file.
func bytesOf(f format, rows []Row) []byte {
	out := f.head(rows[0])
	for _, r := range rows {
		out = append(out, f.row(r)...)
	}
	return append(out, f.tail(rows[len(rows)-1])...)
}

func fixture(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestFormats compares each format's bytes with fixtures: those of TensorBoard and W&B are made by
// their own libraries, of which testdata/make.py is the script.
func TestFormats(t *testing.T) {
	rows := testRows()
	newest := Row{}
	for _, r := range rows {
		newest.Step, newest.Time = r.Step, r.Time
		newest.add(r.Values, r.Load)
	}
	quotedRun := testRun()
	quotedRun.Name = `a "quoted\" name`
	own := map[string][]byte{"rows.jsonl": bytesOf(jsonLines{}, rows), "rows.csv": bytesOf(csvFile{}, rows),
		"rows.prom": exposition(quotedRun, newest)}
	for name, got := range own {
		if *update {
			if err := os.WriteFile(filepath.Join("testdata", name), got, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		sameBytes(t, name, got, fixture(t, name))
	}
	sameBytes(t, "events", bytesOf(tensorBoard{}, rows), fixture(t, "events"))
	if id := wandbID(testRun(), start); id != "3rlmozb0" {
		t.Errorf("the run's id is %s", id)
	}
	sameBytes(t, "run.wandb", bytesOf(&wandbRun{run: testRun()}, rows), fixture(t, "run.wandb"))
}

func sameBytes(t *testing.T, name string, got, want []byte) {
	t.Helper()
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes, want %d; they differ at %d: %q, want %q", name, len(got), len(want), at,
			got[at:min(at+40, len(got))], want[at:min(at+40, len(want))])
	}
}

// TestFrame cuts records of all sizes around a block's at all offsets around its end, and puts them
// together again.
func TestFrame(t *testing.T) {
	for offset := int64(blockBytes - 20); offset < blockBytes+3; offset++ {
		for _, n := range []int{0, 1, 12, 13, 14, blockBytes - 8, blockBytes - 7, blockBytes, 2*blockBytes + 5} {
			data := bytes.Repeat([]byte{7, 8, 9}, n)[:n]
			if got := unframe(t, offset, frame(offset, data)); !bytes.Equal(got, data) {
				t.Fatalf("offset %d, %d bytes: got %d back", offset, n, len(got))
			}
		}
	}
}

// unframe reads one record.
func unframe(t *testing.T, offset int64, in []byte) []byte {
	t.Helper()
	var out []byte
	for first := true; ; first = false {
		room := blockBytes - int(offset%blockBytes)
		if room < frameHeader {
			in, offset = in[room:], offset+int64(room)
			room = blockBytes
		}
		n, kind := int(in[4])|int(in[5])<<8, in[6]
		if frameHeader+n > room || (kind == frameFull || kind == frameFirst) != first {
			t.Fatalf("offset %d: a piece of kind %d with %d bytes; %d are left in the block", offset, kind, n, room)
		}
		out = append(out, in[frameHeader:frameHeader+n]...)
		in, offset = in[frameHeader+n:], offset+int64(frameHeader+n)
		if kind == frameFull || kind == frameLast {
			if len(in) > 0 {
				t.Fatalf("%d bytes follow the last piece", len(in))
			}
			return out
		}
	}
}

func TestLoadSums(t *testing.T) {
	var r Row
	r.add(nil, []Load{{1, []int64{4, 0, 0, 0}}, {2, []int64{2, 2, 2, 2}}})
	want := []Value{{ExpertsActive, 5}, {ExpertsActiveRatio, 0.625}, {RoutingEntropy, math.Log(4) / 2}}
	if !reflect.DeepEqual(r.Values, want) {
		t.Errorf("%v, want %v", r.Values, want)
	}
}

func TestParseRow(t *testing.T) {
	for line, want := range map[string]string{
		``:                                    "EOF",
		`{"step":1}`:                          "step and time",
		`{"step":-1,"time":"x"}`:              "not negative",
		`{"step":1.5,"time":"x"}`:             "whole number",
		`{"step":1,"step":1}`:                 "twice",
		`{"step":1,"time":"x"}`:               "time",
		`{"a":"1"}`:                           "finite",
		`{"a":1e999}`:                         "finite",
		`{"moe/expert_load":{"2":[],"1":[]}}`: "in order",
		`{"moe/expert_load":{"1":[-1]}}`:      "not negative",
		`{"step":1,"time":"2026-01-02T03:04:05.678Z"} {}`: "more",
		`{"step":1,"time":"2026-01-02T03:04:05Z"}`:        "time",
		`[1]`: "want {",
	} {
		if _, err := parseRow([]byte(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

// FuzzRow checks that whatever is taken for a row is written so that it reads the same.
func FuzzRow(f *testing.F) {
	for _, r := range testRows()[:2] {
		f.Add(bytes.TrimSuffix(jsonLines{}.row(r), []byte("\n")))
	}
	f.Add([]byte(`{"step":0,"time":"2026-01-02T03:04:05.678Z","\u0061":-0,"moe/expert_load":{}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := parseRow(line)
		if err != nil {
			return
		}
		again := jsonLines{}.row(r)
		if bytes.IndexByte(again, '\n') != len(again)-1 {
			t.Fatalf("%q is not one line", again)
		}
		back, err := parseRow(again[:len(again)-1])
		if err != nil || !reflect.DeepEqual(back, r) {
			t.Fatalf("%q: %v\n%+v, want %+v", again, err, back, r)
		}
	})
}
