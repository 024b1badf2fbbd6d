package tensor

import (
	"fmt"
	"slices"
	"strings"
)

// Precision is how a device keeps weights, activations and the optimizer's state.
type Precision string

const (
	// Single keeps everything in F32.
	Single Precision = "f32"
	// Half keeps weights and activations in BF16. A trainable weight has 16 more bits, with which it is exactly a
	// master in F32 ([Weight.Low]). Gradients and moments are F32.
	Half Precision = "bf16"
	// HalfAdam8 is Half with moments of 8 bits, in blocks of [MomentBlock] values with a scale each (Dettmers et al. 2022,
	// arXiv 2110.02861).
	HalfAdam8 Precision = "bf16-adam8"
	// HalfHost is Half with moments in the host's memory, which the card reads and writes in each update.
	HalfHost Precision = "bf16-host"
)

// MomentBlock is how many moments of 8 bits share a scale.
const MomentBlock = 256

// Precisions lists them, the one with the most exact state first among those that take less and less of a card's
// memory.
func Precisions() []Precision { return []Precision{Single, Half, HalfAdam8, HalfHost} }

// ParsePrecision checks a precision's name.
func ParsePrecision(name string) (Precision, error) {
	if p := Precision(name); slices.Contains(Precisions(), p) {
		return p, nil
	}
	var names []string
	for _, p := range Precisions() {
		names = append(names, string(p))
	}
	return "", fmt.Errorf("precision %q is not known; choose one of %s", name, strings.Join(names, ", "))
}

// Type is that of weights and activations.
func (p Precision) Type() Type {
	if p == Single {
		return F32
	}
	return BF16
}

// MomentBytes is the memory of AdamW's two moments of n values, and whether it is the host's.
func (p Precision) MomentBytes(n int) (bytes int, host bool) {
	if p == HalfAdam8 {
		return 2 * ((n + MomentBlock - 1) / MomentBlock) * (MomentBlock + 4), false // whole blocks, and a scale for each
	}
	return 2 * 4 * n, p == HalfHost
}
