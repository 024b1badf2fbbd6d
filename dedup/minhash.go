package dedup

import (
	"fmt"
	"math"
)

// Params are the shape of a MinHash signature. Signatures and keys made with
// different parameters have nothing to do with each other.
type Params struct {
	Bands   int    // groups of rows; one shared group makes two documents candidates
	Rows    int    // minima in a band
	Shingle int    // words in a shingle
	Seed    uint64 // of the permutations
}

// permutationsMax bounds Bands*Rows. The largest published setting is 9,000
// (Penedo et al. 2023, RefinedWeb: 450 bands of 20 rows).
const permutationsMax = 1 << 16

// Validate says what is wrong with the parameters, if anything.
func (p Params) Validate() error {
	switch {
	case p.Bands < 1:
		return fmt.Errorf("minhash: bands is %d, must be at least 1", p.Bands)
	case p.Rows < 1:
		return fmt.Errorf("minhash: rows is %d, must be at least 1", p.Rows)
	case p.Shingle < 1:
		return fmt.Errorf("minhash: shingle is %d words, must be at least 1", p.Shingle)
	case p.Bands > permutationsMax/p.Rows:
		return fmt.Errorf("minhash: %d bands of %d rows need more than %d permutations, lower one",
			p.Bands, p.Rows, permutationsMax)
	}
	return nil
}

// Permutations returns the length of a signature, Bands*Rows.
func (p Params) Permutations() int { return p.Bands * p.Rows }

// Threshold returns (1/Bands)^(1/Rows), near the Jaccard similarity at which the curve
// of [Params.CandidateProbability] is steepest. It is a mark on that curve and no
// guarantee: at the threshold itself about 1-1/e of the pairs become candidates.
func (p Params) Threshold() float64 {
	return math.Pow(1/float64(p.Bands), 1/float64(p.Rows))
}

// CandidateProbability returns the probability 1-(1-jaccard^Rows)^Bands that two
// documents of this Jaccard similarity share a band.
func (p Params) CandidateProbability(jaccard float64) float64 {
	band := math.Pow(jaccard, float64(p.Rows))
	return -math.Expm1(float64(p.Bands) * math.Log1p(-band))
}

// Hasher makes signatures and band keys. It does not change after [NewHasher] and may
// be used by many goroutines at once.
type Hasher struct {
	params Params
	kernel Kernel
	mul    []uint32 // odd multipliers, padded to whole groups
	add    []uint32
}

// NewHasher returns a hasher that runs on kernel k, one of [Kernels]. Which kernel it
// is makes no difference to the results.
func NewHasher(p Params, k Kernel) (*Hasher, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if err := k.check(); err != nil {
		return nil, err
	}
	padded := (p.Permutations() + groupLanes - 1) / groupLanes * groupLanes
	h := &Hasher{params: p, kernel: k, mul: make([]uint32, padded), add: make([]uint32, padded)}
	stream := mix(p.Seed + polynomialBase)
	for i := range padded {
		r := mix(stream + uint64(i)*lengthStep)
		h.mul[i], h.add[i] = uint32(r>>32)|1, uint32(r)
	}
	return h, nil
}

// Params returns the parameters that the hasher was made with.
func (h *Hasher) Params() Params { return h.params }

// Signature appends to dst the Bands*Rows minima over the shingles, band by band, or
// nothing if there are no shingles. Order and repetition of shingles do not matter.
func (h *Hasher) Signature(dst []uint32, shingles []uint64) []uint32 {
	if len(shingles) == 0 {
		return dst
	}
	var minima [blockLanesMax]uint32
	block := h.kernel.blockLanes(len(h.mul))
	for from, total := 0, h.params.Permutations(); from < total; from += block {
		to := min(from+block, len(h.mul))
		h.kernel.minima(minima[:to-from], shingles, h.mul[from:to], h.add[from:to])
		dst = append(dst, minima[:min(to, total)-from]...)
	}
	return dst
}

// BandKeys appends to dst one key per band of a signature, or nothing if the signature
// is empty. The number of the band is part of its key, so that the keys of all bands
// can share one table.
func (h *Hasher) BandKeys(dst []uint64, signature []uint32) []uint64 {
	rows := h.params.Rows
	for band := 0; band*rows < len(signature); band++ {
		key := mix(h.params.Seed ^ uint64(band+1)*polynomialBase)
		for _, minimum := range signature[band*rows : (band+1)*rows] {
			key = mix(key + uint64(minimum)*lengthStep)
		}
		dst = append(dst, key)
	}
	return dst
}

// Agreement returns the share of equal minima of two signatures of one hasher: an
// unbiased estimate of the Jaccard similarity J with standard error
// sqrt(J*(1-J)/len(a)). It is 0 if either is empty.
func Agreement(a, b []uint32) float64 {
	if len(a) == 0 || len(b) == 0 {
		return 0
	}
	same := 0
	for i, minimum := range a {
		if minimum == b[i] {
			same++
		}
	}
	return float64(same) / float64(len(a))
}
