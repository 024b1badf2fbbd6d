package dedup

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline/store"
)

// indexed is an entry with a document, or with a value.
type indexed struct {
	key   uint64
	name  string // "" for none
	set   []uint64
	value uint64
}

func writeIndex(t testing.TB, entries []indexed) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewIndexWriter(&b)
	for _, e := range entries {
		switch {
		case err != nil:
		case e.name != "":
			err = w.Document(e.key, e.name, e.set)
		default:
			err = w.Entry(e.key, e.value)
		}
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func openIndex(t testing.TB, data []byte) (*Index, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "index")
	if err := store.WriteBytes(store.OS(), name, data); err != nil {
		t.Fatal(err)
	}
	files := NewIndexFiles(store.OS(), 1)
	t.Cleanup(func() { files.Close() })
	return files.Open(name)
}

// drawEntries draws entries of few keys, some with documents, of which a few are long.
func drawEntries(rng *rand.Rand, n int, keys uint64) []indexed {
	out := make([]indexed, n)
	for i := range out {
		out[i] = indexed{key: 5 + rng.Uint64N(keys), value: rng.Uint64()}
		if rng.IntN(2) == 0 {
			out[i].name, out[i].set = fmt.Sprint("s:a:", i), randomSet(rng, rng.IntN(5))
			if rng.IntN(20) == 0 {
				out[i].set = randomSet(rng, 2000)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b indexed) int { return cmp.Compare(a.key, b.key) })
	return out
}

// slowFind looks at all entries.
func slowFind(entries []indexed, key uint64, most int) []indexed {
	var out []indexed
	for _, e := range entries {
		if e.key == key && len(out) < most {
			out = append(out, e)
		}
	}
	return out
}

func (e indexed) check(t *testing.T, x *Index, value uint64) {
	t.Helper()
	if e.name == "" && value != e.value {
		t.Fatalf("key %d: value %x, want %x", e.key, value, e.value)
	}
	if e.name == "" {
		return
	}
	name, set, err := x.Document(value)
	if err != nil || name != e.name || !slices.Equal(set, e.set) {
		t.Fatalf("document %s: %s %x %v", e.name, name, set, err)
	}
}

// TestIndexFinds compares with looking at all entries, in rising order and in any.
func TestIndexFinds(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 32))
	for _, c := range []struct {
		n    int
		keys uint64
	}{{0, 1}, {1, 1}, {10, 3}, {1024, 900}, {1025, 1}, {5000, 3}, {5000, 2000}, {3 * 1024, 1 << 40}} {
		entries := drawEntries(rng, c.n, c.keys)
		x, err := openIndex(t, writeIndex(t, entries))
		if err != nil || x.Entries() != c.n {
			t.Fatal(x, err)
		}
		if c.n > 0 {
			first, last, err := x.Range()
			if err != nil || first != entries[0].key || last != entries[c.n-1].key {
				t.Fatalf("from %d to %d, %v", first, last, err)
			}
		}
		asked := []uint64{0, 1 << 63}
		for range 600 {
			asked = append(asked, rng.Uint64N(c.keys+10))
		}
		for i := range min(600, c.n) {
			asked = append(asked, entries[i*len(entries)/min(600, c.n)].key)
		}
		for range 2 {
			for _, key := range asked {
				most := 1 + rng.IntN(3000)
				got, err := x.Find(nil, key, most)
				want := slowFind(entries, key, most)
				if err != nil || len(got) != len(want) {
					t.Fatalf("%+v key %d: %d found, want %d, %v", c, key, len(got), len(want), err)
				}
				for i, e := range want[:min(50, len(want))] {
					e.check(t, x, got[i])
				}
			}
			slices.Sort(asked)
		}
	}
}

// TestIndexOrder adds keys that fall.
func TestIndexOrder(t *testing.T) {
	w, err := NewIndexWriter(&bytes.Buffer{})
	if err := cmp.Or(err, w.Entry(7, 1), w.Entry(7, 0)); err != nil {
		t.Fatal(err)
	}
	if err := w.Document(6, "a", nil); err == nil {
		t.Error("a key that falls is no error")
	}
}

// countingFS counts the files that are open.
type countingFS struct {
	store.FS
	open, most, opened int
}

type countedFile struct {
	store.ReadFile
	fs *countingFS
}

func (c *countingFS) Open(name string) (store.ReadFile, error) {
	f, err := c.FS.Open(name)
	if err != nil {
		return nil, err
	}
	c.open, c.opened = c.open+1, c.opened+1
	c.most = max(c.most, c.open)
	return countedFile{f, c}, nil
}

func (f countedFile) Close() error {
	f.fs.open--
	return f.ReadFile.Close()
}

// TestIndexFilesAreFew reads many files in turn: few are open at a time, none at the end, and
// what is read is right.
func TestIndexFilesAreFew(t *testing.T) {
	rng := rand.New(rand.NewPCG(33, 34))
	dir, fsys := t.TempDir(), &countingFS{FS: store.OS()}
	pool := NewIndexFiles(fsys, 3)
	var all [][]indexed
	var files []*Index
	for i := range 10 {
		all = append(all, drawEntries(rng, 3000, 1000))
		name := filepath.Join(dir, fmt.Sprint(i))
		if err := store.WriteBytes(fsys, name, writeIndex(t, all[i])); err != nil {
			t.Fatal(err)
		}
		x, err := pool.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, x)
	}
	for key := uint64(0); key < 1000; key += 7 {
		for i, x := range files {
			got, err := x.Find(nil, key, 10)
			want := slowFind(all[i], key, 10)
			if err != nil || len(got) != len(want) {
				t.Fatalf("file %d, key %d: %d found, want %d, %v", i, key, len(got), len(want), err)
			}
			for j, e := range want {
				e.check(t, x, got[j])
			}
		}
	}
	if err := pool.Close(); err != nil || fsys.open != 0 || fsys.most > 3 {
		t.Errorf("%v; %d files are left open, %d were", err, fsys.open, fsys.most)
	}
}

// readIndex reads all there is.
func readIndex(t testing.TB, data []byte) error {
	x, err := openIndex(t, data)
	if err != nil {
		return err
	}
	for _, key := range []uint64{0, 7, 8, 900, 1 << 63} {
		values, err := x.Find(nil, key, 10)
		if err != nil {
			return err
		}
		for _, at := range values {
			if _, _, err := x.Document(at); err != nil {
				return err
			}
		}
	}
	if x.Entries() == 0 {
		return nil
	}
	_, _, err = x.Range()
	return err
}

// TestIndexDamage changes every byte, and cuts the file at every place.
func TestIndexDamage(t *testing.T) {
	data := writeIndex(t, []indexed{{key: 7, name: "a", set: []uint64{1, 2}}, {key: 8, name: "b", set: []uint64{3}}})
	if err := readIndex(t, data); err != nil {
		t.Fatal(err)
	}
	for i := len(indexMagic); i < len(data); i++ { // what is before stands at the end, too
		bad := slices.Clone(data)
		bad[i] ^= 1
		if err := readIndex(t, bad); err == nil || !strings.Contains(err.Error(), "run the plan of its generation again") {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	for i := range data {
		if err := readIndex(t, data[:i]); err == nil {
			t.Errorf("cut at %d: no error", i)
		}
	}
}

func FuzzIndex(f *testing.F) {
	f.Add(writeIndex(f, []indexed{{key: 7, name: "a", set: []uint64{1, 2}}, {key: 8, name: "b", set: []uint64{3}}}))
	f.Add([]byte(indexMagic))
	f.Fuzz(func(t *testing.T, data []byte) { _ = readIndex(t, data) })
}
