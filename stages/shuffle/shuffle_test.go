package shuffle

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"bzdata/pipeline/store"
)

// randomRecords have keys of which the given share begins with one byte, and some that
// are equal.
func randomRecords(seed uint64, n int, skew bool) []Record {
	rng := rand.New(rand.NewPCG(seed, 3))
	records := make([]Record, n)
	for i := range records {
		key := rng.Uint64()
		if skew {
			key = key>>16 | 0x5555<<48 // one bucket, and one within it
		}
		if rng.IntN(20) == 0 {
			key = 7 // many that are equal in all bytes
		}
		payload := fmt.Sprint(i, strings.Repeat("x", rng.IntN(300)))
		if rng.IntN(50) == 0 {
			payload = strings.Repeat("long", 5000)
		}
		records[i] = Record{key, uint32(rng.IntN(3)), uint64(i), []byte(payload)}
	}
	return records
}

// sortedPayloads is the obvious twin: everything in memory.
func sortedPayloads(records []Record) []string {
	records = slices.Clone(records)
	slices.SortFunc(records, compare)
	out := make([]string, len(records))
	for i, r := range records {
		out[i] = string(r.Payload)
	}
	return out
}

// readAll reads all parts at the same time.
func readAll(t *testing.T, s *Set, parts int) []string {
	t.Helper()
	got := make([][]string, parts)
	errs := make([]error, parts)
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() {
			errs[i] = s.Each(i, func(payload []byte) error {
				got[i] = append(got[i], string(payload))
				return nil
			})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for i, part := range got {
		if n := s.length; int64(len(part)) != int64(i+1)*n/int64(parts)-int64(i)*n/int64(parts) {
			t.Errorf("part %d of %d has %d of %d records", i, parts, len(part), n)
		}
	}
	return slices.Concat(got...)
}

func TestOrderIsTheSameForAnyMemory(t *testing.T) {
	ways := map[string]int{} // how many buckets are read how
	for _, n := range []int{0, 1, 1000} {
		for _, skew := range []bool{false, true} {
			records := randomRecords(uint64(n), n, skew)
			want := sortedPayloads(records)
			for _, opt := range []Options{
				{BufferBytes: 1 << 30, BucketBytes: 1 << 30}, {BufferBytes: 1, BucketBytes: 1 << 30},
				{BufferBytes: 1, BucketBytes: 9000}, {BufferBytes: 1 << 30, BucketBytes: 20_000},
			} {
				for _, parts := range []int{1, 11} {
					opt.FS, opt.Dir = store.OS(), t.TempDir()+"/scratch"
					s := New(opt)
					var wg sync.WaitGroup
					for w := range 4 {
						wg.Go(func() {
							for i := w; i < len(records); i += 4 {
								if err := s.Add(records[i]); err != nil {
									t.Error(err)
								}
							}
						})
					}
					wg.Wait()
					if count, err := s.Cut(parts); err != nil || count != int64(n) {
						t.Fatalf("%d records, %v", count, err)
					}
					for _, b := range s.leaves {
						ways[fmt.Sprintf("far %v, cut %v", b.far, len(b.name) > 2)] += int(b.count)
					}
					if got := readAll(t, s, parts); !slices.Equal(got, want) {
						t.Fatalf("%d records, skew %v, %+v, %d parts: another order", n, skew, opt, parts)
					}
					if left, _ := opt.FS.ReadDir(opt.Dir); len(left) > 0 {
						t.Errorf("%d files are left, %s among them", len(left), left[0].Name())
					}
				}
			}
		}
	}
	if len(ways) != 4 {
		t.Errorf("not every way of reading was taken: %v", ways)
	}
}

// TestFilesThatGoMissing damages what was spilled: the error names the file.
func TestFilesThatGoMissing(t *testing.T) {
	for _, damage := range []string{"cut", "removed", "cut far", "removed far"} {
		opt := Options{FS: store.OS(), Dir: t.TempDir(), BufferBytes: 1, BucketBytes: 1 << 30}
		damage, far := strings.CutSuffix(damage, " far")
		if far {
			opt.BucketBytes = 200_000
		}
		s := New(opt)
		for _, r := range randomRecords(1, 2000, true) {
			if err := s.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Cut(1); err != nil {
			t.Fatal(err)
		}
		name := s.buckets[0x55].path()
		if s.buckets[0x55].far != far {
			t.Fatalf("far is %v", !far)
		}
		err := opt.FS.Remove(name)
		if damage == "cut" {
			var f store.File
			if f, err = opt.FS.Create(name); err == nil {
				err = f.Close()
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Each(0, func([]byte) error { return nil }); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", damage, err)
		}
	}
}

// TestCutHoldsNoRecords checks that what went to files leaves memory, also where buckets are cut
// again: 32 MB of records, of which the budget has room for 1 MB.
func TestCutHoldsNoRecords(t *testing.T) {
	s := New(Options{FS: store.OS(), Dir: t.TempDir(), BufferBytes: 1 << 20, BucketBytes: 64 << 10})
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, rng, payload := heap(), rand.New(rand.NewPCG(1, 2)), make([]byte, 1<<10)
	for i := range 32 << 10 {
		if err := s.Add(Record{Key: rng.Uint64N(4)<<56 | rng.Uint64()>>8, Row: uint64(i), Payload: payload}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Cut(2); err != nil {
		t.Fatal(err)
	}
	if after := heap(); after > before+2<<20 {
		t.Errorf("the heap grew by %d bytes", after-before)
	}
	runtime.KeepAlive(s)
}
