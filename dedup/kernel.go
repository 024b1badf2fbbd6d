package dedup

import (
	"fmt"
	"slices"
)

// Kernel names an implementation of the inner loop of [Hasher.Signature].
type Kernel string

// The kernels. [Plain] runs everywhere.
const (
	AVX512 Kernel = "avx512"
	AVX2   Kernel = "avx2"
	Plain  Kernel = "plain"
)

// groupLanes is the unit in which permutations are padded, one 512-bit register of
// 32-bit lanes; blockLanesMax is the most lanes that a kernel takes in one call.
const (
	groupLanes    = 16
	blockLanesMax = 10 * groupLanes
)

// Kernels returns the kernels that this processor can run, fastest first.
func Kernels() []Kernel {
	return append(vectorKernels(), Plain)
}

// check says whether the kernel can be used here.
func (k Kernel) check() error {
	known := []Kernel{AVX512, AVX2, Plain}
	if !slices.Contains(known, k) {
		return fmt.Errorf("minhash: no kernel %q, choose one of %v", k, known)
	}
	if here := Kernels(); !slices.Contains(here, k) {
		return fmt.Errorf("minhash: this processor cannot run kernel %q, choose one of %v", k, here)
	}
	return nil
}

// blockLanes returns into how many lanes a signature of padded lanes is cut for one
// call: as few calls as the registers of the kernel allow, of near-equal size.
func (k Kernel) blockLanes(padded int) int {
	groups := padded / groupLanes
	calls := (groups + k.groupsMax() - 1) / k.groupsMax()
	return (groups + calls - 1) / calls * groupLanes
}

// groupsMax is the number of groups whose minima fit the registers of the kernel: with
// their factors in 32 registers, or without in 16.
func (k Kernel) groupsMax() int {
	if k == AVX2 {
		return 7
	}
	return blockLanesMax / groupLanes
}

// minima sets out[i] to the least mul[i]*h+add[i] over the low halves h of the
// shingles. All three have the same whole number of groups, at most groupsMax;
// there is at least one shingle.
func (k Kernel) minima(out []uint32, shingles []uint64, mul, add []uint32) {
	if k == Plain {
		minimaPlain(out, shingles, mul, add)
		return
	}
	minimaVector(k, out, shingles, mul, add)
}

// minimaPlain is what the other kernels are compared with.
func minimaPlain(out []uint32, shingles []uint64, mul, add []uint32) {
	for i := range out {
		out[i] = ^uint32(0)
	}
	add, out = add[:len(mul)], out[:len(mul)]
	for _, s := range shingles {
		h := uint32(s)
		for i, a := range mul {
			out[i] = min(out[i], a*h+add[i])
		}
	}
}
