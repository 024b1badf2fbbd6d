package store

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
)

// zeros compresses so many zero bytes.
func zeros(t *testing.T, c Compression, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := NewCompressor(&b, c, EffortDefault)
	if err != nil {
		t.Fatal(err)
	}
	for chunk := make([]byte, 1<<20); n > 0; n -= len(chunk) {
		if _, err := z.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// drain reads a file to its end or first error.
func drain(t *testing.T, name string, data []byte) (n int64, err error) {
	t.Helper()
	fsys := NewCrashFS()
	if err := WriteBytes(fsys, name, data); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(fsys, name)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	n, err = io.Copy(io.Discard, struct{ io.Reader }{r})
	return n, err
}

// TestBombs reads files that expand a thousandfold and more, whole, of many members and of
// many frames: the end comes early, as a clear error, and takes little memory.
func TestBombs(t *testing.T) {
	for what, c := range map[string]struct {
		name string
		data []byte
	}{
		"gzip":              {"/b.gz", zeros(t, Gzip, 160<<20)},
		"gzip, many":        {"/m.gz", bytes.Repeat(zeros(t, Gzip, 1<<20), 160)},
		"zstd":              {"/b.zst", zeros(t, Zstd, 160<<20)},
		"zstd, many frames": {"/m.jsonl.zst", bytes.Repeat(zeros(t, Zstd, 1<<20), 4000)},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		n, err := drain(t, c.name, c.data)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), "decompression bomb") || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%s of %d bytes: %v", what, len(c.data), err)
		}
		if most := max(bombFreeBytes, int64(len(c.data))*bombExpansion) + 1<<20; n > most {
			t.Errorf("%s: %d bytes came out, at most %d are due", what, n, most)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 40<<20 {
			t.Errorf("%s took %d bytes of memory", what, took)
		}
	}
}

// TestNoBombs reads what expands much but is small, and what is large but expands little.
func TestNoBombs(t *testing.T) {
	if n, err := drain(t, "/small.gz", zeros(t, Gzip, 60<<20)); err != nil || n != 60<<20 {
		t.Errorf("60 MiB of zeros: %d, %v", n, err)
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.HuffmanOnly) // 8 bytes of one
	if err != nil {
		t.Fatal(err)
	}
	_, err = z.Write(make([]byte, 80<<20))
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	if n, err := drain(t, "/large.gz", b.Bytes()); err != nil || n != 80<<20 {
		t.Errorf("80 MiB of little expansion: %d, %v", n, err)
	}
}

// TestWindowBombs reads frames that ask for more window than is given (RFC 8878, section
// 3.1.1.1.2): an error, without the memory.
func TestWindowBombs(t *testing.T) {
	for log := 28; log <= 41; log++ {
		frame := append([]byte("\x28\xb5\x2f\xfd\x00"), byte(log-10)<<3)
		frame = append(frame, "\x0b\x00\x00\x00"...) // a last block: one byte, once
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := drain(t, "/w.zst", frame)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), "window") {
			t.Errorf("a window of 2^%d bytes: %v", log, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 40<<20 {
			t.Errorf("a window of 2^%d bytes took %d bytes of memory", log, took)
		}
	}
}
