package network

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestPCG64 compares with numpy 2.4.6, numpy.random.default_rng(seed).bit_generator.random_raw.
func TestPCG64(t *testing.T) {
	for seed, want := range map[uint64][]uint64{
		42:        {0xc621fbcd16d92688, 0x705a5661a791ffc1, 0xdbcd12c26eda1624},
		1<<40 + 7: {0xd46e9e2034de21aa, 0x415badc99c087675},
	} {
		g := newPCG64(seed)
		for i, w := range want {
			if got := g.uint64(); got != w {
				t.Errorf("seed %d, output %d: %#x, numpy has %#x", seed, i, got, w)
			}
		}
	}
}

// TestInterleave compares 5,000 draws with numpy 2.4.6, Generator.choice(len(p), size=1000, p=p) five times.
func TestInterleave(t *testing.T) {
	for _, c := range []struct {
		seed        uint64
		weights     []float64
		first, hash string
	}{
		{42, []float64{.5, .3, .2}, "1021021100021200102110221000011200000001",
			"7236c1aaf15d643a6eaa77bcf72e500d85c7e9c1b39641c222b532ceebb2b28e"},
		{3071404823, []float64{.5, .5}, "0000100011110000101100011110010110000011",
			"36031e3273f425e7b1def3ece6e5bdb0b7a38014d56728904cf858ea3818195b"},
		{1<<40 + 7, []float64{.1, 0, .6, .3}, "3222320023202202220332222223232322333000",
			"0fc75fdbb74e129259d17e2a24800781c9fd43322d0f700b740eff53f653b0df"},
	} {
		order, err := Interleave(c.seed, c.weights)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for source := range order {
			if got.WriteString(strconv.Itoa(source)); got.Len() == 5000 {
				break
			}
		}
		sum := sha256.Sum256([]byte(got.String()))
		if got.String()[:40] != c.first || hex.EncodeToString(sum[:]) != c.hash {
			t.Errorf("seed %d: %s, numpy has %s", c.seed, got.String()[:40], c.first)
		}
	}
	for _, bad := range [][]float64{nil, {0.5}, {0.5, 0.6}, {-1, 2}} {
		if _, err := Interleave(1, bad); err == nil {
			t.Errorf("weights %v accepted", bad)
		}
	}
}

const vectorSeed = "b711eb173446ba3205b8faf412c25a4ede97c3255c4a7932571ad2f125b9d74e"

// mixRow is a row of a mix.
type mixRow struct {
	source int
	Row
}

// mixRows lists the rows of a mix of sources with these numbers of rows in their files.
func mixRows(t *testing.T, m Mix, fileRows ...[]int64) (out []mixRow) {
	t.Helper()
	m.Seed, m.Files = vectorSeed, nil
	for _, f := range fileRows {
		m.Files = append(m.Files, len(f))
	}
	var sources []iter.Seq[Row]
	for i, files := range fileRows {
		sources = append(sources, func(yield func(Row) bool) {
			for _, f := range m.NodeFiles(i) {
				for r := range files[f] {
					if !yield(Row{f, r}) {
						return
					}
				}
			}
		})
	}
	rows, err := MixRows(m, sources)
	if err != nil {
		t.Fatal(err)
	}
	for source, row := range rows {
		out = append(out, mixRow{source, row})
	}
	return out
}

// TestMixRows compares with a plain program in Python with numpy 2.4.6 that follows the iterables of datasets.
func TestMixRows(t *testing.T) {
	for _, c := range []struct {
		files           [2][]int64
		worldSize, rank int
		count           int
		hash            string
	}{
		{[2][]int64{{300, 300}, {500, 200, 100, 50}}, 2, 1, 57, "de5891da3f2e7f4d"},
		{[2][]int64{{300, 300, 10}, {500, 200}}, 10, 0, 11, "bdc3ec7ba5b552a8"},
		{[2][]int64{{30, 0, 30}, {500}}, 1, 0, 11, "89397e15614fba61"},
	} {
		m := Mix{Weights: []float64{0.6, 0.4}, Fraction: 0.1, WorldSize: c.worldSize, Rank: c.rank}
		rows := mixRows(t, m, c.files[:]...)
		h := sha256.New()
		for _, r := range rows {
			fmt.Fprintf(h, "%d,%d,%d;", r.source, r.File, r.Row.Row)
		}
		if got := hex.EncodeToString(h.Sum(nil))[:16]; got != c.hash || len(rows) != c.count {
			t.Errorf("%v: %d rows, %s; want %d, %s", c.files, len(rows), got, c.count, c.hash)
		}
	}
}

// TestMixOfOne checks that a mix of one source is what NodeRows lists.
func TestMixOfOne(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		worldSize := 1 + rng.IntN(4)
		files := make([]int64, 1+rng.IntN(8))
		for i := range files {
			files[i] = rng.Int64N(60)
		}
		rank, fraction := rng.IntN(worldSize), []float64{0.1, 0.5, 1}[rng.IntN(3)]
		selector, err := NewSelector(vectorSeed, fraction)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := NodeRows(files, worldSize, rank, selector)
		if err != nil {
			t.Fatal(err)
		}
		var got []Row
		for _, r := range mixRows(t, Mix{Weights: []float64{1}, Fraction: fraction, WorldSize: worldSize, Rank: rank}, files) {
			got = append(got, r.Row)
		}
		if want := slices.Collect(plain); !slices.Equal(got, want) {
			t.Errorf("%v, node %d of %d: %v, want %v", files, rank, worldSize, got, want)
		}
	}
}

func TestMixRowsEnds(t *testing.T) {
	half := Mix{Weights: []float64{0.5, 0.5}, Fraction: 1, WorldSize: 1}
	if rows := mixRows(t, half, []int64{1000}, []int64{0}); len(rows) > 30 {
		t.Errorf("%d rows although one source is empty", len(rows))
	}
	rows := mixRows(t, half, []int64{1000}, []int64{20})
	if last := rows[len(rows)-1]; last.source != 1 || last.Row.Row != 19 {
		t.Errorf("the mix ends with %+v, not with the last row of a source", last)
	}
	one := []float64{1}
	for _, m := range []Mix{
		{Weights: []float64{0.5, 0.4}, Files: []int{1, 1}, Seed: vectorSeed, WorldSize: 1},
		{Weights: []float64{0.5, 0.5}, Files: []int{1, 1}, Seed: "xyz", WorldSize: 1},
		{Weights: one, Files: []int{1}, Seed: vectorSeed, WorldSize: 2, Rank: 2},
		{Weights: one, Files: []int{1}, Seed: vectorSeed, WorldSize: 1, Fraction: 2},
		{Seed: vectorSeed, WorldSize: 1},
	} {
		if _, err := MixRows[Row](m, nil); err == nil {
			t.Errorf("%+v accepted", m)
		}
	}
}
