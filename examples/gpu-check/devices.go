package main

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"bzdata/train/tensor"
	"bzdata/train/tensor/cuda"
)

// devices describes the machine and compiles the kernels anew, in a folder of its own.
func devices(_ context.Context, c *check) error {
	found := cuda.Inspect(nil)
	if err := found.Ready(); err != nil {
		return err
	}
	for _, card := range found.Cards {
		c.note("card %d: %s, compute capability %s, %d multiprocessors, %.1f GB", card.Ordinal, card.Name, card.Capability(),
			card.Processors, float64(card.MemoryBytes)/1e9)
	}
	c.note("driver %s (%s)", found.Driver.Version, found.Driver.Path)
	c.note("NVRTC %s (%s)", found.Compiler.Version, found.Compiler.Path)
	c.note("cuBLASLt %s (%s)", found.Products.Version, found.Products.Path)
	c.note("%s, %s/%s, %d threads", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
	dir := c.kernels
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "gpu-check-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	for _, again := range []bool{false, true} {
		if err := c.warm(dir, again); err != nil {
			return err
		}
	}
	return nil
}

// warm compiles the kernels that are not in the folder. Again, all must be there.
func (c *check) warm(cache string, again bool) error {
	d, err := cuda.New(cuda.Options{Precision: tensor.Half, Cache: cache})
	if err != nil {
		return err
	}
	compiled := 0
	took, err := clock(func() error {
		built, err := d.Warm()
		for _, b := range built {
			if !b.Cached {
				compiled++
				c.note("%s: %.1f s, %d bytes", b.File, b.Seconds, b.Bytes)
			}
		}
		return err
	})
	c.figure(fmt.Sprintf("kernels made ready, %d files compiled", compiled), took, seconds)
	if again {
		c.within("files of kernels that are compiled a second time", float64(compiled), 0)
	}
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}
