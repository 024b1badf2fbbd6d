package network

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
)

// h256 is SHA-256 over each part in UTF-8 followed by a zero byte.
// Source: CognitoBlocks/BlockZero 907d2e4, mycelia/shared/helper.py, h256_int.
func h256(parts ...string) [sha256.Size]byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// H256Int hashes parts to a number below 2^256: SHA-256 over each part in UTF-8 followed
// by a zero byte, read big-endian.
func H256Int(parts ...string) *big.Int {
	sum := h256(parts...)
	return new(big.Int).SetBytes(sum[:])
}

// CombinedSeed joins the validators' seeds: SHA-256, in hexadecimal, of their decimal
// digits one after another in the byte order of the validators' hotkeys.
func CombinedSeed(seeds map[string]uint64) string {
	h := sha256.New()
	for _, hotkey := range slices.Sorted(maps.Keys(seeds)) {
		h.Write(strconv.AppendUint(nil, seeds[hotkey], 10))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// InterleaveSeed is the seed with which a validator interleaves data sets: the first eight
// hexadecimal digits of the combined seed, or 42 when they are zero.
// Source: Connito-AI/Connito 0c936fa, connito/shared/dataloader.py.
func InterleaveSeed(combined string) (uint32, error) {
	if len(combined) < 8 {
		return 0, fmt.Errorf("combined seed %q is shorter than 8 digits", combined)
	}
	n, err := strconv.ParseUint(combined[:8], 16, 32)
	if err != nil {
		return 0, fmt.Errorf("combined seed %q is not hexadecimal", combined)
	}
	if n == 0 {
		n = 42
	}
	return uint32(n), nil
}

// SelectionThreshold is the largest hash of a row that is selected for a fraction: the
// whole part of (2^256-1)·fraction in Python's arithmetic, which rounds 2^256-1 to the
// double 2^256 first. The fraction must lie in [0, 1].
func SelectionThreshold(fraction float64) (*big.Int, error) {
	if !(fraction >= 0 && fraction <= 1) {
		return nil, fmt.Errorf("fraction %g is not between 0 and 1", fraction)
	}
	n, _ := big.NewFloat(math.Ldexp(fraction, 256)).Int(nil)
	return n, nil
}

// Selector chooses the rows on which a validator scores.
type Selector struct {
	seed      string
	threshold [sha256.Size]byte
	all       bool
}

// NewSelector returns the choice that a combined seed makes of a fraction of the rows.
func NewSelector(seed string, fraction float64) (*Selector, error) {
	t, err := SelectionThreshold(fraction)
	if err != nil {
		return nil, err
	}
	s := &Selector{seed: seed, all: t.BitLen() > 256}
	if !s.all {
		t.FillBytes(s.threshold[:])
	}
	return s, nil
}

// Selected reports whether the row of that number, counted from 0, is chosen.
func (s *Selector) Selected(row int64) bool {
	if s.all {
		return true
	}
	sum := h256("dataset_selection", strconv.FormatInt(row, 10), s.seed)
	return bytes.Compare(sum[:], s.threshold[:]) <= 0
}

// Selected is the choice of one row, see [Selector].
func Selected(row int64, seed string, fraction float64) (bool, error) {
	s, err := NewSelector(seed, fraction)
	if err != nil {
		return false, err
	}
	return s.Selected(row), nil
}

// Row is a place in a data set of several files.
type Row struct {
	File int   // index in sorted path order
	Row  int64 // within the file, from 0
}

// NodeRows lists the rows that a node reads, in order, when rows pass the selector (nil
// passes all) and are then shared among worldSize nodes, as huggingface/datasets'
// split_dataset_by_node does it. If the number of files is a multiple of worldSize, the
// node reads files rank, rank+worldSize, … whole, and the selector counts the node's own
// rows from 0. Otherwise the selector counts over all rows and the node takes every
// worldSize-th of those kept, from offset rank.
func NodeRows(fileRows []int64, worldSize, rank int, s *Selector) (iter.Seq[Row], error) {
	if worldSize < 1 || rank < 0 || rank >= worldSize {
		return nil, fmt.Errorf("rank %d of %d nodes does not exist", rank, worldSize)
	}
	byFile := len(fileRows)%worldSize == 0
	return func(yield func(Row) bool) {
		seen, kept := int64(0), int64(0)
		for file, rows := range fileRows {
			if byFile && file%worldSize != rank {
				continue
			}
			for row := range rows {
				pass := s == nil || s.Selected(seen)
				seen++
				if !pass {
					continue
				}
				mine := byFile || kept%int64(worldSize) == int64(rank)
				kept++
				if mine && !yield(Row{File: file, Row: row}) {
					return
				}
			}
		}
	}, nil
}

// windowCharsPerToken bounds the text that decides a window.
const windowCharsPerToken = 40

// TokenWindow returns where the window of sequenceLength tokens starts in a document of
// the given number of tokens: 0 for a document that fits, else a place that the first
// 40·sequenceLength code points of its text decide.
// Source: Connito-AI/Connito, connito/shared/dataloader.py, versions after 0c936fa.
func TokenWindow(text string, tokens, sequenceLength int) int {
	if tokens <= sequenceLength {
		return 0
	}
	limit := windowCharsPerToken * sequenceLength
	for i := range text {
		if limit == 0 {
			text = text[:i]
			break
		}
		limit--
	}
	places := big.NewInt(int64(tokens-sequenceLength) + 1)
	return int(new(big.Int).Mod(H256Int("token_window", text), places).Int64())
}
