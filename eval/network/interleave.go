package network

import (
	"fmt"
	"iter"
	"math"
	"math/bits"
	"slices"
)

// pcg64 is numpy's default generator: PCG XSL RR 128/64 (O'Neill 2014), seeded by SeedSequence. Go's own PCG is
// another one.
type pcg64 struct{ hi, lo, incHi, incLo uint64 }

// newPCG64 is numpy.random.default_rng(seed), numpy/random/bit_generator.pyx and _pcg64.pyx.
func newPCG64(seed uint64) *pcg64 {
	s := seedSequence(seed)
	g := &pcg64{incHi: s[2]<<1 | s[3]>>63, incLo: s[3]<<1 | 1}
	g.step()
	var carry uint64
	g.lo, carry = bits.Add64(g.lo, s[1], 0)
	g.hi, _ = bits.Add64(g.hi, s[0], carry)
	g.step()
	return g
}

// step is state = state·multiplier + increment, modulo 2^128.
func (g *pcg64) step() {
	const multiplierHi, multiplierLo = 2549297995355413924, 4865540595714422341
	hi, lo := bits.Mul64(g.lo, multiplierLo)
	hi += g.hi*multiplierLo + g.lo*multiplierHi
	var carry uint64
	g.lo, carry = bits.Add64(lo, g.incLo, 0)
	g.hi, _ = bits.Add64(hi, g.incHi, carry)
}

// uint64 is the next output.
func (g *pcg64) uint64() uint64 {
	g.step()
	return bits.RotateLeft64(g.hi^g.lo, -int(g.hi>>58))
}

// float64 is the next number of [0, 1), with 53 bits.
func (g *pcg64) float64() float64 { return float64(g.uint64()>>11) * 0x1p-53 }

// seedSequence is numpy's SeedSequence(seed).generate_state(4, uint64).
func seedSequence(seed uint64) (state [4]uint64) {
	const initA, multA, initB, multB = 0x43b0d7e5, 0x931e8875, 0x8b51f9dd, 0x58f38ded
	const mixL, mixR = 0xca01f9dd, 0x4973f715
	constant := uint32(initA)
	hash := func(v uint32) uint32 {
		v ^= constant
		constant *= multA
		v *= constant
		return v ^ v>>16
	}
	var pool [4]uint32
	for i := range pool {
		v := uint32(0)
		if i < 2 {
			v = uint32(seed >> (32 * i))
		}
		pool[i] = hash(v)
	}
	for from := range pool {
		for to := range pool {
			if from != to {
				v := mixL*pool[to] - mixR*hash(pool[from])
				pool[to] = v ^ v>>16
			}
		}
	}
	constant = initB
	for i := range 8 {
		v := pool[i%4] ^ constant
		constant *= multB
		v *= constant
		v ^= v >> 16
		state[i/2] |= uint64(v) << (32 * (i % 2))
	}
	return state
}

// Interleave is the endless order in which sources of the given weights are drawn from: that of
// interleave_datasets(probabilities, seed) of huggingface/datasets, which is numpy's Generator.choice. Weights
// must sum to 1, as there.
func Interleave(seed uint64, weights []float64) (iter.Seq[int], error) {
	sum, cdf := 0.0, make([]float64, len(weights))
	for i, w := range weights {
		if !(w >= 0) {
			return nil, fmt.Errorf("weight %d is %v; it must be 0 or more", i, w)
		}
		sum += w
		cdf[i] = sum
	}
	if len(weights) == 0 || math.Abs(sum-1) > 1e-8 {
		return nil, fmt.Errorf("the weights sum to %v; they must sum to 1", sum)
	}
	for i := range cdf {
		cdf[i] /= sum
	}
	return func(yield func(int) bool) {
		for g := newPCG64(seed); ; {
			u := g.float64()
			// The first source whose cumulated weight is above u: searchsorted(side="right").
			at, _ := slices.BinarySearchFunc(cdf, u, func(c, u float64) int {
				if c > u {
					return 1
				}
				return -1
			})
			if !yield(min(at, len(cdf)-1)) {
				return
			}
		}
	}, nil
}

// MixSource is a data set of a weighted mix.
type MixSource struct {
	FileRows []int64 // rows of each file, in sorted path order
	Weight   float64
}

// MixRow is a row of a mix.
type MixRow struct {
	Source int
	Row
}

// MixRows lists the rows that a node reads of a weighted mix, in order: sources are interleaved until the first
// one is at its end, rows pass the selector of the combined seed, and are then shared among worldSize
// nodes. If the least number of files of a source is a multiple of worldSize, the node reads files rank,
// rank+worldSize, … of each source; otherwise every worldSize-th row of those kept, from rank. A single source is
// not interleaved: see [NodeRows].
// Source: Connito-AI/Connito 0c936fa, connito/shared/dataloader.py, over huggingface/datasets,
// RandomlyCyclingMultiSourcesExamplesIterable; later versions of Connito shuffle and skip rows besides.
func MixRows(sources []MixSource, combined string, fraction float64, worldSize, rank int) (iter.Seq[MixRow], error) {
	if worldSize < 1 || rank < 0 || rank >= worldSize {
		return nil, fmt.Errorf("rank %d of %d nodes does not exist", rank, worldSize)
	}
	seed, err := InterleaveSeed(combined)
	if err != nil {
		return nil, err
	}
	selector, err := NewSelector(combined, fraction)
	if err != nil {
		return nil, err
	}
	order, byFile, err := mixOrder(sources, uint64(seed), worldSize)
	if err != nil {
		return nil, err
	}
	readers := func() []*rowReader {
		var out []*rowReader
		for _, s := range sources {
			r := &rowReader{rows: s.FileRows, step: 1}
			if byFile {
				r.file, r.step = rank, worldSize
			}
			out = append(out, r)
		}
		return out
	}
	return func(yield func(MixRow) bool) {
		from, seen, kept := readers(), int64(0), int64(0)
		for source := range order {
			row, ok := from[source].next()
			if !ok { // an empty source ends the mix when it is drawn
				return
			}
			pass := selector.Selected(seen)
			seen++
			if pass {
				mine := byFile || kept%int64(worldSize) == int64(rank)
				kept++
				if mine && !yield(MixRow{source, row}) {
					return
				}
			}
			if !from[source].more() {
				return
			}
		}
	}, nil
}

// mixOrder is the order of sources, and whether nodes share them by file.
func mixOrder(sources []MixSource, seed uint64, worldSize int) (order iter.Seq[int], byFile bool, err error) {
	files, weights := math.MaxInt, make([]float64, len(sources))
	for i, s := range sources {
		files, weights[i] = min(files, len(s.FileRows)), s.Weight
	}
	if len(sources) == 1 {
		order = func(yield func(int) bool) {
			for yield(0) {
			}
		}
		return order, files%worldSize == 0, nil
	}
	order, err = Interleave(seed, weights)
	return order, files%worldSize == 0, err
}

// rowReader goes through the rows of files file, file+step, ….
type rowReader struct {
	rows       []int64
	file, step int
	row        int64
}

// more reports whether there is another row.
func (r *rowReader) more() bool {
	for r.file < len(r.rows) && r.row >= r.rows[r.file] {
		r.file, r.row = r.file+r.step, 0
	}
	return r.file < len(r.rows)
}

func (r *rowReader) next() (Row, bool) {
	if !r.more() {
		return Row{}, false
	}
	r.row++
	return Row{r.file, r.row - 1}, true
}
