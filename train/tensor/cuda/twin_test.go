package cuda

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"bzdata/train/tensor"
)

// trial is one run of an operation: it makes operands on its device, of values that both devices have alike. An array has
// pad values before and as many behind it, which nothing may change; pad says how the array is aligned, too.
type trial struct {
	tensor.Device
	typ  tensor.Type // of activations
	pad  int
	made *[]tensor.Array // with their pads
}

// padValue is the value of pads.
const padValue = 0.125

func newTrial(d tensor.Device, typ tensor.Type, pad int) trial {
	return trial{Device: d, typ: typ, pad: pad, made: &[]tensor.Array{}}
}

// acts makes an array of activations, wide one of F32, numbers one of integers.
func (r trial) acts(values []float32) tensor.Array { return r.array(r.typ, values) }
func (r trial) wide(values []float32) tensor.Array { return r.array(tensor.F32, values) }

func (r trial) array(typ tensor.Type, values []float32) tensor.Array {
	values = slices.Clone(values)
	if typ == tensor.BF16 {
		for i, v := range values {
			if v == v {
				values[i] = rounded(typ, v)
			}
		}
	}
	pad := slices.Repeat([]float32{padValue}, r.pad)
	all := r.Alloc(typ, len(values)+2*r.pad)
	r.Upload(all, slices.Concat(pad, values, pad))
	*r.made = append(*r.made, all)
	return all.Part(r.pad, r.pad+len(values))
}

func (r trial) numbers(values []int32) tensor.Ints {
	var a tensor.Ints
	if len(values) == 0 {
		return a
	}
	r.GrowInts(&a, len(values)+r.pad)
	r.UploadInts(a, slices.Concat(make([]int32, r.pad), values))
	return a.Part(r.pad, a.N)
}

// check holds that the pads are as they were, and gives the arrays back.
func (r trial) check(t *testing.T, what string) {
	t.Helper()
	for i, a := range *r.made {
		values := r.read(a)
		for _, v := range append(values[:r.pad:r.pad], values[a.N-r.pad:]...) {
			if v != padValue {
				t.Fatalf("%s: array %d, of %d %s, was written outside of its values", what, i, a.N-2*r.pad, a.Type)
			}
		}
		r.Free(a)
	}
}

func (r trial) read(a tensor.Array) []float32 {
	out := make([]float32, a.N)
	r.Download(out, a)
	return out
}

func (r trial) readInts(a tensor.Ints) []float32 {
	out := make([]int32, a.N)
	r.DownloadInts(out, a)
	wide := make([]float32, a.N)
	for i, v := range out {
		wide[i] = float32(v)
	}
	return wide
}

// compareTypes compares an operation of the card with that of the plain device, for each type of activations. Results, which
// may be several, must agree within a part of the greatest magnitude; and a card that takes blocks and threads in reverse must
// give the same bits.
func compareTypes(t *testing.T, what string, run func(r trial) [][]float32) {
	t.Helper()
	runsKernels(t)
	for _, typ := range []tensor.Type{tensor.F32, tensor.BF16} {
		bound := 2e-5
		if typ == tensor.BF16 {
			bound = 1e-2
		}
		compare(t, what, typ, bound, run)
	}
}

func compare(t *testing.T, what string, typ tensor.Type, bound float64, run func(r trial) [][]float32) {
	t.Helper()
	what = fmt.Sprintf("%s, %s", what, typ)
	want := run(newTrial(tensor.New(tensor.Plain(), 1), typ, 0))
	first := onCard(t, what, typ, 16, run)
	for i := range want {
		sameValues(t, fmt.Sprintf("%s, result %d", what, i), first[i], want[i], bound)
	}
	fakeSet(t, "order", 1, 0)
	equalBits(t, what+", blocks and threads in reverse", onCard(t, what, typ, 16, run), first)
	fakeSet(t, "order", 0, 0)
}

// anyAlignment is compareTypes and holds that arrays at odd addresses, which are read value by value, give the same bits.
func anyAlignment(t *testing.T, what string, run func(r trial) [][]float32) {
	t.Helper()
	compareTypes(t, what, run)
	for _, typ := range []tensor.Type{tensor.F32, tensor.BF16} {
		equalBits(t, what+", at odd addresses", onCard(t, what, typ, 1, run), onCard(t, what, typ, 16, run))
	}
}

// onCard runs an operation on the fake card.
func onCard(t *testing.T, what string, typ tensor.Type, pad int, run func(r trial) [][]float32) [][]float32 {
	t.Helper()
	r := newTrial(fakeOf(t, typ), typ, pad)
	out := run(r)
	if err := r.Sync(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	r.check(t, what)
	return out
}

func equalBits(t *testing.T, what string, got, want [][]float32) {
	t.Helper()
	for i := range want {
		if !slices.EqualFunc(got[i], want[i], sameBits) {
			t.Errorf("%s: result %d has other bits", what, i)
		}
	}
}

func sameBits(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }

// runsKernels skips a test among the short ones, which look for races of Go code: kernels have none of it.
func runsKernels(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs many kernels on the processor")
	}
}

// sharedCards are cards that several tests use.
var sharedCards = map[tensor.Type]*Device{}

func fakeOf(t *testing.T, typ tensor.Type) *Device {
	t.Helper()
	runsKernels(t)
	if sharedCards[typ] == nil {
		d, err := New(Options{Precision: precisionOf(typ)})
		if err != nil {
			t.Fatal(err)
		}
		sharedCards[typ] = d
	}
	return sharedCards[typ]
}

// sameValues compares values within a part of the greatest magnitude; NaN and infinities must be where they should.
func sameValues(t *testing.T, what string, got, want []float32, bound float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	top := 1e-2 // below, magnitudes are those of roundings
	for _, v := range want {
		if a := math.Abs(float64(v)); a <= math.MaxFloat32 {
			top = max(top, a)
		}
	}
	for i, w := range want {
		g, w := float64(got[i]), float64(w)
		if math.IsNaN(g) && math.IsNaN(w) || g == w || math.Abs(g-w) <= bound*top {
			continue
		}
		t.Fatalf("%s: value %d of %d is %g, not %g within %g of %g", what, i, len(want), g, w, bound, top)
	}
}

// withNaN are values with a NaN at a place, unless it is negative.
func withNaN(values []float32, at int) []float32 {
	if at >= 0 && at < len(values) {
		values[at] = float32(math.NaN())
	}
	return values
}
