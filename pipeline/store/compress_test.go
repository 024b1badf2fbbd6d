package store

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// compressedWith writes data in pieces of the given size.
func compressedWith(t *testing.T, effort Effort, data []byte, piece int) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := NewCompressor(&b, Zstd, effort)
	if err != nil {
		t.Fatal(err)
	}
	for rest := data; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
		if _, err := z.Write(rest[:min(piece, len(rest))]); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(z.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write([]byte("late")); err == nil {
		t.Error("a closed stream takes data")
	}
	return b.Bytes()
}

// TestUsedEncodersGiveTheSameBytes compares encoders that have seen other data with new
// ones.
func TestUsedEncodersGiveTheSameBytes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	text := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = "the quick brown fox \n"[rng.IntN(21)]
			if i > 2000 && rng.IntN(50) == 0 {
				copy(b[i:min(n, i+200)], b[i-2000:])
			}
		}
		return b
	}
	for _, effort := range []Effort{EffortDefault, EffortFastest} {
		for _, n := range []int{0, 1, 100, 1 << 17, 1<<17 + 1, 9 << 20, 3000} {
			data := text(n)
			for zstdEncoders[effort].Get() != nil { // so that the first is new
			}
			want := compressedWith(t, effort, data, 1<<16)
			for range 3 {
				compressedWith(t, effort, text(rng.IntN(1<<20)), 4000)
				if got := compressedWith(t, effort, data, 1<<16); !bytes.Equal(got, want) {
					t.Fatalf("effort %d, %d bytes: a used encoder gives other bytes", effort, n)
				}
			}
			d, err := zstd.NewReader(bytes.NewReader(want))
			if err != nil {
				t.Fatal(err)
			}
			back, err := io.ReadAll(d)
			if err != nil || !bytes.Equal(back, data) {
				t.Fatalf("effort %d, %d bytes: reading back gives %d bytes, %v", effort, n, len(back), err)
			}
			d.Close()
		}
	}
}
