package cuda

import (
	"fmt"
	"slices"
	"unsafe"

	"bzdata/train/tensor"
)

// UploadBF16 takes values that are stored as BF16, two bytes each, the lower one first.
func (d *Device) UploadBF16(dst tensor.Array, raw []byte) {
	if dst.Type != tensor.BF16 || !d.sameLength("UploadBF16", 2*dst.N, len(raw)) {
		d.fault(fmt.Errorf("UploadBF16: %d bytes for %d values of %s", len(raw), dst.N, dst.Type))
		return
	}
	d.upload(dst.Addr, dst.N, 2, func(buffer unsafe.Pointer, from, to int) {
		copy(unsafe.Slice((*byte)(buffer), 2*(to-from)), raw[2*from:2*to])
	})
}

// Pinned memory of the host has one address for both sides (cuMemHostAlloc under unified addressing, which every
// 64-bit system has), so kernels use it as they use the card's, at the speed of the bus.

// hostAlloc returns zeros in pinned memory of the host.
func (d *Device) hostAlloc(n int) tensor.Array {
	if n == 0 || !d.enter() {
		return tensor.Array{N: n}
	}
	defer d.leave()
	const portableAndMapped = 1 | 2
	v, memory := d.driver, unsafe.Pointer(nil)
	code := v.hostAlloc.call(uintptr(unsafe.Pointer(&memory)), uintptr(4*n), portableAndMapped)
	if err := v.check(v.hostAlloc, code); err != nil {
		d.fail(fmt.Errorf("%s of the host's memory for the optimizer's state: %w", bytesText(int64(4*n)), err))
		return tensor.Array{N: n}
	}
	d.pinned = append(d.pinned, memory)
	clear(unsafe.Slice((*float32)(memory), n))
	return tensor.Array{Addr: uint64(uintptr(memory)), N: n}
}

// hostValues are the values of an array of hostAlloc, once all work that was queued is done; nil after a fault.
func (d *Device) hostValues(a tensor.Array) []float32 {
	if a.N == 0 || d.Sync() != nil {
		return nil
	}
	for _, memory := range d.pinned {
		if uint64(uintptr(memory)) == a.Addr {
			return unsafe.Slice((*float32)(memory), a.N)
		}
	}
	return nil
}

// hostFree gives arrays of hostAlloc back, once all work that was queued is done.
func (d *Device) hostFree(arrays ...tensor.Array) {
	if d.Sync() != nil || !d.enter() {
		return
	}
	defer d.leave()
	for _, a := range arrays {
		at := slices.IndexFunc(d.pinned, func(p unsafe.Pointer) bool { return uint64(uintptr(p)) == a.Addr })
		if at < 0 {
			continue // of no values
		}
		if err := d.driver.check(d.driver.hostFree, d.driver.hostFree.call(uintptr(d.pinned[at]))); err != nil {
			d.fail(err)
			return
		}
		d.pinned = slices.Delete(d.pinned, at, at+1)
	}
}

// freePinned gives the host's pinned memory back. The caller is between enter and leave.
func (d *Device) freePinned() error {
	for _, memory := range d.pinned {
		if err := d.driver.check(d.driver.hostFree, d.driver.hostFree.call(uintptr(memory))); err != nil {
			return err
		}
	}
	d.pinned = nil
	return nil
}
