package cuda

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"bzdata/train/tensor"
)

// whole is a card as a tensor.Device, so that an operation can be written once for the card and for its twin. What
// Device does not have is nil.
type whole struct {
	*Device
	rest
}

type rest struct{ tensor.Device }

// trial is one run of an operation: it makes operands on its device, of values that both devices have alike.
type trial struct {
	tensor.Device
	typ tensor.Type // of activations
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
	a := r.Alloc(typ, len(values))
	r.Upload(a, values)
	return a
}

func (r trial) numbers(values []int32) tensor.Ints {
	var a tensor.Ints
	if len(values) > 0 {
		r.GrowInts(&a, len(values))
		r.UploadInts(a, values)
	}
	return a
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

// compareTypes compares an operation of the card with that of the plain device, for each type of activations. Results, which may
// be several, must agree within a part of the greatest magnitude; and a card that takes blocks and threads in reverse must
// give the same bits.
func compareTypes(t *testing.T, what string, run func(r trial) [][]float32) {
	t.Helper()
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
	want := run(trial{tensor.New(tensor.Plain(), 1), typ})
	d := fakeOf(t, typ)
	got := run(trial{whole{Device: d}, typ})
	fakeSet(t, "order", 1, 0)
	again := run(trial{whole{Device: d}, typ})
	fakeSet(t, "order", 0, 0)
	if err := d.Sync(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	for i := range want {
		sameValues(t, fmt.Sprintf("%s, result %d", what, i), got[i], want[i], bound)
		if !slices.EqualFunc(got[i], again[i], sameBits) {
			t.Errorf("%s, result %d: other bits when blocks and threads run in reverse", what, i)
		}
	}
}

func sameBits(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }

// sharedCards are cards that several tests use.
var sharedCards = map[tensor.Type]*Device{}

func fakeOf(t *testing.T, typ tensor.Type) *Device {
	t.Helper()
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
