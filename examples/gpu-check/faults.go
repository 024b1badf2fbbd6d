package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"bzdata/train/tensor"
	"bzdata/train/tensor/cuda"
)

// faults provokes what can go wrong; each must be said in one clear line.
func faults(_ context.Context, c *check) error {
	card, err := cuda.Find(0)
	if err != nil {
		return err
	}
	const bound = 256 << 20
	for _, f := range []struct {
		what             string
		bytesMax, wanted int64
	}{{"more memory than is allowed", bound, 2 * bound}, {"more memory than the card has", 0, card.MemoryBytes + 1<<30}} {
		if err := c.outOfMemory(f.what, f.bytesMax, f.wanted); err != nil {
			return err
		}
	}
	_, err = cuda.New(cuda.Options{Ordinal: 99})
	c.oneLine("a card that is not there", err, "no card 99")
	c.note("a card that is lost during a run cannot be provoked here; package cuda's tests do it with the stand-in")
	return c.missingLibraries()
}

// outOfMemory asks for bytes in one array.
func (c *check) outOfMemory(what string, bytesMax, wanted int64) error {
	d, err := cuda.New(cuda.Options{Precision: tensor.Half, MemoryBytesMax: bytesMax})
	if err != nil {
		return err
	}
	d.Free(d.Alloc(tensor.F32, 1000)) // what fits is given
	if err := d.Sync(); err != nil {
		return err
	}
	d.Alloc(tensor.BF16, int(wanted/2))
	c.oneLine(what, d.Err(), "out of memory")
	if err := d.Close(); err == nil {
		return fmt.Errorf("%s: closing the device does not tell of its fault", what)
	}
	return nil
}

// missingLibraries takes one library after the other away.
func (c *check) missingLibraries() error {
	found := cuda.Inspect(nil)
	dir, err := os.MkdirTemp("", "gpu-check-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, library := range []cuda.Found{found.Driver, found.Compiler, found.Products} {
		_, err := cuda.New(cuda.Options{Folders: []string{dir}})
		c.oneLine("without "+library.Library, err, library.Library)
		if err := os.Symlink(library.Path, filepath.Join(dir, filepath.Base(library.Path))); err != nil {
			return err
		}
	}
	return nil
}
