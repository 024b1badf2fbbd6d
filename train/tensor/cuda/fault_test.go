package cuda

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"bzdata/train/tensor"
)

// TestOutOfMemory asks for more than there is, by the card's size and by the bound.
func TestOutOfMemory(t *testing.T) {
	for _, bound := range []int64{0, 1 << 20} {
		fakeSet(t, "memory", fakeCount(t, "used")+1<<20, 8<<30)
		d := newFakeOf(t, Options{Precision: tensor.Single, MemoryBytesMax: bound})
		a := d.Alloc(tensor.F32, 1<<17)
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
		b := d.Borrow(tensor.F32, 1<<18)
		after := d.Alloc(tensor.F32, 1)
		d.Upload(a, make([]float32, a.N))
		got := []float32{7}
		d.Download(got, after)
		d.Gemm(2, 2, 2, tensor.Rows(b, 2), tensor.Rows(b, 2), b.From(8), 2, false)
		d.Return(b, after)
		d.Grow(&b, tensor.F32, 3)
		if after.Addr != 0 || got[0] != 7 || b.Addr != 0 {
			t.Error("operations after a fault did something")
		}
		wantFault(t, d, "card 0 (Fake card 0): out of memory: 1.0 MiB asked for, 512.0 KiB in use by this run, ")
		fakeSet(t, "memory", 8<<30, 8<<30)
	}
}

// TestMemoryIsTrimmed takes memory back that is kept, before it gives up.
func TestMemoryIsTrimmed(t *testing.T) {
	fakeSet(t, "memory", fakeCount(t, "used")+1<<20, 8<<30)
	d := newFake(t, tensor.F32)
	live := fakeCount(t, "live")
	for range 3 {
		for _, n := range []int{1 << 17, 1 << 16, 150_000, 200_000} {
			d.Return(d.Borrow(tensor.F32, n))
		}
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	if n := fakeCount(t, "live") - live; n < 1 || n > 3 {
		t.Errorf("%d blocks are held", n)
	}
}

// TestBlocksTogether asks for weights of 5.5 MiB, four of which fill 11 pages of the card's memory, and gives them back. Those
// that came together go together.
func TestBlocksTogether(t *testing.T) {
	d := newFake(t, tensor.BF16)
	const n = 1408 * 2048
	before := fakeCount(t, "used")
	var arrays []tensor.Array
	for range 5 {
		arrays = append(arrays, d.Alloc(tensor.BF16, n))
	}
	trim := func(want int) {
		t.Helper()
		if err := d.arena.trim(); err != nil {
			t.Fatal(err)
		}
		m, err := d.Memory()
		if got := fakeCount(t, "used") - before; err != nil || got != want || m.Used+m.Kept != int64(want) {
			t.Errorf("%d bytes are taken, want %d; %+v, %v", got, want, m, err)
		}
	}
	trim(2 * 22 << 20)
	d.Free(arrays[:3]...)
	trim(2 * 22 << 20)
	d.Free(arrays[4])
	trim(22 << 20)
	again := d.Alloc(tensor.BF16, n)
	trim(22 << 20)
	d.Free(again, arrays[3])
	trim(0)
}

// TestMemoryIsKept checks that a step of the same shapes asks the driver for nothing, and that blocks of similar
// sizes are used for each other.
func TestMemoryIsKept(t *testing.T) {
	d := newFake(t, tensor.F32)
	step := func(more int) {
		a, b, c := d.Borrow(tensor.F32, 1000+more), d.Borrow(tensor.BF16, 5000+more), d.Borrow(tensor.F32, 1)
		d.Return(b, a, c)
	}
	step(0)
	before := fakeCount(t, "allocations")
	for i := range 20 {
		step(i)
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	if n := fakeCount(t, "allocations"); n != before {
		t.Errorf("%d allocations more", n-before)
	}
	m, err := d.Memory()
	if err != nil || m.Used != 0 || m.Kept == 0 || m.Peak != m.Kept || m.PeakUsed != m.Kept || m.Card != 8<<30 {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestClasses checks that a class holds what is asked for and wastes at most an eighth, beyond small sizes.
func TestClasses(t *testing.T) {
	for _, bytes := range []int{1, 255, 256, 257, 4095, 4097, 1 << 20, 1<<20 + 1, 1_234_567_890} {
		for _, size := range []int64{exact(bytes), class(bytes)} {
			if size < int64(bytes) || size%blockBytes != 0 || size > int64(bytes)+max(blockBytes, int64(bytes)/8+tensor.PageBytes) {
				t.Errorf("%d bytes lie in %d", bytes, size)
			}
		}
	}
}

// TestGrow keeps a block that is large enough, and takes a larger one otherwise.
func TestGrow(t *testing.T) {
	d := newFake(t, tensor.F32)
	var a tensor.Array
	d.Grow(&a, tensor.F32, 1000)
	first := a.Addr
	d.Grow(&a, tensor.BF16, 10)
	if a.Addr != first || a.N != 10 || a.Type != tensor.BF16 {
		t.Errorf("%+v", a)
	}
	d.Grow(&a, tensor.F32, 100_000)
	if a.Addr == first || a.N != 100_000 {
		t.Errorf("%+v", a)
	}
	m, err := d.Memory()
	if err != nil || m.Used != class(400_000) || m.Kept != class(4000) {
		t.Errorf("%+v, %v", m, err)
	}
	d.Return(tensor.Array{Addr: first, N: 1})
	wantFault(t, d, "was given back that is not in use")
}

// TestLostCard loses the card between two launches.
func TestLostCard(t *testing.T) {
	d, err := New(Options{Precision: tensor.Half})
	if err != nil {
		t.Fatal(err)
	}
	x, _ := put(t, d, tensor.F32, []float32{1, 2, 3})
	y := d.Alloc(tensor.BF16, 3)
	fakeSet(t, "lose_at_launch", 2, 0)
	d.Copy(y, x)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	launches := fakeCount(t, "launches")
	d.Copy(y, x)
	d.Copy(y, x)
	kept := []float32{8, 8, 8}
	d.Download(kept, y)
	if n := fakeCount(t, "launches") - launches; n != 1 || !slices.Equal(kept, []float32{8, 8, 8}) {
		t.Errorf("%d launches and values %v after the card was lost", n, kept)
	}
	err = d.Err()
	if err == nil || !strings.Contains(err.Error(), "kernel to_bf16: cuLaunchKernel: CUDA_ERROR_LAUNCH_FAILED (719") ||
		!strings.Contains(err.Error(), "go on from the last checkpoint") || d.Close() != err {
		t.Errorf("%v", err)
	}
}

// TestEveryCallFails lets each call of the driver fail in turn: there is an error of one line, from the device or from
// closing it, and memory is given back unless giving it back is what failed.
func TestEveryCallFails(t *testing.T) {
	job := func() error {
		d, err := openFew(filepath.Join(t.TempDir(), "cache"))
		if err != nil {
			return err
		}
		var grown tensor.Array
		x, y := d.Alloc(tensor.F32, 64), d.Borrow(tensor.BF16, 64)
		d.Upload(x, normal(1, 64))
		d.Copy(y, x)
		d.Grow(&grown, tensor.F32, 64)
		d.Copy(grown, x)
		d.Grow(&grown, tensor.F32, 100_000)
		d.Gemm(4, 4, 4, tensor.Rows(x, 4), tensor.Rows(y, 4), grown, 4, false)
		d.Download(make([]float32, 64), y)
		d.Return(y)
		d.Free(x, grown)
		return errors.Join(d.Sync(), d.Close())
	}
	fakeSet(t, "fail_at_call", 0, 0)
	if err := job(); err != nil {
		t.Fatal(err)
	}
	calls, live := fakeCount(t, "calls"), fakeCount(t, "live")
	if calls < 30 {
		t.Fatalf("the job made %d calls", calls)
	}
	left := 0
	for n := 1; n <= calls; n++ {
		fakeSet(t, "fail_at_call", n, 0)
		err := job()
		if err == nil || !strings.Contains(err.Error(), "CUDA_ERROR_UNKNOWN (999") {
			t.Errorf("call %d of %d failed, and the error is %v", n, calls, err)
		}
		left = max(left, fakeCount(t, "live")-live)
		live = fakeCount(t, "live")
	}
	if left > 8 {
		t.Errorf("one failed call leaves %d blocks", left)
	}
}

// TestProductFails passes on that a product failed.
func TestProductFails(t *testing.T) {
	d := newFake(t, tensor.F32)
	a := d.Alloc(tensor.F32, 64)
	set := fakeFunction(t, "libcublasLt.so.12", "fakeBlasSet")
	status := func(code uintptr) { set.call(uintptr(unsafe.Pointer(cString("status"))), code) }
	status(13)
	defer status(0)
	d.Gemm(4, 4, 4, tensor.Rows(a, 4), tensor.Rows(a, 4), a.From(32), 4, false)
	wantFault(t, d, "product [4,4] by [4,4] of f32 into f32: cublasLtMatmul of ")
}

// TestManyThreads uses a device from goroutines that move between threads.
func TestManyThreads(t *testing.T) {
	d := newFake(t, tensor.BF16)
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			want := normal(uint64(g), 3000)
			round(want)
			for range 20 {
				a := d.Borrow(tensor.F32, len(want))
				b := d.Borrow(tensor.BF16, len(want))
				d.Upload(a, want)
				d.Copy(b, a)
				got := make([]float32, len(want))
				d.Download(got, b)
				d.Return(a, b)
				if !slices.Equal(got, want) {
					t.Errorf("goroutine %d reads another's values", g)
					return
				}
			}
		})
	}
	group.Wait()
}

// TestFor calls each index once.
func TestFor(t *testing.T) {
	d := newFake(t, tensor.F32)
	counts := make([]int, 1000)
	d.For(len(counts), func(i int) { counts[i]++ })
	if slices.ContainsFunc(counts, func(n int) bool { return n != 1 }) {
		t.Error(counts)
	}
}
