package cuda

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"bzdata/train/tensor"
)

// Options say which card a device uses and how.
type Options struct {
	// Ordinal is the card's number as the driver counts, from 0; CUDA_VISIBLE_DEVICES restricts and orders what it counts.
	Ordinal int
	// Precision is how weights, activations and the optimizer's state are kept; "" stands for [tensor.Half].
	Precision tensor.Precision
	// MemoryBytesMax bounds the card's memory that the device takes, if it is not 0: to see whether a run
	// fits a smaller card. The context and the compiled kernels, some hundred MB, do not count.
	MemoryBytesMax int64
	// Folders are where the libraries are looked for; nil stands for [DriverFolders] and [Folders].
	Folders []string
	// Cache is the folder of compiled kernels; "" stands for [CacheFolder].
	Cache string
}

// Device is a card. It is safe for concurrent use: operations are queued one at a time, in the order in which
// their calls get their turn.
type Device struct {
	mu  sync.Mutex
	err error

	libraries
	card     Card
	precise  tensor.Precision
	context  uintptr
	stream   uintptr
	arena    arena
	modules  modules
	staging  staging
	products products
	tables   tensor.Array     // of the codes of 8-bit moments, once they are used
	pinned   []unsafe.Pointer // memory of the host that kernels use
	experts  expertTables

	// An argument's bits, and a pointer to each: what a launch hands to the driver.
	slots    [paramsMax]uint64
	pointers [paramsMax]unsafe.Pointer
}

// New opens a card. The error says what is missing and how to get it.
func New(o Options) (*Device, error) {
	catalog, err := readCatalog(kernelFiles)
	if err != nil {
		return nil, err
	}
	return open(o, catalog)
}

// open is New with kernels of the caller's choice.
func open(o Options, catalog *catalog) (*Device, error) {
	libs, err := openLibraries(o.Folders)
	if err != nil {
		return nil, err
	}
	card, err := libs.driver.card(o.Ordinal)
	if err != nil {
		return nil, err
	}
	if err := card.usable(); err != nil {
		return nil, err
	}
	d := &Device{libraries: *libs, card: *card, precise: cmp.Or(o.Precision, tensor.Half)}
	for i := range d.slots {
		d.pointers[i] = unsafe.Pointer(&d.slots[i])
	}
	d.arena = newArena(d.driver, o.MemoryBytesMax, d.syncNow)
	d.modules, err = newModules(d, catalog, o.Cache)
	if err == nil {
		err = d.start()
	}
	if err != nil {
		d.fail(err)
		return nil, d.Close()
	}
	return d, nil
}

// start makes the card's context and the stream.
func (d *Device) start() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	v := d.driver
	retain := v.contextRetain.call(uintptr(unsafe.Pointer(&d.context)), uintptr(d.card.handle))
	if err := v.check(v.contextRetain, retain); err != nil {
		return err
	}
	if err := v.check(v.contextSet, v.contextSet.call(d.context)); err != nil {
		return err
	}
	const nonBlocking = 1
	return v.check(v.streamCreate, v.streamCreate.call(uintptr(unsafe.Pointer(&d.stream)), nonBlocking))
}

// enter begins an operation and reports whether there is to be one; if so, leave must follow. A context is current for a
// thread of the operating system, and goroutines move between threads, so each operation binds its goroutine to a thread
// for its duration and makes the context current there. That costs less than a microsecond; a thread that owns the
// context would cost two wake-ups for each operation.
func (d *Device) enter() bool {
	d.mu.Lock()
	if d.err != nil {
		d.mu.Unlock()
		return false
	}
	runtime.LockOSThread()
	v := d.driver
	if err := v.check(v.contextSet, v.contextSet.call(d.context)); err != nil {
		d.fail(err)
		d.leave()
		return false
	}
	return true
}

func (d *Device) leave() {
	runtime.UnlockOSThread()
	d.mu.Unlock()
}

// fail keeps the first fault. The caller is between enter and leave.
func (d *Device) fail(err error) {
	if d.err == nil {
		d.err = fmt.Errorf("%s: %w", d.card.label(), explain(err))
	}
}

// Name says what decides the bits of results besides the build and the libraries: "cuda/sm_90/bf16".
func (d *Device) Name() string {
	return fmt.Sprintf("cuda/sm_%d%d/%s", d.card.Major, d.card.Minor, d.precise)
}

// String describes the device for people.
func (d *Device) String() string {
	return fmt.Sprintf("%s, %s with %s", d.Name(), d.card.Name, bytesText(d.card.MemoryBytes))
}

// Type is that of activations.
func (d *Device) Type() tensor.Type { return d.precise.Type() }

// Err returns the first fault, or nil. Faults of queued work show at the next [Device.Sync] at the latest.
func (d *Device) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// Sync waits for all work and returns Err.
func (d *Device) Sync() error {
	if d.enter() {
		if err := d.syncNow(); err != nil {
			d.fail(err)
		}
		d.leave()
	}
	return d.Err()
}

// For calls do(i) once for each i in [0, n), from several goroutines of the host, in any order.
func (d *Device) For(n int, do func(i int)) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	group.Wait()
}

func (d *Device) syncNow() error {
	return d.driver.check(d.driver.streamSync, d.driver.streamSync.call(d.stream))
}

// Close gives the card's memory, the kernels and the context back, as far as the card still answers. It returns the fault that
// there was, or else what went wrong now. The device must not be used afterwards.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.leave()
	runtime.LockOSThread()
	v := d.driver
	before := d.err
	var errs []error
	there := func(handle uintptr, give func() error) func() error {
		if handle == 0 {
			return func() error { return nil }
		}
		return give
	}
	for _, step := range []func() error{
		func() error { return v.check(v.contextSet, v.contextSet.call(d.context)) },
		d.syncNow,
		func() error { return d.products.close(d.blas) },
		func() error { return d.staging.close(v) },
		d.freePinned,
		d.arena.release,
		d.modules.unload,
		there(d.stream, func() error { return v.check(v.streamDestroy, v.streamDestroy.call(d.stream)) }),
		there(d.context, func() error { return v.check(v.contextRelease, v.contextRelease.call(uintptr(d.card.handle))) }),
	} {
		errs = append(errs, step())
	}
	d.err = fmt.Errorf("%s: the device was closed", d.card.label())
	if before != nil {
		return before
	}
	return errors.Join(errs...)
}
