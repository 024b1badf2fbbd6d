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

// Mix is a weighted mix of data sets as a validator's node reads it: sources are interleaved until the first
// one is at its end, rows pass the selector of the combined seed, and are then shared among WorldSize
// nodes. If the least number of files of a source is a multiple of WorldSize, the node reads files Rank,
// Rank+WorldSize, … of each source; otherwise every WorldSize-th row of those kept, from Rank. A single source is
// not interleaved: see [NodeRows].
// Source: Connito-AI/Connito 0c936fa, connito/shared/dataloader.py, over huggingface/datasets,
// RandomlyCyclingMultiSourcesExamplesIterable; later versions of Connito shuffle and skip rows besides.
type Mix struct {
	Weights         []float64 // of the sources
	Files           []int     // number of files of each source
	Seed            string    // combined, see [CombinedSeed]
	Fraction        float64   // of the rows that is selected
	WorldSize, Rank int
}

// byFile reports whether nodes share the sources by files.
func (m Mix) byFile() bool { return slices.Min(m.Files)%m.WorldSize == 0 }

// NodeFiles lists the files of a source that the node reads, by their index in sorted path order.
func (m Mix) NodeFiles(source int) []int {
	from, step := 0, 1
	if m.byFile() {
		from, step = m.Rank, m.WorldSize
	}
	var out []int
	for f := from; f < m.Files[source]; f += step {
		out = append(out, f)
	}
	return out
}

func (m Mix) order() (iter.Seq[int], error) {
	switch {
	case len(m.Files) == 0 || len(m.Files) != len(m.Weights):
		return nil, fmt.Errorf("a mix of %d sources with %d weights", len(m.Files), len(m.Weights))
	case m.WorldSize < 1 || m.Rank < 0 || m.Rank >= m.WorldSize:
		return nil, fmt.Errorf("rank %d of %d nodes does not exist", m.Rank, m.WorldSize)
	case len(m.Files) == 1:
		return func(yield func(int) bool) {
			for yield(0) {
			}
		}, nil
	}
	seed, err := InterleaveSeed(m.Seed)
	if err != nil {
		return nil, err
	}
	return Interleave(uint64(seed), m.Weights)
}

// MixRows lists the rows that a node gets of a mix, each with its source. Rows has those of [Mix.NodeFiles] of
// each source, in order, and is read no further than one row beyond what is asked for.
func MixRows[T any](m Mix, rows []iter.Seq[T]) (iter.Seq2[int, T], error) {
	order, err := m.order()
	if err != nil {
		return nil, err
	}
	selector, err := NewSelector(m.Seed, m.Fraction)
	if err != nil {
		return nil, err
	}
	return func(yield func(int, T) bool) {
		from := make([]*ahead[T], len(rows))
		for i := range rows {
			from[i] = newAhead(rows[i])
			defer from[i].stop()
		}
		seen, kept := int64(0), int64(0)
		for source := range order {
			row, ok := from[source].take()
			if !ok { // an empty source ends the mix when it is drawn
				return
			}
			if selector.Selected(seen) {
				mine := m.byFile() || kept%int64(m.WorldSize) == int64(m.Rank)
				kept++
				if mine && !yield(source, row) {
					return
				}
			}
			seen++
			if !from[source].more {
				return
			}
		}
	}, nil
}

// ahead reads a sequence one element ahead, to know whether there is another.
type ahead[T any] struct {
	row  T
	more bool
	next func() (T, bool)
	stop func()
}

func newAhead[T any](rows iter.Seq[T]) *ahead[T] {
	a := &ahead[T]{}
	a.next, a.stop = iter.Pull(rows)
	a.row, a.more = a.next()
	return a
}

func (a *ahead[T]) take() (row T, ok bool) {
	row, ok = a.row, a.more
	if ok {
		a.row, a.more = a.next()
	}
	return row, ok
}
