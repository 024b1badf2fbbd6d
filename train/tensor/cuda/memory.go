package cuda

import (
	"errors"
	"fmt"
	"math/bits"
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
	used, kept int64              // bytes in use and free
	peakUsed   int64
	peak       int64 // of used and free together
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

// blockBytes is the granularity of blocks: that of addresses which the driver returns.
const blockBytes = 256

// exact is the size of a block that is kept for long, such as a weight.
func exact(bytes int) int64 { return int64(max(bytes, 1)+blockBytes-1) &^ (blockBytes - 1) }

// class is the size of a block that is lent: the next of eight steps between powers of two, so that blocks of similar
// sizes are used for each other and at most an eighth is lost.
func class(bytes int) int64 {
	size := exact(bytes)
	step := int64(1) << max(0, bits.Len64(uint64(size-1))-4)
	return (size + step - 1) &^ (step - 1)
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
	if a.sizes == nil {
		a.sizes, a.free = map[uint64]int64{}, map[int64][]uint64{}
	}
	a.sizes[addr] = size
	a.used += size
	a.peakUsed, a.peak = max(a.peakUsed, a.used), max(a.peak, a.used+a.kept)
}

// allocate asks the driver, a second time after free blocks went back to it.
func (a *arena) allocate(size int64) (uint64, error) {
	addr, err := a.ask(size)
	if err == nil || a.kept == 0 || !isOutOfMemory(err) {
		return addr, err
	}
	if err := a.trim(); err != nil {
		return 0, err
	}
	return a.ask(size)
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

// trim gives all free blocks back to the driver, once no work uses them.
func (a *arena) trim() error {
	if err := a.sync(); err != nil {
		return err
	}
	for size, list := range a.free {
		for _, addr := range list {
			if err := a.driver.check(a.driver.free, a.driver.free.call(uintptr(addr))); err != nil {
				return err
			}
			a.kept -= size
		}
		delete(a.free, size)
	}
	return nil
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
