package dedup

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"bzdata/pipeline/spill"
	"bzdata/pipeline/store"
)

// diskGroups joins pairs on disk, with so many documents in a range.
func diskGroups(t testing.TB, n int, pairs [][2]int, size int) (lowest []int, bytes int) {
	t.Helper()
	written := &writtenFS{FS: store.NewCrashFS()}
	c := NewDiskComponents(n, spill.Options{FS: written, Dir: "/d/c", Bytes: int64(2 * linkBytes * size)})
	for _, p := range pairs {
		if err := c.Union(p[0], p[1]); err != nil {
			t.Fatal(err)
		}
	}
	told := 0
	if err := c.Join(func(ranges int) { told = ranges }); err != nil {
		t.Fatal(err)
	}
	if want := (n + size - 1) / size; c.Ranges() != want || told != want {
		t.Fatalf("%d documents by %d are %d ranges, of which %d are done", n, size, c.Ranges(), told)
	}
	for doc := range n {
		low, err := c.Find(doc)
		if err != nil {
			t.Fatal(err)
		}
		lowest = append(lowest, low)
	}
	return lowest, written.bytes
}

// writtenFS counts the bytes that are written, but for what sorting writes on its way.
type writtenFS struct {
	store.FS
	bytes int
}

func (f *writtenFS) Create(name string) (store.File, error) {
	file, err := f.FS.Create(name)
	return writtenFile{file, f, strings.HasPrefix(filepath.Base(name), "run-")}, err
}

type writtenFile struct {
	store.File
	fs  *writtenFS
	run bool // of a sorter
}

func (f writtenFile) Write(p []byte) (int, error) {
	if !f.run {
		f.fs.bytes += len(p)
	}
	return f.File.Write(p)
}

// checkDisk compares groups made on disk with those made in memory.
func checkDisk(t testing.TB, n int, pairs [][2]int, size int) {
	t.Helper()
	twin := NewComponents(n)
	for _, p := range pairs {
		twin.Union(p[0], p[1])
	}
	got, _ := diskGroups(t, n, pairs, size)
	for doc, low := range got {
		if want := twin.Find(doc); low != want {
			t.Fatalf("%d documents by %d, pairs %v: the group of %d is %d, want %d", n, size, pairs, doc, low, want)
		}
	}
}

// TestDiskComponentsExhaustively tries every graph of five documents with ranges of every size.
func TestDiskComponentsExhaustively(t *testing.T) {
	const n = 5
	var all [][2]int
	for a := range n {
		for b := range a {
			all = append(all, [2]int{a, b})
		}
	}
	for set := range 1 << len(all) {
		var pairs [][2]int
		for i, p := range all {
			if set>>i&1 == 1 {
				pairs = append(pairs, p)
			}
		}
		for size := 1; size <= n; size++ {
			checkDisk(t, n, pairs, size)
		}
	}
}

// TestDiskComponentsShapes tries chains, stars, combs and random graphs, numbered in order,
// backwards and at random.
func TestDiskComponentsShapes(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	const n = 40
	shapes := map[string]func(i int) [2]int{
		"chain":   func(i int) [2]int { return [2]int{i, i + 1} },
		"star":    func(i int) [2]int { return [2]int{0, i + 1} },
		"comb":    func(i int) [2]int { return [2]int{i, i / 2} },
		"strands": func(i int) [2]int { return [2]int{i, min(i+7, n-1)} },
		"random":  func(int) [2]int { return [2]int{rng.IntN(n), rng.IntN(n)} },
		"sparse":  func(int) [2]int { a := rng.IntN(n); return [2]int{a, max(0, a-rng.IntN(3))} },
	}
	for name, shape := range shapes {
		for _, order := range [][]int{inOrder(n), backwards(n), rng.Perm(n)} {
			var pairs [][2]int
			for i := range n - 1 {
				p := shape(i)
				pairs = append(pairs, [2]int{order[p[0]], order[p[1]]})
				if rng.IntN(4) == 0 { // and once more, the other way round
					pairs = append(pairs, [2]int{order[p[1]], order[p[0]]})
				}
			}
			rng.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
			for _, size := range []int{1, 3, 11, n - 1, 2 * n} {
				t.Run(name, func(t *testing.T) { checkDisk(t, n, pairs, size) })
			}
		}
	}
	checkDisk(t, 0, nil, 3)
}

func inOrder(n int) (order []int) {
	for i := range n {
		order = append(order, i)
	}
	return order
}

func backwards(n int) (order []int) {
	for i := range n {
		order = append(order, n-1-i)
	}
	return order
}

// TestDiskComponentsWork bounds what is written, as the comment on the type says it.
func TestDiskComponentsWork(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 24))
	const n, ranges = 40_000, 20
	var pairs, far [][2]int
	for i := range n {
		pairs = append(pairs, [2]int{rng.IntN(n), rng.IntN(n)})
		far = append(far, [2]int{n/2 + i/2, i / 2}) // two for each, which is a ladder
	}
	const recordBytes = 9
	for name, c := range map[string]struct {
		pairs [][2]int
		times float64
	}{"any": {pairs, 1 + 3}, "ladder": {far, 2}} { // ln 20 = 3
		_, bytes := diskGroups(t, n, c.pairs, n/ranges)
		// Each document has a link, asks and is told.
		if most := recordBytes * (c.times*n + 3*n); float64(bytes) > most {
			t.Errorf("%s: %d bytes written, want %g at most", name, bytes, most)
		}
	}
}

// TestDiskComponentsErrors passes on what goes wrong with its files.
func TestDiskComponentsErrors(t *testing.T) {
	stop := errors.New("stop")
	from := 0
	for err := stop; err != nil; from++ {
		blocks := 0
		check := func() error {
			if blocks++; blocks > from {
				return stop
			}
			return nil
		}
		c := NewDiskComponents(50, spill.Options{FS: store.NewCrashFS(), Dir: "/d/c", Bytes: 200, Check: check})
		err = func() error {
			for i := range 49 {
				if err := c.Union(i, i+1); err != nil {
					return err
				}
			}
			if err := c.Join(func(int) {}); err != nil {
				return err
			}
			_, err := c.Find(49)
			return err
		}()
		if err != nil && !errors.Is(err, stop) {
			t.Fatalf("stopped at block %d: %v", from, err)
		}
	}
	if from < 20 {
		t.Errorf("only %d blocks are written and read", from)
	}
}

func BenchmarkComponents(b *testing.B) {
	const n = 1 << 20
	rng := rand.New(rand.NewPCG(25, 26))
	pairs := make([][2]int, 2*n)
	for i := range pairs {
		pairs[i] = [2]int{rng.IntN(n), rng.IntN(n)}
	}
	b.Run("memory", func(b *testing.B) {
		for b.Loop() {
			c := NewComponents(n)
			for _, p := range pairs {
				c.Union(p[0], p[1])
			}
		}
	})
	b.Run("disk", func(b *testing.B) {
		for b.Loop() {
			c := NewDiskComponents(n, spill.Options{FS: store.OS(), Dir: b.TempDir(), Bytes: 2 << 20})
			for _, p := range pairs {
				if err := c.Union(p[0], p[1]); err != nil {
					b.Fatal(err)
				}
			}
			if err := c.Join(func(int) {}); err != nil {
				b.Fatal(err)
			}
			if _, err := c.Find(n - 1); err != nil {
				b.Fatal(err)
			}
		}
	})
}
