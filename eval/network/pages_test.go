package network

import (
	"math/big"
	"slices"
	"testing"
)

// seedOf9 is the SHA-256 of "9".
const seedOf9 = "19581e27de7ced00ff1ce50b2047e7a567c76b1cbaebabe5ef03f7c3017bb5b7"

func pageSeed(t *testing.T) *big.Int {
	t.Helper()
	n, err := PageSeed(seedOf9)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestMersenne has numbers of CPython 3's random.
func TestMersenne(t *testing.T) {
	m := newMersenne(big.NewInt(0))
	var got []uint64
	for range 6 {
		got = append(got, m.below(50))
	}
	if want := []uint64{24, 48, 26, 2, 16, 32}; !slices.Equal(got, want) {
		t.Errorf("random.seed(0): %d, want %d", got, want)
	}
	if got, want := m.bits(40), uint64(444468675045); got != want {
		t.Errorf("getrandbits(40) is %d, want %d", got, want)
	}
	order := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	ShuffleBatches(pageSeed(t), len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	if want := []int{6, 0, 7, 11, 9, 10, 5, 1, 3, 8, 4, 2}; !slices.Equal(order, want) {
		t.Errorf("shuffled: %d, want %d", order, want)
	}
}

// TestDrawPages has what the same draws of the validators' code give in CPython 3.
func TestDrawPages(t *testing.T) {
	for _, c := range []struct {
		source Source
		rows   []int64
		want   []Page
	}{
		{Source{Pages: 2, RowsMax: 8242000}, nil, []Page{{0, 1199198}, {0, 2148496}}},
		{Source{Pages: 4, RowsMax: 5451114734}, nil, []Page{{0, 613989307}, {0, 877735174}, {0, 2129498912}, {0, 3354418718}}},
		{Source{Pages: 8}, []int64{1000, 163, 99999}, []Page{{1, 109}, {2, 81359}, {0, 109}, {2, 86509}, {2, 88759}, {1, 59}, {2, 1659},
			{0, 759}}},
		{Source{Pages: 8}, []int64{163}, []Page{{0, 109}, {0, 9}, {0, 59}}}, // there are no more
	} {
		got, err := c.source.DrawPages(pageSeed(t), c.rows)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, %v, want %v", c.source, got, err, c.want)
		}
	}
	if _, err := (Source{Pages: 1}).DrawPages(pageSeed(t), []int64{50}); err == nil {
		t.Error("50 rows from row 9 are a page")
	}
	if _, err := (Source{Pages: 1}).DrawPages(pageSeed(t), nil); err == nil {
		t.Error("no configuration has a page")
	}
	if _, err := PageSeed("xyz"); err == nil {
		t.Error("xyz is a seed")
	}
}

// TestPagedProfile checks the pages of Subnet 9's validators.
func TestPagedProfile(t *testing.T) {
	p, err := Load("sn9")
	if err != nil {
		t.Fatal(err)
	}
	pages, weight := 0, 0.0
	for _, s := range p.Evaluate.Sources {
		pages, weight = pages+s.Pages, weight+s.Weight
	}
	if !p.Evaluate.Paged() || pages != 74 || weight < 0.9999 || weight > 1.0001 {
		t.Errorf("%d pages, weights of %g", pages, weight)
	}
	if c, err := Load("connito"); err != nil || c.Evaluate.Paged() {
		t.Errorf("connito reads pages, %v", err)
	}
}
