package tensor

import (
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
)

// host runs kernels on the processor's cores, on slices. Results do not depend on the number
// of workers. A host is safe for concurrent use, except that two calls must not
// write to overlapping memory.
type host struct {
	kernels Kernels
	workers int
	serial  *host // the same kernels and buffers on the calling goroutine only
	arena   *arena
}

// newHost returns a host that runs a kernel set on at most the given number of
// goroutines per call; fewer than one counts as one.
func newHost(kernels Kernels, workers int) *host {
	buffers := &arena{free: map[int][][]float32{}}
	serial := &host{kernels: kernels, workers: 1, arena: buffers}
	serial.serial = serial
	if workers <= 1 {
		return serial
	}
	return &host{kernels: kernels, workers: workers, serial: serial, arena: buffers}
}

// Name says which kernel set runs: "cpu/avx512", "cpu/avx2" or "cpu/plain". Results
// are equal to the bit on devices of one name and one build.
func (d *host) Name() string { return "cpu/" + d.kernels.name }

// Workers returns the number of goroutines a call may use.
func (d *host) Workers() int { return d.workers }

// Serial returns the device that does all its work on the calling goroutine, for use
// inside [host.For].
func (d *host) Serial() *host { return d.serial }

// String describes the device for people.
func (d *host) String() string { return fmt.Sprintf("%s, %d workers", d.Name(), d.workers) }

// For calls do(i) once for each i in [0, n), from several goroutines. What the calls compute must not depend on
// their order. They begin in the order of i, so that one may wait for earlier ones.
func (d *host) For(n int, do func(i int)) {
	if d.workers == 1 || n <= 1 {
		for i := range n {
			do(i)
		}
		return
	}
	var next atomic.Int64
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			do(i)
		}
	}
	var group sync.WaitGroup
	for range min(d.workers, n) - 1 {
		group.Go(work)
	}
	work()
	group.Wait()
}

// ForBlocks calls do(from, to) for consecutive ranges of at most size items that
// cover [0, n), from several goroutines.
func (d *host) ForBlocks(n, size int, do func(from, to int)) {
	d.For((n+size-1)/size, func(i int) { do(i*size, min(n, (i+1)*size)) })
}

// Borrow returns a buffer of n values with unspecified content. It must be handed
// back with [host.Return], and is then used again.
func (d *host) Borrow(n int) []float32 { return d.arena.borrow(n) }

// Return hands back a buffer of [host.Borrow].
func (d *host) Return(buffer []float32) { d.arena.give(buffer) }

// arena keeps free buffers by capacity, a power of two, so that a training step
// allocates nothing after the first of its shape.
type arena struct {
	mu   sync.Mutex
	free map[int][][]float32
}

func (a *arena) borrow(n int) []float32 {
	class := 1 << bits.Len(uint(max(n, 64)-1))
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.free[class]
	if len(list) == 0 {
		return make([]float32, n, class)
	}
	a.free[class] = list[:len(list)-1]
	return list[len(list)-1][:n]
}

func (a *arena) give(buffer []float32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.free[cap(buffer)] = append(a.free[cap(buffer)], buffer)
}
