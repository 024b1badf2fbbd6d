package dedup

import (
	"encoding/hex"
	"testing"
)

// TestHash128 has the digests of the reference implementation of XXH3.
func TestHash128(t *testing.T) {
	for text, want := range map[string]string{
		"":    "99aa06d3014798d86001c324468d497f",
		"abc": "06b05ab6733a618578af5f94892f3950",
	} {
		h := Hash128([]byte(text))
		if got := hex.EncodeToString(h[:]); got != want {
			t.Errorf("Hash128(%q) = %s, want %s", text, got, want)
		}
	}
}

// TestMix has the first outputs of SplitMix64 for seed 0.
func TestMix(t *testing.T) {
	want := []uint64{0xe220a8397b1dcdaf, 0x6e789e6aa1b965f4, 0x06c45d188009454f}
	for i, w := range want {
		if got := mix(uint64(i+1) * polynomialBase); got != w {
			t.Errorf("output %d is %#x, want %#x", i, got, w)
		}
	}
}
