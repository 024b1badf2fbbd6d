package stages

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"bzdata/pipeline"
	"bzdata/tokenize"
)

func randomTokenized(rng *rand.Rand) (tokenized, *pipeline.Doc) {
	var x tokenized
	for i := range x.sum {
		x.sum[i] = byte(rng.Uint32())
	}
	name := "s:a file\xff:1"
	x.doc.DocumentInfo = tokenize.DocumentInfo{Source: rng.Uint32() >> rng.IntN(33), Tokens: rng.Uint32() >> rng.IntN(33),
		TextBytes: rng.Uint64() >> rng.IntN(65), ID: name[:rng.IntN(len(name)+1)]}
	x.doc.Start, x.doc.Tokens = rng.IntN(1000), []int32{}
	for range rng.IntN(20) {
		x.doc.Tokens = append(x.doc.Tokens, int32(rng.Uint32()>>1>>rng.IntN(32)))
	}
	x.differs = rng.IntN(2) == 0
	if rng.IntN(2) == 0 {
		x.doc.Masked = randomFlags(rng, len(x.doc.Tokens))
	}
	return x, &pipeline.Doc{Ref: pipeline.Ref{Shard: rng.Uint32(), Record: rng.Uint64()}}
}

func randomFlags(rng *rand.Rand, n int) []bool {
	out := make([]bool, n)
	for i := range out {
		out[i] = rng.IntN(3) == 0
	}
	return out
}

// TestSequenceRoundTrip reads sequences back as they were written, and none that was cut.
func TestSequenceRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var got tokenize.Sequence
	for range 300 {
		var want tokenize.Sequence
		n := 1 + rng.IntN(20)
		for range n {
			want.Tokens = append(want.Tokens, int32(rng.Uint32()>>1>>rng.IntN(32)))
		}
		want.Target = randomFlags(rng, n)
		for range rng.IntN(4) {
			x, _ := randomTokenized(rng)
			want.Segments = append(want.Segments, tokenize.Segment{Document: x.doc.DocumentInfo, Start: rng.IntN(9), End: rng.IntN(99), From: rng.IntN(999)})
		}
		b := appendSequence(nil, &want)
		if !cutSequence(b, n, &got) || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		for k := range b {
			if cutSequence(b[:k], n, &got) {
				t.Fatalf("%d of %d bytes were read", k, len(b))
			}
		}
		if cutSequence(append(b, 0), n, &got) {
			t.Fatal("a byte too many was read")
		}
		got = tokenize.Sequence{}
	}
}

// TestTokenizedRoundTrip reads documents back as they were written, and none that was cut.
func TestTokenizedRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	got := tokenized{doc: tokenize.Document{Tokens: []int32{}}}
	for range 300 {
		want, doc := randomTokenized(rng)
		b := want.append(nil, doc, rng.IntN(5))
		if err := got.cut(b); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
		for n := range b {
			if got.cut(b[:n]) == nil {
				t.Fatalf("%d of %d bytes were read without an error", n, len(b))
			}
		}
		if got.cut(append(b, 0)) == nil {
			t.Fatal("a byte too many was read without an error")
		}
	}
}
