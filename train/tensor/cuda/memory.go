package cuda

import (
	"errors"
	"fmt"
	"unsafe"

	"bzdata/train/tensor"
)

// arena hands out the card's memory and keeps what is given back, by size, so that a training step asks the driver for
// nothing after the first of its shape. All work is in one stream, so a block may be given back, and lent again, while
// work that uses it is still queued.
type arena struct {
	driver   *driver
	bytesMax int64 // of used and free together; 0 does not bound it
	sync     func() error

	free       map[int64][]uint64 // addresses by size
	sizes      map[uint64]int64   // of blocks in use, by address
	together   map[uint64]runOf   // of blocks that the driver gave together, by address
	used, kept int64              // bytes in use and free
	peakUsed   int64
	peak       int64 // of used and free together
}

// runOf is what a block is a part of: so many blocks of one size from an address on.
type runOf struct {
	first  uint64
	blocks int
}

// Memory is the state of a device's memory, in bytes.
type Memory struct {
	Used     int64 // by arrays
	Kept     int64 // by no array, but not given back to the driver
	PeakUsed int64
	Peak     int64 // of Used and Kept together
	CardFree int64 // as the driver says
	Card     int64
}

// blockBytes is the granularity of blocks.
const blockBytes = tensor.BlockBytes

// exact is the size of a block that is kept for long, class that of one that is lent.
func exact(bytes int) int64 { return tensor.KeptBytes(bytes) }
func class(bytes int) int64 { return tensor.LentBytes(bytes) }

func newArena(v *driver, bytesMax int64, sync func() error) arena {
	return arena{driver: v, bytesMax: bytesMax, sync: sync, free: map[int64][]uint64{}, sizes: map[uint64]int64{},
		together: map[uint64]runOf{}}
}

// take returns a block of a size.
func (a *arena) take(size int64) (uint64, error) {
	if list := a.free[size]; len(list) > 0 {
		addr := list[len(list)-1]
		a.free[size] = list[:len(list)-1]
		a.kept -= size
		a.hold(addr, size)
		return addr, nil
	}
	addr, err := a.allocate(size)
	if err != nil {
		return 0, err
	}
	a.hold(addr, size)
	return addr, nil
}

// hold books a block as used.
func (a *arena) hold(addr uint64, size int64) {
	a.sizes[addr] = size
	a.used += size
	a.peakUsed, a.peak = max(a.peakUsed, a.used), max(a.peak, a.used+a.kept)
}

// allocate asks the driver for a block, or for several of its size that lose less of their pages, a second time after free
// blocks went back to it.
func (a *arena) allocate(size int64) (uint64, error) {
	if n := tensor.BlocksTogether(size); n > 1 {
		if first, err := a.ask(int64(n) * size); err == nil || !isOutOfMemory(err) {
			if err == nil {
				a.cut(first, size, n)
			}
			return first, err
		}
	}
	addr, err := a.ask(size)
	if err == nil || a.kept == 0 || !isOutOfMemory(err) {
		return addr, err
	}
	if err := a.trim(); err != nil {
		return 0, err
	}
	return a.ask(size)
}

// cut books n blocks of a size that the driver gave together: all but the first are free.
func (a *arena) cut(first uint64, size int64, n int) {
	for i := range n {
		addr := first + uint64(i)*uint64(size)
		a.together[addr] = runOf{first, n}
		if i > 0 {
			a.free[size] = append(a.free[size], addr)
			a.kept += size
		}
	}
}

// ask takes memory from the driver, or says what it would take.
func (a *arena) ask(size int64) (uint64, error) {
	if a.bytesMax > 0 && a.used+a.kept+size > a.bytesMax {
		return 0, &memoryError{asked: size, used: a.used, free: a.bytesMax - a.used, of: a.bytesMax, bound: true}
	}
	var addr uint64
	code := a.driver.alloc.call(uintptr(unsafe.Pointer(&addr)), uintptr(size))
	err := a.driver.check(a.driver.alloc, code)
	if code == cudaOutOfMemory {
		free, total, infoErr := a.driver.memory()
		if infoErr != nil {
			return 0, errors.Join(err, infoErr)
		}
		err = &memoryError{asked: size, used: a.used, free: free, of: total}
	}
	return addr, err
}

// memoryError says that the card's memory does not suffice.
type memoryError struct {
	asked, used, free, of int64
	bound                 bool // by Options.MemoryBytesMax, not by the card
}

func (e *memoryError) Error() string {
	what := "the card's"
	if e.bound {
		what = "the allowed"
	}
	return fmt.Sprintf("out of memory: %s asked for, %s in use by this run, %s of %s %s left; use shorter or fewer sequences "+
		"in a step, train fewer tensors, or end other programs on the card", bytesText(e.asked), bytesText(e.used),
		bytesText(e.free), what, bytesText(e.of))
}

func isOutOfMemory(err error) bool {
	var e *memoryError
	return errors.As(err, &e)
}

// memory returns the card's free and whole memory in bytes.
func (d *driver) memory() (free, total int64, err error) {
	code := d.memInfo.call(uintptr(unsafe.Pointer(&free)), uintptr(unsafe.Pointer(&total)))
	return free, total, d.check(d.memInfo, code)
}

// give takes a block back.
func (a *arena) give(addr uint64) error {
	size, ok := a.sizes[addr]
	if !ok {
		return fmt.Errorf("memory at %#x was given back that is not in use", addr)
	}
	delete(a.sizes, addr)
	a.used -= size
	a.kept += size
	a.free[size] = append(a.free[size], addr)
	return nil
}

// trim gives all free blocks back to the driver, once no work uses them, but for those that it gave together with one that
// is in use.
func (a *arena) trim() error {
	if err := a.sync(); err != nil {
		return err
	}
	for size := range a.free {
		if err := a.trimSize(size); err != nil {
			return err
		}
	}
	return nil
}

// trimSize is trim for blocks of a size.
func (a *arena) trimSize(size int64) error {
	list, free := a.free[size], map[uint64]int{} // blocks by the run that they are of
	for _, addr := range list {
		free[a.runOf(addr).first]++
	}
	delete(a.free, size)
	for _, addr := range list {
		run := a.runOf(addr)
		if free[run.first] < run.blocks {
			a.free[size] = append(a.free[size], addr)
			continue
		}
		a.kept -= size
		delete(a.together, addr)
		if addr != run.first {
			continue
		}
		if err := a.driver.check(a.driver.free, a.driver.free.call(uintptr(addr))); err != nil {
			return err
		}
	}
	return nil
}

// runOf is the run of a block, which may be the block alone.
func (a *arena) runOf(addr uint64) runOf {
	if run, ok := a.together[addr]; ok {
		return run
	}
	return runOf{addr, 1}
}

// release gives all memory back to the driver, also what is in use.
func (a *arena) release() error {
	for addr := range a.sizes {
		if err := a.give(addr); err != nil {
			return err
		}
	}
	return a.trim()
}

// borrow returns a block of the arena, or 0 after a fault.
func (d *Device) borrow(size int64) uint64 {
	if !d.enter() {
		return 0
	}
	defer d.leave()
	return d.take(size)
}

// take is borrow between enter and leave.
func (d *Device) take(size int64) uint64 {
	addr, err := d.arena.take(size)
	if err != nil {
		d.fail(err)
	}
	return addr
}

// giveBack returns blocks to the arena; those of address 0 were never lent.
func (d *Device) giveBack(addrs ...uint64) {
	if !d.enter() {
		return
	}
	defer d.leave()
	for _, addr := range addrs {
		if addr == 0 {
			continue
		}
		if err := d.arena.give(addr); err != nil {
			d.fail(err)
		}
	}
}

// Alloc returns n zeros, to be given back with Free.
func (d *Device) Alloc(t tensor.Type, n int) tensor.Array {
	a := tensor.Array{Addr: d.borrow(exact(n * t.Bytes())), N: n, Type: t}
	d.Clear(a)
	return a
}

// Free gives arrays of Alloc and Grow back. Nothing may use them afterwards.
func (d *Device) Free(arrays ...tensor.Array) { d.Return(arrays...) }

// Borrow returns n values of unspecified content, to be given back with Return, from memory that is used again.
func (d *Device) Borrow(t tensor.Type, n int) tensor.Array {
	return tensor.Array{Addr: d.borrow(class(n * t.Bytes())), N: n, Type: t}
}

// Return gives arrays of Borrow back. Work that is queued may still use them.
func (d *Device) Return(arrays ...tensor.Array) {
	for _, a := range arrays {
		d.giveBack(a.Addr)
	}
}

// grow makes the block at an address hold some bytes, and returns its address.
func (d *Device) grow(addr uint64, bytes int) uint64 {
	if !d.enter() {
		return 0
	}
	defer d.leave()
	if addr != 0 && d.arena.sizes[addr] >= int64(bytes) {
		return addr
	}
	if addr != 0 {
		if err := d.arena.give(addr); err != nil {
			d.fail(err)
			return 0
		}
	}
	return d.take(class(bytes))
}

// Grow makes *a hold n values of unspecified content.
func (d *Device) Grow(a *tensor.Array, t tensor.Type, n int) {
	*a = tensor.Array{Addr: d.grow(a.Addr, n*t.Bytes()), N: n, Type: t}
}

// GrowInts makes *a hold n integers of unspecified content.
func (d *Device) GrowInts(a *tensor.Ints, n int) { *a = tensor.Ints{Addr: d.grow(a.Addr, 4*n), N: n} }

// GrowDoubles makes *a hold n numbers of unspecified content.
func (d *Device) GrowDoubles(a *tensor.Doubles, n int) {
	*a = tensor.Doubles{Addr: d.grow(a.Addr, 8*n), N: n}
}

// Memory returns the state of the device's memory.
func (d *Device) Memory() (Memory, error) {
	if !d.enter() {
		return Memory{}, d.Err()
	}
	defer d.leave()
	free, total, err := d.driver.memory()
	a := &d.arena
	return Memory{Used: a.used, Kept: a.kept, PeakUsed: a.peakUsed, Peak: a.peak, CardFree: free, Card: total}, err
}
