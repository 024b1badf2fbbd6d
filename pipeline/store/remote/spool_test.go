package remote

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"bzdata/pipeline/store"
)

// TestReadTakesWhatIsThere reads a file from start to end of which parts were read before.
func TestReadTakesWhatIsThere(t *testing.T) {
	data := randomBytes(5<<20 + 3)
	s := newFaultServer(t, data)
	counted := &countingTransport{RoundTripper: newTransport()}
	fsys := New(t.Context(), store.OS(), Options{Transport: counted, Scratch: t.TempDir()})
	defer fsys.Close()
	f, err := fsys.Open(s.URL + "/a.bin")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, at := range []int64{1 << 20, 3<<20 - 5, 5 << 20} {
		if _, err := f.ReadAt(make([]byte, 100), at); err != nil && err != io.EOF {
			t.Fatal(err)
		}
	}
	got, err := io.ReadAll(f)
	// The first byte comes a second time, from the question whether the file is there.
	if n := counted.reset(); err != nil || !bytes.Equal(got, data) || n > int64(len(data))+1 {
		t.Errorf("%d bytes of %d, %d were fetched, %v", len(got), len(data), n, err)
	}
}

// TestSpoolBehindTheStart has the spool begin in the middle of a block that is being read.
func TestSpoolBehindTheStart(t *testing.T) {
	data := randomBytes(3 << 20)
	s := newFaultServer(t, data)
	fsys, _ := newTestFS(t, nil)
	got, err := readName(fsys, s.URL+"/a.bin", func(f store.ReadFile) ([]byte, error) {
		if _, err := io.ReadFull(f, make([]byte, 100_000)); err != nil {
			return nil, err
		}
		if _, err := f.ReadAt(make([]byte, 100), f.Size()-100); err != nil {
			return nil, err
		}
		if _, err := io.Copy(io.Discard, f); err != nil {
			return nil, err
		}
		return readWays["ReadAt"](f)
	})
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v, equal: %v", len(got), err, bytes.Equal(got, data))
	}
}

// readOddly reads pieces of a file in some order, each as plain is, with Read and ReadAt. It
// returns early at the first error.
func readOddly(f store.ReadFile, plain []byte, rng *rand.Rand) error {
	var at int64 // of Read
	for range 1 + rng.IntN(6) {
		p := make([]byte, 1+rng.IntN(2*blockBytes))
		from, n, err := at, 0, error(nil)
		if rng.IntN(2) == 0 {
			n, err = io.ReadFull(f, p[:min(int64(len(p)), f.Size()-at)])
			at += int64(n)
		} else {
			from = rng.Int64N(f.Size())
			n, err = f.ReadAt(p, from)
		}
		if err != nil && err != io.EOF {
			return err
		}
		if !bytes.Equal(p[:n], plain[from:from+int64(n)]) {
			return fmt.Errorf("%d bytes at %d are others: %w", n, from, errDiffers)
		}
	}
	return nil
}

var errDiffers = errors.New("what was read is not what was served")

// TestOddReaders compares files that are read in any way with what the server has.
func TestOddReaders(t *testing.T) {
	data := randomBytes(4<<20 + 77)
	s := newFaultServer(t, data)
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		fsys, _ := newTestFS(t, nil)
		for range 5 {
			_, err := readName(fsys, s.URL+"/a.bin", func(f store.ReadFile) ([]byte, error) { return nil, readOddly(f, data, rng) })
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
	}
}
