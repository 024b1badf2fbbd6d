package tokenize

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"
)

// TestKeys compares keys of text inside a longer one with those of the text alone, for each length, and with those of
// texts that differ in zeros at the end alone.
func TestKeys(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	seen := map[any]string{}
	once := func(key any, piece string) {
		if other, ok := seen[key]; ok && other != piece {
			t.Fatalf("%q and %q have one key", piece, other)
		}
		seen[key] = piece
	}
	for range 20000 {
		text := make([]byte, 2*longKeyBytes)
		for i := range text {
			text[i] = byte(r.IntN(256) * r.IntN(2))
		}
		n, i := 1+r.IntN(longBytesMax), r.IntN(longKeyBytes)
		piece := string(text[i : i+n])
		if n <= wordBytesMax {
			key := keyOf(piece)
			once(key.long(), piece)
			if got := keyWithin(unsafe.Pointer(&text[i]), n); got != key {
				t.Fatalf("%q: %x, want %x", piece, got, key)
			}
			continue
		}
		key := longKeyOf(piece)
		once(key, piece)
		if got := longKeyWithin(string(text), i, n); got != key {
			t.Fatalf("%q: %x, want %x", piece, got, key)
		}
	}
	for n := range longBytesMax {
		piece := strings.Repeat("\x00", n+1)
		if n < wordBytesMax {
			once(keyOf(piece).long(), piece)
		} else {
			once(longKeyOf(piece), piece)
		}
	}
}

// TestPairTable compares with a map, for pairs that are there and for neighbours of them that are not.
func TestPairTable(t *testing.T) {
	tok, err := Encoding("r50k_base")
	if err != nil {
		t.Fatal(err)
	}
	type pair struct{ left, right int32 }
	want := map[pair]pairMerge{}
	for rank, m := range tok.spec.merges {
		want[pair{m.left, m.right}] = pairMerge{uint32(rank), m.id}
	}
	check := func(left, right int32) {
		m, ok := want[pair{left, right}]
		if !ok {
			m = pairMerge{rank: noRank}
		}
		if got := tok.pairs.get(left, right); got != m {
			t.Fatalf("%d, %d: %v, want %v", left, right, got, m)
		}
	}
	for p := range want {
		check(p.left, p.right)
		for d := range int32(16) {
			check(p.left, p.right+d)
			check(p.left+d, p.right)
			check(p.right, p.left+d)
		}
	}
	if tok.pairs.add(tok.spec.merges[0].left, tok.spec.merges[0].right, pairMerge{}) {
		t.Error("a pair was added twice")
	}
}
