package network

import (
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const seedOfVector = "b711eb173446ba3205b8faf412c25a4ede97c3255c4a7932571ad2f125b9d74e"

// The vectors were computed with Python's hashlib from the networks' definitions.
func TestCombinedSeed(t *testing.T) {
	got := CombinedSeed(map[string]uint64{"5B": 17, "5A": 40213})
	if got != seedOfVector {
		t.Errorf("seed %s", got)
	}
	if n, err := InterleaveSeed(got); err != nil || n != 3071404823 {
		t.Errorf("interleave seed %d, %v", n, err)
	}
	if n, err := InterleaveSeed("00000000ff"); err != nil || n != 42 {
		t.Errorf("interleave seed of zeros %d, %v", n, err)
	}
	for _, bad := range []string{"", "1234567", "zzzzzzzz"} {
		if _, err := InterleaveSeed(bad); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func TestSelectionThreshold(t *testing.T) {
	for fraction, want := range map[float64]string{
		0.1: "11579208923731620185132316204464901002111835403029097412826955913908447084544",
		0:   "0",
		1:   new(big.Int).Lsh(big.NewInt(1), 256).String(),
	} {
		got, err := SelectionThreshold(fraction)
		if err != nil || got.String() != want {
			t.Errorf("threshold(%g) = %v, %v; want %s", fraction, got, err, want)
		}
	}
	if got, _ := SelectionThreshold(0.1); !strings.HasPrefix(got.Text(16), "1999999999999a") {
		t.Errorf("threshold(0.1) = %s", got.Text(16))
	}
	for _, bad := range []float64{-0.1, 1.1, nan()} {
		if _, err := SelectionThreshold(bad); err == nil {
			t.Errorf("%g accepted", bad)
		}
	}
}

func TestSelected(t *testing.T) {
	s, err := NewSelector(seedOfVector, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	var kept []int64
	count := 0
	threshold, _ := SelectionThreshold(0.1)
	for i := range int64(10000) {
		got := s.Selected(i)
		slow := H256Int("dataset_selection", strconv.FormatInt(i, 10), seedOfVector).Cmp(threshold) <= 0
		if got != slow {
			t.Fatalf("row %d: %t, by whole numbers %t", i, got, slow)
		}
		if got && i < 100 {
			kept = append(kept, i)
		}
		if got {
			count++
		}
	}
	if want := []int64{0, 2, 18, 23, 38, 40, 70, 76, 79, 80, 86, 97}; !slices.Equal(kept, want) || count != 991 {
		t.Errorf("kept %v and %d of 10000", kept, count)
	}
	for fraction, want := range map[float64]bool{0: false, 1: true} {
		if got, err := Selected(5, seedOfVector, fraction); err != nil || got != want {
			t.Errorf("fraction %g: %t, %v", fraction, got, err)
		}
	}
}

func TestNodeRows(t *testing.T) {
	collect := func(files []int64, world, rank int, s *Selector) []Row {
		t.Helper()
		seq, err := NodeRows(files, world, rank, s)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Collect(seq)
	}
	if got := collect([]int64{2, 1, 3, 1}, 2, 0, nil); !slices.Equal(got, []Row{{0, 0}, {0, 1}, {2, 0}, {2, 1}, {2, 2}}) {
		t.Errorf("by file: %v", got)
	}
	if got := collect([]int64{4, 3, 1}, 2, 1, nil); !slices.Equal(got, []Row{{0, 1}, {0, 3}, {1, 1}, {2, 0}}) {
		t.Errorf("by row: %v", got)
	}
	s, err := NewSelector(seedOfVector, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	// By file the selector counts the node's own rows, so that the second file's choice
	// equals what a single file of the same length would give.
	if got := collect([]int64{50, 20}, 2, 1, s); !slices.Equal(got, []Row{{1, 0}, {1, 2}, {1, 18}}) {
		t.Errorf("by file with selection: %v", got)
	}
	// Otherwise it counts all rows: kept are 0 2 18 | 23 38 40, of which rank 1 takes the second and fifth.
	if got := collect([]int64{20, 15, 6}, 2, 1, s); !slices.Equal(got, []Row{{0, 2}, {1, 3}, {2, 5}}) {
		t.Errorf("by row with selection: %v", got)
	}
	for range collect([]int64{5}, 1, 0, nil) {
		break
	}
	for _, bad := range [][2]int{{0, 0}, {2, 2}, {2, -1}} {
		if _, err := NodeRows(nil, bad[0], bad[1], nil); err == nil {
			t.Errorf("node %v accepted", bad)
		}
	}
}

func TestTokenWindow(t *testing.T) {
	if got := TokenWindow("hello world", 1124, 1024); got != 44 {
		t.Errorf("window starts at %d, want 44", got)
	}
	if got := TokenWindow("hello world", 1024, 1024); got != 0 {
		t.Errorf("a document that fits starts at %d", got)
	}
	head := strings.Repeat("é", 40*8)
	want := int(new(big.Int).Mod(H256Int("token_window", head), big.NewInt(993)).Int64())
	for _, tail := range []string{"", "x", "more text"} {
		if got := TokenWindow(head+tail, 1000, 8); got != want {
			t.Errorf("tail %q: window at %d, want %d", tail, got, want)
		}
	}
}
