package dedup

import "github.com/zeebo/xxh3"

// Hash128 returns the 128-bit XXH3 hash of text in canonical (big-endian) order. Among
// n documents two different ones share a hash with probability about n*n/2^129, 1.5e-21
// at a thousand million. XXH3 is no defence against texts made to collide.
func Hash128(text []byte) [16]byte {
	return xxh3.Hash128(text).Bytes()
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood 2014, with Stafford's
// constants "Mix13"): a permutation of the 64-bit words.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Spread maps numbers to numbers, each to another one, so that close ones are far apart.
func Spread(n uint64) uint64 { return mix(n + polynomialBase) }
