package sample

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bzdata/dedup"
	"bzdata/tokenize/words"
)

// testCorpus is a corpus of n documents.
func testCorpus(t testing.TB, n int64, seed uint64) *corpus {
	t.Helper()
	c, err := newCorpus(n, seed)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// textOf joins a row as the plans' template does.
func textOf(r *row) string { return string(r.question) + "\n" + string(r.answer) }

func TestShares(t *testing.T) {
	sum := 0
	for _, s := range Shares() {
		sum += s.PerMille
	}
	if sum != blockRows {
		t.Fatalf("shares sum to %d per mille", sum)
	}
	c := testCorpus(t, 5000, 3)
	for block := range int64(5) {
		counts := map[Kind]int{}
		for i := range int64(blockRows) {
			counts[c.kind(block*blockRows+i)]++
		}
		for _, s := range Shares() {
			if got := counts[s.Kind]; got != s.PerMille && (block > 0 || got < s.PerMille-cleanFirst && s.Kind != Clean) {
				t.Errorf("block %d has %d rows of %s, want %d", block, got, s.Kind, s.PerMille)
			}
		}
	}
	if clean := slices.IndexFunc(make([]int, cleanFirst), func(int) bool { return c.kind(0) != Clean }); clean >= 0 {
		t.Errorf("row %d of the first is not clean", clean)
	}
}

func TestPermuteIsBijective(t *testing.T) {
	for key := range uint64(50) {
		var seen [blockRows]bool
		for v := range uint64(blockRows) {
			p := permute(scramble(key), v)
			if p >= blockRows || seen[p] {
				t.Fatalf("key %d maps %d to %d, which is out of range or taken", key, v, p)
			}
			seen[p] = true
		}
	}
}

func TestPlaces(t *testing.T) {
	for _, n := range []int64{100, 101, 1000, 20_000, 333_333} {
		c := testCorpus(t, n, 5)
		next := int64(0)
		for _, f := range c.files {
			if f.from != next || f.to <= f.from || f.to-f.from > fileRowsMax {
				t.Fatalf("%d documents: file %s holds rows %d to %d after %d", n, f.name, f.from, f.to, next)
			}
			next = f.to
			for _, i := range []int64{f.from, (f.from + f.to) / 2, f.to - 1} {
				if g, row := c.place(i); g != f || row != i-f.from {
					t.Errorf("%d documents: row %d is placed in %s at %d, want %s", n, i, g.name, row, f.name)
				}
			}
		}
		if next != n {
			t.Errorf("%d documents: files hold %d", n, next)
		}
	}
}

var marks = regexp.MustCompile(`(\$?)([0-9]+) ?([*x/+-]) ?\$?([0-9]+)(/100)? ?= ?(\$?)<<([0-9]+)([*/+-])([0-9]+)(/100)?=([0-9]+)>>([0-9]+)`)

// TestArithmetic recomputes every calculation of clean problems.
func TestArithmetic(t *testing.T) {
	c := testCorpus(t, 4000, 11)
	m := newMaker(c)
	steps := map[int]int{}
	for i := range int64(4000) {
		m.problem(streamRow, i)
		answer := string(m.row.answer)
		all := marks.FindAllStringSubmatch(answer, -1)
		if len(all) != strings.Count(answer, "<<") {
			t.Fatalf("problem %d: a calculation has an odd form:\n%s", i, answer)
		}
		result := 0
		for _, f := range all {
			result = checkCalculation(t, f)
		}
		steps[len(all)]++
		_, final, ok := strings.Cut(answer, "\n#### ")
		if n, err := strconv.Atoi(final); !ok || err != nil || n != result || n != m.problems.result || n <= 0 {
			t.Fatalf("problem %d ends in %q, its last calculation in %d:\n%s", i, final, result, answer)
		}
		if text := textOf(&m.row); len(text) < 200 || strings.Contains(text, "  ") || strings.Contains(text, " .") {
			t.Fatalf("problem %d is short or badly spaced:\n%s", i, text)
		}
		if last := m.row.question[len(m.row.question)-1]; last != '?' {
			t.Fatalf("problem %d asks nothing:\n%s", i, m.row.question)
		}
	}
	for n := 2; n <= 6; n++ {
		if steps[n] < 100 {
			t.Errorf("%d of 4000 problems have %d calculations", steps[n], n)
		}
	}
	if len(steps) != 5 {
		t.Errorf("problems by number of calculations: %v, want 2 to 6", steps)
	}
}

// checkCalculation returns the result of one match of marks.
func checkCalculation(t *testing.T, f []string) int {
	t.Helper()
	n := func(i int) int { v, _ := strconv.Atoi(f[i]); return v }
	op := strings.ReplaceAll(f[3], "x", "*")
	if n(2) != n(7) || op != f[8] || n(4) != n(9) || f[5] != f[10] || n(11) != n(12) {
		t.Fatalf("told and marked calculation differ: %q", f[0])
	}
	a, b, scale := n(7), n(9), 1
	if f[10] != "" {
		scale = 100
	}
	want := map[string]int{"+": a + b, "-": a - b, "*": a * b}[f[8]]
	if f[8] == "/" {
		want = a / max(b, 1)
		if b == 0 || a%b != 0 {
			t.Fatalf("%q is not a whole number", f[0])
		}
	}
	if want%scale != 0 || want/scale != n(11) {
		t.Fatalf("%q is wrong", f[0])
	}
	return n(11)
}

// related returns the group of texts that a row belongs to by plan: rows of one group
// may resemble each other.
func related(c *corpus, i int64, row *row) string {
	switch row.kind {
	case ExactCopy, NearCopy, Leak:
		return row.of
	}
	f, at := c.place(i)
	return f.name + ":" + strconv.FormatInt(at, 10)
}

// TestUnrelated compares all pairs of rows that share a shingle, and all that share a run
// of 13 words, over the corpus and held-out rows together.
func TestUnrelated(t *testing.T) {
	n := int64(6000)
	if testing.Short() {
		n = 1500
	}
	c := testCorpus(t, n, 5)
	m := newMaker(c)
	var sets [][]uint64
	var groups, texts []string
	runs := map[uint64]int{}
	add := func(text, group string) {
		hashes := words.AppendHashes(nil, text)
		at := len(sets)
		for _, run := range dedup.Shingles(nil, hashes, 13) {
			if len(hashes) < 13 {
				break
			}
			if other, ok := runs[run]; ok && groups[other] != group {
				t.Errorf("two unrelated rows share 13 words:\n%s\n\n%s", texts[other], text)
			}
			runs[run] = at
		}
		sets = append(sets, dedup.Distinct(dedup.Shingles(nil, hashes, shingleWords)))
		groups, texts = append(groups, group), append(texts, text)
	}
	for h := range c.heldOut {
		m.problem(streamHeldOut, h)
		add(textOf(&m.row), fmt.Sprintf("%s:%d", heldOutFile, h))
	}
	for i := range c.reference {
		m.problem(streamReference, i)
		add(textOf(&m.row), fmt.Sprintf("reference:%d", i))
	}
	for i := range n {
		if row := m.make(i); row.kind != Malformed && row.kind != Boilerplate {
			add(textOf(row), related(c, i, row))
		}
	}
	highest := maxJaccard(sets, groups)
	if highest >= 0.3 {
		t.Errorf("two unrelated rows have Jaccard similarity %.3f", highest)
	}
	t.Logf("%d rows, %d runs of 13 words, highest similarity of unrelated rows %.3f", len(sets), len(runs), highest)
}

// maxJaccard returns the highest similarity of two sets of different groups.
func maxJaccard(sets [][]uint64, groups []string) float64 {
	posting := map[uint64][]int32{}
	highest := 0.0
	shared := make([]int32, len(sets))
	for i, set := range sets {
		var touched []int32
		for _, s := range set {
			for _, j := range posting[s] {
				if shared[j] == 0 {
					touched = append(touched, j)
				}
				shared[j]++
			}
			posting[s] = append(posting[s], int32(i))
		}
		for _, j := range touched {
			if groups[j] != groups[i] {
				both := float64(shared[j])
				highest = max(highest, both/(float64(len(set)+len(sets[j]))-both))
			}
			shared[j] = 0
		}
	}
	return highest
}

// TestMaxJaccard checks the counting of shared shingles by direct comparison.
func TestMaxJaccard(t *testing.T) {
	c := testCorpus(t, 100, 2)
	m := newMaker(c)
	var sets [][]uint64
	var groups []string
	for i := range int64(100) {
		m.problem(streamRow, i/2) // every text twice, in one group
		sets = append(sets, dedup.Distinct(dedup.Shingles(nil, words.AppendHashes(nil, textOf(&m.row)), 2)))
		groups = append(groups, fmt.Sprint(i/2))
	}
	want := 0.0
	for i := range sets {
		for j := range i {
			if groups[i] != groups[j] {
				want = max(want, dedup.Jaccard(sets[i], sets[j]))
			}
		}
	}
	if got := maxJaccard(sets, groups); got != want || want == 0 || want == 1 {
		t.Errorf("highest similarity %v, want %v", got, want)
	}
}

// TestMemory writes a large corpus and watches what is in use on the way.
func TestMemory(t *testing.T) {
	c := testCorpus(t, 200_000, 1)
	if testing.Short() {
		c = testCorpus(t, 25_000, 1)
	}
	var first, most uint64
	w := &writer{c: c, progress: func(rows int64) {
		if rows%10_240 != 0 {
			return
		}
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		if first == 0 {
			first = stats.HeapAlloc
		}
		most = max(most, stats.HeapAlloc)
	}}
	file := dataFile{"problems-00000.jsonl", 0, c.documents}
	if err := w.dataFile(context.Background(), io.Discard, file); err != nil {
		t.Fatal(err)
	}
	if first == 0 || most > first+4<<20 {
		t.Errorf("memory in use grew from %d to %d bytes over %d rows", first, most, c.documents)
	}
}

func BenchmarkRows(b *testing.B) {
	c := testCorpus(b, 100_000, 1)
	w := &writer{c: c}
	counter := &countingWriter{}
	for b.Loop() {
		counter.n = 0
		if err := w.dataFile(context.Background(), counter, dataFile{"problems-00000.jsonl", 0, 10_000}); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(counter.n)
	}
}

type countingWriter struct{ n int64 }

func (c *countingWriter) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }
