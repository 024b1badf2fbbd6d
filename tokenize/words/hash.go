package words

import (
	"encoding/binary"
	"math/bits"
)

// Constants of [Hash]: odd numbers with about as many ones as zeros, from the published
// secret of wyhash. Stored indexes depend on them.
const (
	hashSeed  = 0xa0761d6478bd642f
	hashChunk = 0xe7037ed1a0b428db
	hashTotal = 0x8ebc6af09c88c6e3
	hashLen   = 0x589965cc75374cc3
)

// Hash returns a 64-bit hash of text's bytes as they stand, without lower-casing.
//
// The bytes are read as little-endian 64-bit chunks, the last one padded with zeros:
// h = fold(h xor chunk, c1) from a fixed seed, then fold(h xor length*c3, c2), where fold is
// the upper half of the 128-bit product xor its lower half, as in wyhash. It is meant for
// short keys in tables and shingles; it is no defence against chosen collisions.
func Hash[T Text](text T) uint64 {
	b := bytesOf(view(text))
	h, n := uint64(hashSeed), len(b)
	for ; len(b) >= 8; b = b[8:] {
		h = fold(h^binary.LittleEndian.Uint64(b), hashChunk)
	}
	if len(b) > 0 {
		h = fold(h^shortChunk(b), hashChunk)
	}
	return finish(h, n)
}

// shortChunk returns the one to seven bytes of b as a little-endian number. The loads overlap
// in bytes that both hold.
func shortChunk(b []byte) uint64 {
	switch n := len(b); {
	case n >= 4:
		first, last := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[n-4:])
		return uint64(first) | uint64(last)<<(8*(n-4)&63)
	case n >= 2:
		return uint64(binary.LittleEndian.Uint16(b)) | uint64(b[n-1])<<(8*(n-1)&63)
	}
	return uint64(b[0])
}

// fold multiplies to 128 bits and returns the two halves xored.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// finish ends the hash of n bytes whose chunks have been folded into h.
func finish(h uint64, n int) uint64 { return fold(h^uint64(n)*hashLen, hashTotal) }

// asciiHash returns [Hash] of the lower-cased word text[start:end], all of whose bytes are
// ASCII letters and digits: for those, setting bit 5 of each byte is lower-casing.
func asciiHash(text []byte, start, end int) uint64 {
	if n := end - start; n <= 8 && end >= 8 {
		return finish(fold(hashSeed^lastChunk(text, end, n), hashChunk), n)
	}
	return asciiHashAny(text, start, end)
}

// bit5 is the bit that tells lower-case ASCII letters from upper-case ones, in each byte.
const bit5 = 0x2020202020202020

// lastChunk returns the n bytes that end at text[end], 1 to 8, lower-cased: the upper ones of
// the eight bytes before end, which text must have.
func lastChunk(text []byte, end, n int) uint64 {
	return (binary.LittleEndian.Uint64(text[end-8:]) | bit5) >> ((64 - 8*n) & 63)
}

// asciiHashAny is asciiHash for words of any length anywhere.
func asciiHashAny(text []byte, start, end int) uint64 {
	h, n := uint64(hashSeed), end-start
	for ; end-start > 8; start += 8 {
		h = fold(h^(binary.LittleEndian.Uint64(text[start:])|bit5), hashChunk)
	}
	var last uint64
	if end >= 8 {
		last = lastChunk(text, end, end-start)
	} else {
		for i, c := range text[start:end] {
			last |= uint64(c|0x20) << (8 * i)
		}
	}
	return finish(fold(h^last, hashChunk), n)
}
