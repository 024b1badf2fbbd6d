package store

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/parquet-go/parquet-go/compress/zstd"
)

// TestPageCodec compares the codec of pages with the library's, up to pages that are longer
// than the window.
func TestPageCodec(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 32))
	words := make([]string, 3000)
	for i := range words {
		words[i] = strconv.FormatUint(rng.Uint64()>>rng.IntN(50), 36) + " "
	}
	var text []byte
	for len(text) < 20<<20 {
		text = append(text, words[min(rng.IntN(3000), rng.IntN(3000))]...)
	}
	copy(text[18<<20:], text[11<<20:12<<20]) // a match within the window, and one beyond it
	copy(text[19<<20:], text[1<<20:2<<20])
	twin := &zstd.Codec{Level: zstd.SpeedDefault, Concurrency: 1}
	codec := &pageCodec{}
	for _, size := range []int{0, 1, 100, 300, 64 << 10, 128<<10 + 1, 1 << 20, 1<<20 + 7, 9 << 20, 20 << 20, 5, 1 << 20} {
		page := text[len(text)-size:]
		want, err := twin.Encode(nil, page)
		if err != nil {
			t.Fatal(err)
		}
		got, err := codec.Encode(make([]byte, 3), page)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("a page of %d bytes becomes %d bytes, not the library's %d, or other ones: %v", size, len(got), len(want), err)
		}
		if back, err := codec.Decode(nil, got); err != nil || !bytes.Equal(back, page) {
			t.Errorf("a page of %d bytes comes back as %d: %v", size, len(back), err)
		}
	}
}
