package stages

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/dedup"
	"bzdata/pipeline/store"
)

// openedFS notes which files are opened.
type openedFS struct {
	store.FS
	names []string
}

func (o *openedFS) Open(name string) (store.ReadFile, error) {
	o.names = append(o.names, filepath.Base(filepath.Dir(name))+"/"+filepath.Base(name))
	return o.FS.Open(name)
}

// entry is a document of a generation under a key.
type entry struct{ key, number uint64 }

// writePart writes a file of a generation and says what the manifest says of it.
func writePart(t *testing.T, dir, name string, each []entry, add func(x *dedup.IndexWriter, e entry) error) indexFile {
	t.Helper()
	f, err := store.OS().Create(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	x, err := dedup.NewIndexWriter(f)
	for _, e := range each {
		err = cmp.Or(err, add(x, e))
	}
	if err := cmp.Or(err, x.Close()); err != nil {
		t.Fatal(err)
	}
	return indexFile{Name: name, First: each[0].key, Last: each[len(each)-1].key}
}

// cutKeys cuts sorted entries into so many ranges of keys, and leaves out those without any.
func cutKeys(each []entry, parts uint64) [][]entry {
	var out [][]entry
	for len(each) > 0 {
		part := func(e entry) uint64 { return e.key / (math.MaxUint64/parts + 1) }
		n := 1
		for n < len(each) && part(each[n]) == part(each[0]) {
			n++
		}
		out, each = append(out, each[:n]), each[n:]
	}
	return out
}

// drawGeneration writes a generation of documents with two keys each, of which a few are
// common, cut into files; it returns its entries in order of key and document.
func drawGeneration(t *testing.T, rng *rand.Rand, dir string, documents int) (*keptGeneration, []entry) {
	t.Helper()
	if err := store.OS().MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	var docs, keys []entry
	for i := range documents {
		number := uint64(i) * (math.MaxUint64 / uint64(documents))
		docs = append(docs, entry{number, number})
		for range 2 {
			keys = append(keys, entry{rng.Uint64N(50) * (math.MaxUint64 / 50), number})
		}
	}
	slices.SortFunc(keys, func(a, b entry) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.number, b.number)) })
	k := &keptGeneration{name: filepath.Base(dir), dir: dir}
	for i, part := range cutKeys(docs, 2+rng.Uint64N(8)) {
		k.docs = append(k.docs, writePart(t, dir, fmt.Sprintf("part-%d", i), part, func(x *dedup.IndexWriter, e entry) error {
			return x.Document(e.key, fmt.Sprint("doc ", e.number), []uint64{e.number})
		}))
	}
	for i, part := range cutKeys(keys, 2+rng.Uint64N(8)) {
		k.keys = append(k.keys, writePart(t, dir, fmt.Sprintf("keys-%d", i), part, func(x *dedup.IndexWriter, e entry) error {
			return x.Entry(e.key, e.number)
		}))
	}
	return k, keys
}

// slowEarlier looks at all entries of all generations.
func slowEarlier(generations [][]entry, key uint64, most int) []earlierDoc {
	var out []earlierDoc
	for i, entries := range generations {
		for _, e := range entries {
			if e.key == key && len(out) < most {
				out = append(out, earlierDoc{uint32(i), e.number})
			}
		}
	}
	return out
}

// TestGenerations looks for the keys of a range in generations that are cut in different ways.
// No file is opened that cannot hold one, and none twice.
func TestGenerations(t *testing.T) {
	rng := rand.New(rand.NewPCG(51, 52))
	dir := t.TempDir()
	var all [][]entry
	var list []*keptGeneration
	for i := range 12 {
		k, entries := drawGeneration(t, rng, filepath.Join(dir, fmt.Sprint("g", i)), 1+rng.IntN(200))
		list, all = append(list, k), append(all, entries)
	}
	step := uint64(math.MaxUint64 / 50)
	for _, r := range [][2]uint64{{0, 50}, {0, 3}, {20, 21}, {49, 50}} {
		fsys := &openedFS{FS: store.OS()}
		g := &keptGenerations{files: dedup.NewIndexFiles(fsys, indexOpenMax), documents: map[string]*dedup.Index{},
			hold: func(int64) error { return nil }}
		for _, k := range list {
			g.list = append(g.list, &keptGeneration{name: k.name, dir: k.dir, keys: k.keys, docs: k.docs})
		}
		var found []earlierDoc
		for i := r[0]; i < r[1]; i++ {
			for _, key := range []uint64{i * step, i*step + 1} {
				from, most := len(found), 1+rng.IntN(30)
				err := g.find(key, most, func(d earlierDoc) error {
					found = append(found, d)
					return nil
				})
				if want := slowEarlier(all, key, most); err != nil || !slices.Equal(found[from:], want) {
					t.Fatalf("key %x: %v, want %v; %v", key, found[from:], want, err)
				}
			}
		}
		checkOpened(t, fsys.names, list, r[0]*step, (r[1]-1)*step+1)
		for _, d := range found {
			name, set, err := g.document(d)
			want := fmt.Sprintf("g%d/doc %d", d.generation, d.number)
			if err != nil || name != want || !slices.Equal(set, []uint64{d.number}) {
				t.Fatalf("%+v is %s %v, want %s; %v", d, name, set, want, err)
			}
		}
		if _, _, err := g.document(earlierDoc{0, 1}); err == nil || !strings.Contains(err.Error(), "not there") {
			t.Errorf("a document that is not there: %v", err)
		}
		if err := g.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkOpened checks that files of keys were opened once each, and only those that can hold
// keys of a range.
func checkOpened(t *testing.T, names []string, list []*keptGeneration, from, to uint64) {
	t.Helper()
	slices.Sort(names)
	if n := len(slices.Compact(slices.Clone(names))); n != len(names) {
		t.Errorf("%d files are opened %d times", n, len(names))
	}
	for _, k := range list {
		for _, f := range k.keys {
			if name := k.name + "/" + f.Name; (f.Last < from || f.First > to) && slices.Contains(names, name) {
				t.Errorf("%s, of keys %x to %x, is opened for %x to %x", name, f.First, f.Last, from, to)
			}
		}
	}
}
