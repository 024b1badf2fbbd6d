package pipeline

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"bzdata/pipeline/store"
)

// readWithKeep asks a keep file about the records 0 to n-1, as a reader of stored documents
// does.
func readWithKeep(fsys store.FS, name string, n int) ([]int, error) {
	k, err := openKeep(fsys, name)
	if err != nil {
		return nil, err
	}
	defer k.f.Close()
	var copies []int
	for record := range uint64(n) {
		c, err := k.copiesOf(record)
		if err != nil {
			return nil, err
		}
		copies = append(copies, c)
	}
	return copies, nil
}

// TestKeepList compares what a keep file says with the list that it was made of, and cuts it
// everywhere.
func TestKeepList(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	fsys := store.NewCrashFS()
	for n := range 40 {
		var list keepList
		want := make([]int, n)
		for record := range n {
			if want[record] = max(0, rng.IntN(4)-1) * (1 + 199*rng.IntN(2)); want[record] > 0 {
				list.add(uint64(record), want[record])
			}
		}
		var b bytes.Buffer
		if err := list.writeTo(&b); err != nil {
			t.Fatal(err)
		}
		put := func(data []byte) {
			t.Helper()
			if err := store.WriteFile(fsys, "/keep", func(w io.Writer) error { _, err := w.Write(data); return err }); err != nil {
				t.Fatal(err)
			}
		}
		put(b.Bytes())
		got, err := readWithKeep(fsys, "/keep", n)
		if err != nil {
			t.Fatal(err)
		}
		for record, copies := range want {
			if got[record] != copies {
				t.Fatalf("record %d of %d goes on %d times, want %d", record, n, got[record], copies)
			}
		}
		for cut := range b.Len() {
			put(b.Bytes()[:cut])
			if _, err := readWithKeep(fsys, "/keep", n); err == nil {
				t.Fatalf("%d of %d bytes were read without an error", cut, b.Len())
			}
		}
	}
}

// TestVerdictsTwin asks for the verdicts about a shard's records as a pass does and compares
// them with a map of what the barrier's tasks decided.
func TestVerdictsTwin(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	fsys := store.NewCrashFS()
	for _, dir := range []string{"/0", "/1", "/2"} {
		if err := fsys.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	want := map[uint64]Verdict{}
	blocks := [2][]byte{}
	for record := range uint64(200) {
		who := rng.IntN(4)
		if who > 1 {
			continue
		}
		v := Verdict{Reason: []string{"", "a", "bc"}[rng.IntN(3)], Value: rng.Float64(), Copies: rng.IntN(3), HeldOut: rng.IntN(2) == 0}
		if rng.IntN(2) == 0 {
			v.Matched = &Ref{rng.Uint32(), rng.Uint64()}
		}
		want[record] = v
		blocks[who] = append(blocks[who], appendDecision(nil, record, v)[recordFirst:]...)
	}
	for i, b := range blocks { // the third folder has no file
		err := store.WriteFile(fsys, []string{"/0/", "/1/"}[i]+decisionsName, func(w io.Writer) error {
			return WriteShardParts(w, [][]byte{{}, b})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	got, err := readVerdicts(fsys, []string{"/0", "/1", "/2"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for record := range uint64(201) {
		v, ok := got.of(record)
		w, there := want[record]
		if ok != there || (v.Matched == nil) != (w.Matched == nil) || v.Matched != nil && *v.Matched != *w.Matched {
			t.Fatalf("record %d: %+v, %v; want %+v, %v", record, v, ok, w, there)
		}
		v.Matched, w.Matched = nil, nil
		if v != w {
			t.Fatalf("record %d: %+v, want %+v", record, v, w)
		}
	}
}
