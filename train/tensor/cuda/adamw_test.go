package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"bzdata/train/tensor"
)

var rule = tensor.AdamW{LearningRate: 0.01, Beta1: 0.9, Beta2: 0.95, Epsilon: 1e-8, WeightDecay: 0.1, GradScale: 0.7}

// TestAdamW makes five updates in each format of weights and compares the masters with the plain device's.
func TestAdamW(t *testing.T) {
	for _, typ := range []tensor.Type{tensor.F32, tensor.BF16} {
		for _, n := range []int{1, 255, 1000, 70003} {
			compare(t, fmt.Sprintf("AdamW of %d values", n), typ, 1e-6, func(r trial) [][]float32 {
				// The master is in single precision whatever the type of weights.
				w := tensor.Weight{Data: r.Load(make([]float32, n))}
				r.Train(&w)
				r.SetMaster(&w, normal(1, n))
				m := r.Moments(n)
				for step := 1; step <= 5; step++ {
					r.Upload(w.Grad, withNaN(normal(uint64(step), n), n-40))
					r.AdamW(rule, step, &w, m)
				}
				first, second := r.ReadMoments(m)
				return [][]float32{r.Master(w), first, second}
			})
		}
	}
}

// TestAdamWEightBit holds that the error of 8-bit moments stays small beside the way that weights go.
func TestAdamWEightBit(t *testing.T) {
	const n, steps = 3001, 30
	path := func(d tensor.Device) []float32 {
		r := newTrial(d, d.Type(), 0)
		w := tensor.Weight{Data: r.Load(make([]float32, n))}
		r.Train(&w)
		m := r.Moments(n)
		mean := normal(9, n)
		for step := 1; step <= steps; step++ {
			grad := normal(uint64(step), n)
			for i := range grad {
				grad[i] += mean[i]
			}
			r.Upload(w.Grad, grad)
			r.AdamW(rule, step, &w, m)
		}
		return r.Master(w)
	}
	want := path(tensor.New(tensor.Plain(), 1))
	d := newFakeOf(t, Options{Precision: tensor.HalfAdam8})
	got := path(d)
	way, off := 0.0, 0.0
	for i := range want {
		way += math.Abs(float64(want[i]))
		off += math.Abs(float64(got[i] - want[i]))
	}
	if ratio := off / way; !(ratio > 0 && ratio < 0.02) {
		t.Errorf("weights are off by %.4f of their way", ratio)
	}
	if d.Name() != "cuda/sm_90/bf16-adam8" {
		t.Errorf("the device is named %s", d.Name())
	}
}

// TestMaster holds that a master comes back to the bit, however small its difference from the weight, and that the weight is the
// nearest bf16; a NaN stays one.
func TestMaster(t *testing.T) {
	d := fakeOf(t, tensor.BF16)
	r := rand.New(rand.NewPCG(5, 6))
	values := some(7, 100000)
	for range 100000 {
		values = append(values, math.Float32frombits(r.Uint32()))
	}
	values = append(values, math.Float32frombits(0x7fffffff), math.Float32frombits(0xff800001), math.MaxFloat32, -math.MaxFloat32)
	w := tensor.Weight{Data: d.Load(values)}
	d.Train(&w)
	d.SetMaster(&w, values)
	data, master := get(t, d, w.Data), d.Master(w)
	for i, v := range values {
		if v != v {
			if master[i] == master[i] || data[i] == data[i] {
				t.Fatalf("NaN %#x is %g in the master and %g in the weight", math.Float32bits(v), master[i], data[i])
			}
			continue
		}
		if !sameBits(master[i], v) {
			t.Fatalf("master of %g (%#x) is %g", v, math.Float32bits(v), master[i])
		}
		if n := rounded(tensor.BF16, v); data[i] != n && math.Abs(float64(data[i])-float64(v)) != math.Abs(float64(n)-float64(v)) {
			t.Fatalf("weight of %g is %g, the nearest is %g", v, data[i], n)
		}
	}
	d.Freeze(&w)
	if !w.Grad.None() || !slices.EqualFunc(d.Master(w), master, sameBits) {
		t.Error("a frozen weight has a gradient or another master")
	}
	d.Free(w.Data, w.Low)
}

// TestLoad holds that a weight without a master is rounded to nearest even, and trained from there.
func TestLoad(t *testing.T) {
	d := fakeOf(t, tensor.BF16)
	values := normal(1, 1001)
	w := tensor.Weight{Data: d.Load(values)}
	before := d.Master(w)
	d.Train(&w)
	after := d.Master(w)
	for i, v := range values {
		if n := rounded(tensor.BF16, v); before[i] != n || after[i] != n {
			t.Fatalf("%g is %g and, trained, %g; want %g", v, before[i], after[i], n)
		}
	}
	d.SetMaster(&w, before[:5])
	wantFault(t, d, "SetMaster: 1001 values on the card and 5 on the host")
	delete(sharedCards, tensor.BF16)
}

// TestMomentsEightBit holds that moments that were read are coded again as they were, and how near codes are.
func TestMomentsEightBit(t *testing.T) {
	d := newFakeOf(t, Options{Precision: tensor.HalfAdam8})
	for _, n := range []int{1, 256, 5000} {
		first, second := normal(1, n), normal(2, n)
		for i := range second {
			second[i] *= second[i]
			switch i / 256 % 8 { // blocks of zeros, of equal magnitudes, and of magnitudes at the limits of the type
			case 1:
				first[i], second[i] = 0, 0
			case 2:
				first[i] = float32(1 - i%2*2)
			case 3:
				first[i], second[i] = first[i]*1e-31, second[i]*1e-42
			case 4:
				first[i] *= 1e37
			case 5:
				first[i] = -float32(math.Abs(float64(first[i])))
			case 6:
				if i%2 == 0 { // far below the others
					second[i] *= 1e-12
				}
			}
		}
		m := d.Moments(n)
		d.SetMoments(m, first, second)
		a, b := d.ReadMoments(m)
		codesNear(t, a, first, codeTable(true))
		codesNear(t, b, second, codeTable(false))
		d.SetMoments(m, a, b)
		a2, b2 := d.ReadMoments(m)
		if !slices.EqualFunc(a, a2, sameBits) || !slices.EqualFunc(b, b2, sameBits) {
			t.Fatalf("%d moments: what was read and set is not what is read then", n)
		}
		d.Free(m.First, m.Second)
	}
}

// codesNear holds that each value is the nearest that a block's scale and the table allow, up to roundings.
func codesNear(t *testing.T, got, want, table []float32) {
	t.Helper()
	for from := 0; from < len(want); from += tensor.MomentBlock {
		to, scale := min(len(want), from+tensor.MomentBlock), 0.0
		for _, v := range want[from:to] {
			if a := math.Abs(float64(v)); a > math.Abs(scale) || a == scale*-1 {
				scale = float64(v)
			}
		}
		if math.Abs(scale) < 0x1p-100 {
			scale = 0
		}
		for i := from; i < to; i++ {
			v, nearest := float64(want[i]), math.Inf(1)
			if scale != 0 && table[0] == 0 && v > 0 && got[i] == 0 {
				t.Fatalf("second moment %d is %g, coded 0", i, v)
			}
			if scale == 0 && got[i] != 0 {
				t.Fatalf("moment %d, in a block of next to nothing, is %g, coded %g", i, v, got[i])
			}
			for _, code := range table {
				if code == 0 && table[0] == 0 && v > 0 {
					continue // a second moment that is not 0 stays so
				}
				nearest = min(nearest, math.Abs(float64(code)*scale-v))
			}
			if off := math.Abs(float64(got[i]) - v); off > nearest+1e-6*math.Abs(v) {
				t.Fatalf("moment %d is %g, coded %g: off by %g, want %g at most; the scale is %g", i, v, got[i], off, nearest, scale)
			}
		}
	}
}

// TestMomentsChunks has more moments than are coded at a time.
func TestMomentsChunks(t *testing.T) {
	d := newFakeOf(t, Options{Precision: tensor.HalfAdam8})
	n := chunk + 700
	first := normal(1, n)
	m := d.Moments(n)
	d.SetMoments(m, first, make([]float32, n))
	a, b := d.ReadMoments(m)
	for i := range first {
		if off := math.Abs(float64(a[i] - first[i])); off > 0.04 || b[i] != 0 {
			t.Fatalf("moment %d is %g, coded %g; the second one is %g", i, first[i], a[i], b[i])
		}
	}
}

func TestCodeTable(t *testing.T) {
	for _, signed := range []bool{true, false} {
		table := codeTable(signed)
		if len(table) != 256 || !slices.IsSorted(table) || len(slices.Compact(slices.Clone(table))) != 256 || table[255] != 1 {
			t.Errorf("signed %v: %d values, the last %g", signed, len(table), table[len(table)-1])
		}
		if signed != (table[0] < 0) || !slices.Contains(table, 0) {
			t.Errorf("signed %v: begins with %g", signed, table[0])
		}
	}
}
