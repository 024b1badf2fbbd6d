package cuda

import (
	"errors"
	"fmt"
	"math"
	"unsafe"

	"bzdata/train/tensor"
)

// stagingBytes is the size of one of the buffers through which values pass between host and card.
const stagingBytes = 8 << 20

// staging are two buffers of pinned memory: while the card copies one, the processor fills or empties the other. Values
// are converted on the way, so that bf16 costs half the traffic.
type staging struct {
	buffers [2]stage
	next    int
}

// stage is a buffer, and the event that is recorded after the copy that uses it.
type stage struct {
	memory unsafe.Pointer
	event  uintptr
	busy   bool
}

// open allocates the buffers.
func (s *staging) open(v *driver) error {
	const disableTiming = 2
	for i := range s.buffers {
		b := &s.buffers[i]
		if err := v.check(v.hostAlloc, v.hostAlloc.call(uintptr(unsafe.Pointer(&b.memory)), stagingBytes, 0)); err != nil {
			return fmt.Errorf("%s of pinned memory: %w", bytesText(stagingBytes), err)
		}
		if err := v.check(v.eventCreate, v.eventCreate.call(uintptr(unsafe.Pointer(&b.event)), disableTiming)); err != nil {
			return err
		}
	}
	return nil
}

// close gives back what open took, all of it or not.
func (s *staging) close(v *driver) error {
	var errs []error
	for i := range s.buffers {
		b := &s.buffers[i]
		if b.memory != nil {
			errs = append(errs, v.check(v.hostFree, v.hostFree.call(uintptr(b.memory))))
		}
		if b.event != 0 {
			errs = append(errs, v.check(v.eventDestroy, v.eventDestroy.call(b.event)))
		}
		*b = stage{}
	}
	return errors.Join(errs...)
}

// take returns the next buffer, once nothing uses it.
func (s *staging) take(v *driver) (*stage, error) {
	if s.buffers[0].memory == nil {
		if err := s.open(v); err != nil {
			return nil, err
		}
	}
	b := &s.buffers[s.next]
	s.next = 1 - s.next
	return b, b.wait(v)
}

// wait returns when the copy that uses the buffer is done.
func (b *stage) wait(v *driver) error {
	if !b.busy {
		return nil
	}
	b.busy = false
	return v.check(v.eventSync, v.eventSync.call(b.event))
}

// mark records that the buffer is in use by the work that is queued now.
func (b *stage) mark(v *driver, stream uintptr) error {
	b.busy = true
	return v.check(v.eventRecord, v.eventRecord.call(b.event, stream))
}

// upload copies n values of a size to an address; fill writes the values [from, to) to a buffer.
func (d *Device) upload(addr uint64, n, size int, fill func(buffer unsafe.Pointer, from, to int)) {
	if n == 0 || !d.enter() {
		return
	}
	defer d.leave()
	if err := d.uploadNow(addr, n, size, fill); err != nil {
		d.fail(fmt.Errorf("copy to the card: %w", err))
	}
}

func (d *Device) uploadNow(addr uint64, n, size int, fill func(buffer unsafe.Pointer, from, to int)) error {
	v := d.driver
	for from := 0; from < n; {
		to := min(n, from+stagingBytes/size)
		b, err := d.staging.take(v)
		if err != nil {
			return err
		}
		fill(b.memory, from, to)
		code := v.copyIn.call(uintptr(addr)+uintptr(from*size), uintptr(b.memory), uintptr((to-from)*size), d.stream)
		if err := v.check(v.copyIn, code); err != nil {
			return err
		}
		if err := b.mark(v, d.stream); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// download copies n values of a size from an address, after all queued work; empty reads the values
// [from, to) from a buffer.
func (d *Device) download(addr uint64, n, size int, empty func(buffer unsafe.Pointer, from, to int)) {
	if n == 0 || !d.enter() {
		return
	}
	defer d.leave()
	if err := d.downloadNow(addr, n, size, empty); err != nil {
		d.fail(fmt.Errorf("copy from the card, or work before it: %w", err))
	}
}

func (d *Device) downloadNow(addr uint64, n, size int, empty func(buffer unsafe.Pointer, from, to int)) error {
	v, per := d.driver, stagingBytes/size
	var before *stage // holds the values [from-per, from)
	for from := 0; from < n+per; from += per {
		var b *stage
		if from < n {
			var err error
			if b, err = d.fetch(addr+uint64(from*size), min(n-from, per)*size); err != nil {
				return err
			}
		}
		if before != nil {
			if err := before.wait(v); err != nil {
				return err
			}
			empty(before.memory, from-per, min(n, from))
		}
		before = b
	}
	return nil
}

// fetch queues the copy of bytes at an address to a buffer.
func (d *Device) fetch(addr uint64, bytes int) (*stage, error) {
	v := d.driver
	b, err := d.staging.take(v)
	if err != nil {
		return nil, err
	}
	code := v.copyOut.call(uintptr(b.memory), uintptr(addr), uintptr(bytes), d.stream)
	if err := v.check(v.copyOut, code); err != nil {
		return nil, err
	}
	return b, b.mark(v, d.stream)
}

// Upload converts values of the host, to the nearest, ties to even.
func (d *Device) Upload(dst tensor.Array, src []float32) {
	if !d.sameLength("Upload", dst.N, len(src)) {
		return
	}
	d.upload(dst.Addr, dst.N, dst.Type.Bytes(), func(buffer unsafe.Pointer, from, to int) {
		if dst.Type == tensor.F32 {
			copy(unsafe.Slice((*float32)(buffer), to-from), src[from:to])
			return
		}
		lower(unsafe.Slice((*uint16)(buffer), to-from), src[from:to])
	})
}

// Download waits and converts values back.
func (d *Device) Download(dst []float32, src tensor.Array) {
	if !d.sameLength("Download", src.N, len(dst)) {
		return
	}
	d.download(src.Addr, src.N, src.Type.Bytes(), func(buffer unsafe.Pointer, from, to int) {
		if src.Type == tensor.F32 {
			copy(dst[from:to], unsafe.Slice((*float32)(buffer), to-from))
			return
		}
		for i, v := range unsafe.Slice((*uint16)(buffer), to-from) {
			dst[from+i] = math.Float32frombits(uint32(v) << 16)
		}
	})
}

// UploadInts copies integers of the host.
func (d *Device) UploadInts(dst tensor.Ints, src []int32) {
	if !d.sameLength("UploadInts", dst.N, len(src)) {
		return
	}
	d.upload(dst.Addr, dst.N, 4, func(buffer unsafe.Pointer, from, to int) {
		copy(unsafe.Slice((*int32)(buffer), to-from), src[from:to])
	})
}

// DownloadInts waits and copies integers back.
func (d *Device) DownloadInts(dst []int32, src tensor.Ints) {
	if !d.sameLength("DownloadInts", src.N, len(dst)) {
		return
	}
	d.download(src.Addr, src.N, 4, func(buffer unsafe.Pointer, from, to int) {
		copy(dst[from:to], unsafe.Slice((*int32)(buffer), to-from))
	})
}

// DownloadDoubles waits and copies numbers back.
func (d *Device) DownloadDoubles(dst []float64, src tensor.Doubles) {
	if !d.sameLength("DownloadDoubles", src.N, len(dst)) {
		return
	}
	d.download(src.Addr, src.N, 8, func(buffer unsafe.Pointer, from, to int) {
		copy(dst[from:to], unsafe.Slice((*float64)(buffer), to-from))
	})
}

// sameLength makes a difference of lengths a fault.
func (d *Device) sameLength(operation string, card, host int) bool {
	if card == host {
		return true
	}
	d.fault(fmt.Errorf("%s: %d values on the card and %d on the host", operation, card, host))
	return false
}

// fault keeps a fault from outside of enter and leave.
func (d *Device) fault(err error) {
	if d.enter() {
		d.fail(err)
		d.leave()
	}
}

// Clear sets all values to 0.
func (d *Device) Clear(a tensor.Array) {
	if a.N == 0 || !d.enter() {
		return
	}
	defer d.leave()
	if err := d.clearNow(a.Addr, a.N*a.Type.Bytes()); err != nil {
		d.fail(fmt.Errorf("clear: %w", err))
	}
}

func (d *Device) clearNow(addr uint64, bytes int) error {
	v := d.driver
	return v.check(v.set8, v.set8.call(uintptr(addr), 0, uintptr(bytes), d.stream))
}

// Copy sets dst to src, which has as many values; they may be of another type.
func (d *Device) Copy(dst, src tensor.Array) {
	if dst.N == 0 && src.N == 0 || !d.sameLength("Copy", dst.N, src.N) {
		return
	}
	if dst.Type != src.Type {
		d.convert(dst, src)
		return
	}
	if !d.enter() {
		return
	}
	defer d.leave()
	v := d.driver
	code := v.copyWithin.call(uintptr(dst.Addr), uintptr(src.Addr), uintptr(dst.N*dst.Type.Bytes()), d.stream)
	if err := v.check(v.copyWithin, code); err != nil {
		d.fail(fmt.Errorf("copy: %w", err))
	}
}

// convert is Copy between types.
func (d *Device) convert(dst, src tensor.Array) {
	name := "to_bf16"
	if dst.Type == tensor.F32 {
		name = "from_bf16"
	}
	const threads, perThread = 256, 8
	d.launch(name, line(min(1<<16, (dst.N+threads*perThread-1)/(threads*perThread)), threads), dst, src, int64(dst.N))
}

// lower rounds to bf16, to the nearest, ties to even. A NaN becomes the one that the card makes of any.
func lower(dst []uint16, src []float32) {
	for i, v := range src {
		bits := math.Float32bits(v)
		if bits&0x7fffffff > 0x7f800000 {
			dst[i] = 0x7fff
			continue
		}
		dst[i] = uint16((bits + 0x7fff + bits>>16&1) >> 16)
	}
}
