package spill

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"bzdata/pipeline/store"
)

// sortSlow is the obvious twin of a [Sorter].
func sortSlow(recs []Record) []Record {
	out := slices.Clone(recs)
	slices.SortFunc(out, func(a, b Record) int { return Compare(&a, &b) })
	return out
}

// countingFS counts the files that are open for reading, and those ever made.
type countingFS struct {
	store.FS
	open, most, made int
}

func (c *countingFS) Open(name string) (store.ReadFile, error) {
	f, err := c.FS.Open(name)
	if err == nil {
		c.open++
		c.most = max(c.most, c.open)
	}
	return countedFile{f, c}, err
}

func (c *countingFS) Create(name string) (store.File, error) {
	c.made++
	return c.FS.Create(name)
}

type countedFile struct {
	store.ReadFile
	c *countingFS
}

func (f countedFile) Close() error { f.c.open--; return f.ReadFile.Close() }

func newFS(t testing.TB) *countingFS {
	t.Helper()
	fsys := store.NewCrashFS()
	if err := fsys.MkdirAll("/d"); err != nil {
		t.Fatal(err)
	}
	return &countingFS{FS: fsys}
}

func collect(t testing.TB, each func(func(*Record) error) error) []Record {
	t.Helper()
	var out []Record
	err := each(func(r *Record) error {
		c := *r
		c.Payload = slices.Clone(r.Payload)
		out = append(out, c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func same(a, b []Record) bool {
	return slices.EqualFunc(a, b, func(a, b Record) bool { return Compare(&a, &b) == 0 })
}

// checkSorter sorts under a budget, twice over, and compares with the twin.
func checkSorter(t testing.TB, recs []Record, budget int64) (runs, most int) {
	t.Helper()
	fsys := newFS(t)
	s := NewSorter(Options{FS: fsys, Dir: "/d/scratch", Bytes: budget})
	for i := range recs {
		if err := s.Add(&recs[i]); err != nil {
			t.Fatal(err)
		}
	}
	want := sortSlow(recs)
	for range 2 {
		if got := collect(t, s.Each); !same(got, want) {
			t.Fatalf("%d records under %d bytes: got\n%v\nwant\n%v", len(recs), budget, got, want)
		}
	}
	if s.Len() != uint64(len(recs)) {
		t.Fatalf("Len is %d of %d", s.Len(), len(recs))
	}
	runs = s.Runs()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if tree, err := store.Tree(fsys.FS.(*store.CrashFS), "/d"); err != nil || len(tree) > 1 {
		t.Fatalf("after Close there is %v, %v", tree, err)
	}
	if fsys.open != 0 {
		t.Fatalf("%d files are left open", fsys.open)
	}
	return runs, fsys.most
}

// TestSorterExhaustively sorts every sequence of up to four of some awkward records, in
// memory and with each record in a run of its own.
func TestSorterExhaustively(t *testing.T) {
	alphabet := []Record{
		{0, 0, 0, nil}, {0, 0, 0, []byte("a")}, {0, 1, 0, []byte("a")}, {0, 0, 1 << 63, []byte("ab")},
		{1 << 63, 0, 0, nil}, {^uint64(0), ^uint32(0), ^uint64(0), []byte{0}},
		{0, 1<<23 - 1, 1<<40 - 1, nil}, {0, 1 << 23, 0, nil}, {0, 0, 1 << 40, nil},
	}
	var recs []Record
	var walk func()
	walk = func() {
		for _, budget := range []int64{1 << 20, 0} {
			checkSorter(t, recs, budget)
		}
		if len(recs) == 4 {
			return
		}
		for _, r := range alphabet {
			recs = append(recs, r)
			walk()
			recs = recs[:len(recs)-1]
		}
	}
	walk()
}

func randomRecords(rng *rand.Rand, n int) []Record {
	recs := make([]Record, n)
	keyBits, payloadMax := rng.IntN(65), rng.IntN(150)
	for i := range recs {
		key := uint64(0)
		if keyBits > 0 {
			key = rng.Uint64() >> (64 - keyBits)
		}
		if rng.IntN(2) == 0 {
			key = key<<(64-keyBits) | key
		}
		p := make([]byte, rng.IntN(payloadMax+1))
		for j := range p {
			p[j] = byte(rng.IntN(3))
		}
		recs[i] = Record{key, uint32(rng.IntN(3)), uint64(rng.IntN(100)), p}
	}
	if n > 0 && rng.IntN(4) == 0 {
		recs[rng.IntN(n)].Payload = bytes.Repeat([]byte("long"), 20_000)
	}
	return recs
}

// TestSorterAgainstTwin sorts random records under budgets that need no run, some runs and
// several levels of merging.
func TestSorterAgainstTwin(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	manyRuns, manyOpen := 0, 0
	for range 100 {
		recs := randomRecords(rng, rng.IntN(4000))
		for _, budget := range []int64{8 << 10, 40 << 10, 100 << 10, 1 << 20} {
			runs, open := checkSorter(t, recs, budget)
			manyRuns, manyOpen = max(manyRuns, runs), max(manyOpen, open)
			if most := max(2, budget/blockBytes); int64(open) > most {
				t.Fatalf("%d files were open under %d bytes, want at most %d", open, budget, most)
			}
		}
	}
	if manyRuns < 30 || manyOpen < 3 {
		t.Errorf("only %d runs, %d files open: the merging was not put to the test", manyRuns, manyOpen)
	}
}

// TestRadix compares the radix sort with its twin where every entry has its own key, and
// where many share one.
func TestRadix(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		recs := randomRecords(rng, rng.IntN(2000))
		m := newMemory(1 << 30)
		for i := range recs {
			if !m.add(&recs[i]) {
				t.Fatal("no room")
			}
		}
		want := slices.Clone(m.entries)
		slices.SortFunc(want, m.compare)
		m.sort()
		if !slices.EqualFunc(m.entries, want, func(a, b entry) bool { return m.compare(a, b) == 0 }) {
			t.Fatal("the radix sort differs from its twin")
		}
	}
}

// writeParts writes a file with the given records, sorted, cut into parts.
func writeParts(t testing.TB, fsys store.FS, name string, parts [][]Record) {
	t.Helper()
	f, err := fsys.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w := NewWriter(f, len(parts))
	for i, recs := range parts {
		for j := range recs {
			if err := w.Write(i, &recs[j]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestMergedParts merges one part each of more files than may be open.
func TestMergedParts(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, files := range []int{0, 1, 2, 3, 7, 40} {
		fsys := newFS(t)
		var parts []Part
		var all []Record
		for i := range files {
			name := fmt.Sprintf("/d/file-%d", i)
			three := [][]Record{sortSlow(randomRecords(rng, 100)), sortSlow(randomRecords(rng, rng.IntN(200))), nil}
			writeParts(t, fsys, name, three)
			parts, all = append(parts, Part{name, 1}), append(all, three[1]...)
		}
		made := fsys.made
		m := NewMerged(Options{FS: fsys, Dir: "/d/scratch", Bytes: 3 * blockBytes}, parts)
		for range 2 {
			if got := collect(t, m.Each); !same(got, sortSlow(all)) {
				t.Fatalf("%d files: the merged records are wrong", files)
			}
		}
		if fsys.most > 3 {
			t.Errorf("%d files: %d were open at a time", files, fsys.most)
		}
		if temp := fsys.made - made; (temp > 0) != (files > 3) || temp > files {
			t.Errorf("%d files: %d temporary files", files, temp)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// readAll reads all parts of a file.
func readAll(fsys store.FS, name string, parts int) ([]Record, error) {
	var out []Record
	for i := range parts {
		r, err := OpenPart(fsys, Part{name, i})
		if err != nil {
			return out, err
		}
		for {
			var rec Record
			err := r.Next(&rec)
			if err == io.EOF {
				break
			}
			if err != nil {
				return out, errors.Join(err, r.Close())
			}
			rec.Payload = slices.Clone(rec.Payload)
			out = append(out, rec)
		}
		if err := r.Close(); err != nil {
			return out, err
		}
	}
	return out, nil
}

// TestDamage changes every byte of a file, and cuts it everywhere: each must be an error.
func TestDamage(t *testing.T) {
	fsys := newFS(t)
	rng := rand.New(rand.NewPCG(7, 8))
	var parts [][]Record
	for _, n := range []int{0, 5, 0, 2} {
		var recs []Record
		for range n {
			recs = append(recs, Record{rng.Uint64() >> rng.IntN(64), 3, rng.Uint64N(1000), []byte("payload")})
		}
		parts = append(parts, sortSlow(recs))
	}
	writeParts(t, fsys, "/d/f", parts)
	good, err := store.ReadAll(fsys, "/d/f")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readAll(fsys, "/d/f", 4); err != nil || !same(got, slices.Concat(parts...)) {
		t.Fatalf("the file as it was written: %v, %v", got, err)
	}
	try := func(what string, data []byte) {
		t.Helper()
		if err := store.WriteBytes(fsys, "/d/g", data); err != nil {
			t.Fatal(err)
		}
		if got, err := readAll(fsys, "/d/g", 4); err == nil {
			t.Errorf("%s gives no error, but %v", what, got)
		}
	}
	for i := range good {
		for bit := range 8 {
			bad := slices.Clone(good)
			bad[i] ^= 1 << bit
			try(fmt.Sprintf("bit %d of byte %d of %d changed", bit, i, len(good)), bad)
		}
		try(fmt.Sprintf("the file cut to %d of %d", i, len(good)), good[:i])
	}
}

// TestMistakesOfCallers writes what is out of order.
func TestMistakesOfCallers(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b, 2)
	steps := []struct {
		part int
		key  uint64
		ok   bool
	}{{0, 5, true}, {0, 4, false}, {1, 1, true}, {0, 9, false}, {2, 9, false}}
	for _, s := range steps {
		if err := w.Write(s.part, &Record{Key: s.key}); (err == nil) != s.ok {
			t.Errorf("key %d to part %d: %v", s.key, s.part, err)
		}
	}
}

// errFull is the error of a disk without room.
var errFull = errors.New("no room")

// fullFS fails to write after so many bytes.
type fullFS struct {
	store.FS
	left *int
}

func (f fullFS) Create(name string) (store.File, error) {
	file, err := f.FS.Create(name)
	return fullFile{file, f.left}, err
}

type fullFile struct {
	store.File
	left *int
}

func (f fullFile) Write(p []byte) (int, error) {
	if *f.left -= len(p); *f.left < 0 {
		return 0, errFull
	}
	return f.File.Write(p)
}

// TestErrors lets writing fail at several moments, and the caller stop: both are what is
// returned.
func TestErrors(t *testing.T) {
	recs := make([]Record, 2000)
	for i := range recs {
		recs[i] = Record{uint64(i) * 0x9e3779b97f4a7c15, 0, 0, make([]byte, 100)}
	}
	sortAll := func(opt Options) error {
		s := NewSorter(opt)
		for i := range recs {
			if err := s.Add(&recs[i]); err != nil {
				return errors.Join(err, s.Close())
			}
		}
		return errors.Join(s.Each(func(*Record) error { return nil }), s.Close())
	}
	for _, room := range []int{0, 10_000, 200_000, 400_000} {
		opt := Options{FS: fullFS{newFS(t), &room}, Dir: "/d/s", Bytes: 16 << 10}
		if err := sortAll(opt); !errors.Is(err, errFull) {
			t.Errorf("the disk filled up and the error is %v", err)
		}
	}
	stop := errors.New("stop")
	blocks := 0
	check := func() error {
		if blocks++; blocks > 20 {
			return stop
		}
		return nil
	}
	if err := sortAll(Options{FS: newFS(t), Dir: "/d/s", Bytes: 16 << 10, Check: check}); !errors.Is(err, stop) {
		t.Errorf("it was stopped and the error is %v", err)
	}
}

// FuzzReader reads files of any bytes: what comes out must be what a writer of it would make,
// or an error; and no file makes the reader allocate more than the file has.
func FuzzReader(f *testing.F) {
	fsys := newFS(f)
	for _, parts := range [][][]Record{{}, {{}}, {{{Key: 1, Payload: []byte("x")}, {Key: 300, Shard: 7, Number: 1 << 40}}, nil}} {
		writeParts(f, fsys, "/d/seed", parts)
		data, err := store.ReadAll(fsys, "/d/seed")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, 0)
		f.Add(data[:len(data)/2], 1)
	}
	f.Fuzz(func(t *testing.T, data []byte, part int) {
		r, err := newReader(&bytesFile{bytes.NewReader(data)}, Part{"f", max(0, part)})
		if err != nil {
			return
		}
		n := r.Records()
		for i := uint64(0); ; i++ {
			var rec Record
			err := r.Next(&rec)
			if err == io.EOF {
				if i != n {
					t.Fatalf("%d records of %d", i, n)
				}
				return
			}
			if err != nil {
				return
			}
			if i > uint64(len(data)) || cap(r.buf) > len(data)+headBytes {
				t.Fatalf("%d records and a buffer of %d bytes from a file of %d", i, cap(r.buf), len(data))
			}
		}
	})
}

type bytesFile struct{ *bytes.Reader }

func (bytesFile) Close() error { return nil }

func BenchmarkSorter(b *testing.B) {
	const n = 1 << 20
	for _, c := range []struct {
		name          string
		bytes         int64
		payload, ties int
	}{{"memory", 1 << 30, 8, 0}, {"runs", 8 << 20, 8, 0}, {"memory-empty", 1 << 30, 0, 0}, {"ties", 1 << 30, 8, 64}} {
		b.Run(c.name, func(b *testing.B) {
			dir := b.TempDir()
			payload := make([]byte, c.payload)
			b.SetBytes(n * int64(8+c.payload+12))
			b.ReportAllocs()
			for b.Loop() {
				s := NewSorter(Options{FS: store.OS(), Dir: dir, Bytes: c.bytes})
				key := uint64(1)
				for i := range uint64(n) {
					key = key*0x9e3779b97f4a7c15 + 1
					if c.ties > 0 {
						binary.BigEndian.PutUint64(payload, key)
					}
					if err := s.Add(&Record{key >> c.ties, 1, i, payload}); err != nil {
						b.Fatal(err)
					}
				}
				if err := errors.Join(s.Each(func(*Record) error { return nil }), s.Close()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
