package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
)

func blockFile(t testing.TB, plain bool, blocks ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewBlockWriter(&b, plain)
	for _, block := range blocks {
		if err := w.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func readBlocks(data []byte) (blocks [][]byte, err error) {
	r := NewBlockReader(bytes.NewReader(data), int64(len(data)))
	for {
		b, err := r.Next()
		if err == io.EOF {
			return blocks, nil
		}
		if err != nil {
			return blocks, err
		}
		block, err := r.Read(b)
		if err != nil {
			return blocks, err
		}
		if len(block) != b.Bytes {
			return blocks, fmt.Errorf("a block of %d bytes has %d", b.Bytes, len(block))
		}
		blocks = append(blocks, block)
	}
}

func TestBlocksRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var blocks [][]byte
	for _, size := range []int{0, 1, 15, 16, 17, 1000, 300_000, 3 << 20} {
		random := make([]byte, size)
		for i := range random {
			random[i] = byte(rng.Uint32())
		}
		blocks = append(blocks, random, []byte(strings.Repeat("even text ", size/10)))
	}
	for _, plain := range []bool{false, true} {
		got, err := readBlocks(blockFile(t, plain, blocks...))
		if err != nil || len(got) != len(blocks) {
			t.Fatalf("%d blocks of %d, %v", len(got), len(blocks), err)
		}
		for i := range blocks {
			if !bytes.Equal(got[i], blocks[i]) {
				t.Errorf("block %d of %d bytes comes back as %d others", i, len(blocks[i]), len(got[i]))
			}
		}
	}
}

// TestDamagedBlocks flips every bit and cuts at every length.
func TestDamagedBlocks(t *testing.T) {
	for _, plain := range []bool{false, true} {
		data := blockFile(t, plain, []byte("first block, first block"), []byte("second"))
		for i := range 8 * len(data) {
			bad := bytes.Clone(data)
			bad[i/8] ^= 1 << (i % 8)
			if _, err := readBlocks(bad); err == nil {
				t.Errorf("bit %d flipped: no error", i)
			}
		}
		first := blockHeadBytes + storedBytes(data)
		for n := range data {
			_, err := readBlocks(data[:n])
			if whole := n == 0 || n == first; (err == nil) != whole {
				t.Errorf("cut after %d bytes: %v", n, err)
			}
		}
	}
}

// storedBytes is the length of what is stored of the block at the start of data.
func storedBytes(data []byte) int {
	return int(cmp.Or(binary.LittleEndian.Uint32(data[4:]), binary.LittleEndian.Uint32(data)))
}

func FuzzBlockReader(f *testing.F) {
	f.Add(blockFile(f, false, []byte("one"), nil, bytes.Repeat([]byte("ab"), 100)))
	f.Add(blockFile(f, true, []byte("one"), nil, bytes.Repeat([]byte("ab"), 100)))
	f.Add([]byte("no blocks"))
	f.Fuzz(func(t *testing.T, data []byte) {
		blocks, err := readBlocks(data)
		if err != nil {
			return
		}
		var at int
		for i, b := range blocks { // what is read without error is what the bytes say
			stored := storedBytes(data[at:])
			want, err := data[at+blockHeadBytes:][:stored], error(nil)
			if binary.LittleEndian.Uint32(data[at+4:]) > 0 {
				want, err = s2.Decode(nil, want)
			}
			if err != nil || !bytes.Equal(want, b) {
				t.Fatalf("block %d: %v", i, err)
			}
			at += blockHeadBytes + stored
		}
		if at != len(data) {
			t.Fatalf("%d bytes of %d were read", at, len(data))
		}
	})
}

func BenchmarkBlocks(b *testing.B) {
	var text []byte
	rng := rand.New(rand.NewPCG(1, 2))
	for len(text) < 256<<10 {
		text = fmt.Appendf(text, "problem %d has %d apples and %d pears. ", rng.IntN(1000), rng.IntN(100), rng.IntN(100))
	}
	data := blockFile(b, false, text)
	b.Run("write", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		w := NewBlockWriter(io.Discard, false)
		for b.Loop() {
			_ = w.Write(text)
		}
	})
	b.Run("read", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			_, _ = readBlocks(data)
		}
	})
}
