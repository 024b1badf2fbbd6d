package dedup

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline/store"
)

type indexed struct {
	name      string
	keys, set []uint64
}

func writeIndex(t testing.TB, docs []indexed) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewIndexWriter(&b)
	for _, d := range docs {
		if err == nil {
			err = w.Add(d.name, d.keys, d.set)
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
	x, err := OpenIndex(store.OS(), name)
	if err == nil {
		t.Cleanup(func() { x.Close() })
	}
	return x, err
}

// TestIndexFinds compares with looking at all documents, from any first key on.
func TestIndexFinds(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 32))
	for _, n := range []int{0, 1, 10, 3000} {
		docs := make([]indexed, n)
		for i := range docs {
			docs[i] = indexed{fmt.Sprint("s:a:", i), Distinct([]uint64{rng.Uint64N(900), 7, rng.Uint64()}), randomSet(rng, rng.IntN(5))}
		}
		data := writeIndex(t, docs)
		for _, from := range []uint64{0, 3, 450, 899, 1 << 40} {
			x, err := openIndex(t, data)
			if err != nil || x.Documents() != n {
				t.Fatal(x, err)
			}
			for key := from; key < from+900; key += 1 + rng.Uint64N(3) {
				got, err := x.Find(nil, key, 2500)
				if err != nil {
					t.Fatal(err)
				}
				var want []uint32
				for i, d := range docs {
					if slices.Contains(d.keys, key) && len(want) < 2500 {
						want = append(want, uint32(i))
					}
				}
				if !slices.Equal(got, want) {
					t.Fatalf("%d documents, key %d: %d found, want %d", n, key, len(got), len(want))
				}
			}
			for i, d := range docs {
				name, set, err := x.Document(uint32(i))
				if err != nil || name != d.name || !slices.Equal(set, d.set) {
					t.Fatalf("document %d: %s %x %v", i, name, set, err)
				}
			}
		}
	}
}

// readIndex reads all there is.
func readIndex(t testing.TB, data []byte) error {
	x, err := openIndex(t, data)
	if err != nil {
		return err
	}
	for doc := range x.Documents() {
		if _, _, err := x.Document(uint32(doc)); err != nil {
			return err
		}
	}
	for _, key := range []uint64{0, 7, 900, 1 << 63} {
		if _, err := x.Find(nil, key, 10); err != nil {
			return err
		}
	}
	return nil
}

// TestIndexDamage changes every byte, and cuts the file at every place.
func TestIndexDamage(t *testing.T) {
	data := writeIndex(t, []indexed{{"a", []uint64{7, 8}, []uint64{1, 2}}, {"b", []uint64{7}, []uint64{3}}})
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
	f.Add(writeIndex(f, []indexed{{"a", []uint64{7, 8}, []uint64{1, 2}}, {"b", []uint64{7}, []uint64{3}}}))
	f.Add([]byte(indexMagic))
	f.Fuzz(func(t *testing.T, data []byte) { _ = readIndex(t, data) })
}
