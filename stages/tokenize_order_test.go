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
	return x, &pipeline.Doc{Ref: pipeline.Ref{Shard: rng.Uint32(), Record: rng.Uint64()}}
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
