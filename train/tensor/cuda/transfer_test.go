package cuda

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"bzdata/train/tensor"
)

// some are values of many magnitudes, both signs, zeros, denormals and infinities.
func some(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]float32, n)
	for i := range out {
		switch r.IntN(40) {
		case 0:
			out[i] = 0
		case 1:
			out[i] = float32(math.Inf(1 - 2*r.IntN(2)))
		case 2:
			out[i] = math.Float32frombits(r.Uint32N(1 << 22))
		default:
			out[i] = float32(r.NormFloat64()) * float32(math.Pow(2, float64(r.IntN(40)-20)))
		}
	}
	return out
}

// TestTransfer moves more values than the staging buffers hold, and a few.
func TestTransfer(t *testing.T) {
	for _, typ := range []tensor.Type{tensor.F32, tensor.BF16} {
		d := newFake(t, typ)
		for _, n := range []int{1, 7, stagingBytes / typ.Bytes(), 3*stagingBytes/typ.Bytes() + 5} {
			want := some(uint64(n), n)
			a := d.Alloc(typ, n)
			if got := get(t, d, a); slices.ContainsFunc(got, func(v float32) bool { return v != 0 }) {
				t.Fatalf("%s: Alloc of %d is not zero", typ, n)
			}
			d.Upload(a, want)
			got := get(t, d, a)
			for i := range want {
				if want := rounded(typ, want[i]); got[i] != want {
					t.Fatalf("%s, %d values: value %d is %g, not %g", typ, n, i, got[i], want)
				}
			}
			d.Free(a)
		}
	}
}

// rounded is a value as the type holds it: the nearer of its two neighbours, by their distance in double precision.
func rounded(typ tensor.Type, v float32) float32 {
	if typ == tensor.F32 || math.IsInf(float64(v), 0) {
		return v
	}
	bits := math.Float32bits(v)
	low := math.Float32frombits(bits &^ 0xffff)
	high := math.Float32frombits(bits&^0xffff + 0x10000)
	up, down := math.Abs(float64(high)-float64(v)), math.Abs(float64(v)-float64(low))
	if math.IsInf(float64(high), 0) {
		up = math.Abs(math.Ldexp(1, 128) - math.Abs(float64(v)))
	}
	if up < down || up == down && bits>>16&1 == 1 {
		return high
	}
	return low
}

func TestTransferInts(t *testing.T) {
	d := newFake(t, tensor.F32)
	var ints tensor.Ints
	var doubles tensor.Doubles
	want := []int32{3, -1, 1 << 30, 0, -1 << 31}
	d.GrowInts(&ints, len(want))
	d.UploadInts(ints, want)
	got := make([]int32, len(want))
	d.DownloadInts(got, ints)
	if err := d.Sync(); err != nil || !slices.Equal(got, want) {
		t.Fatal(got, err)
	}
	d.GrowDoubles(&doubles, 3)
	d.Clear(tensor.Array{Addr: doubles.Addr, N: 6})
	zeros := []float64{1, 2, 3}
	d.DownloadDoubles(zeros, doubles)
	if !slices.Equal(zeros, make([]float64, 3)) {
		t.Fatal(zeros)
	}
}

// TestUploadBF16 takes values as files store them.
func TestUploadBF16(t *testing.T) {
	d := newFake(t, tensor.BF16)
	want := normal(3, stagingBytes)
	round(want)
	raw := make([]byte, 0, 2*len(want))
	for _, v := range want {
		raw = binary.LittleEndian.AppendUint16(raw, uint16(math.Float32bits(v)>>16))
	}
	a := d.Alloc(tensor.BF16, len(want))
	d.UploadBF16(a, raw)
	if !slices.Equal(get(t, d, a), want) {
		t.Error("values changed on the way")
	}
	d.UploadBF16(a, raw[2:])
	wantFault(t, d, "UploadBF16: ")
}

// TestCopy copies between all types, also to an odd address.
func TestCopy(t *testing.T) {
	d := newFake(t, tensor.BF16)
	for _, from := range []tensor.Type{tensor.F32, tensor.BF16} {
		for _, to := range []tensor.Type{tensor.F32, tensor.BF16} {
			for _, n := range []int{1, 2047, 70_001} {
				src, have := put(t, d, from, some(5, n+1))
				dst := d.Alloc(to, n+3)
				d.Copy(dst.Part(1, n), src.Part(2, n+1))
				got := get(t, d, dst)
				for i := range n - 1 {
					if want := rounded(to, have[i+2]); got[i+1] != want {
						t.Fatalf("%s to %s: value %d of %d is %g, not %g", from, to, i, n, got[i+1], want)
					}
				}
				if got[0] != 0 || got[n] != 0 || got[n+2] != 0 {
					t.Fatalf("%s to %s: values beside the part changed", from, to)
				}
				d.Free(src, dst)
			}
		}
	}
}

// TestLower holds the host's rounding against every bf16 value and what lies between neighbours.
func TestLower(t *testing.T) {
	var in []float32
	for half := range 1 << 16 {
		for _, rest := range []uint32{0, 1, 0x7fff, 0x8000, 0x8001, 0xffff} {
			in = append(in, math.Float32frombits(uint32(half)<<16|rest))
		}
	}
	out := make([]uint16, len(in))
	lower(out, in)
	for i, v := range in {
		got := math.Float32frombits(uint32(out[i]) << 16)
		if v != v {
			if got == got {
				t.Fatalf("%#x became %g", math.Float32bits(v), got)
			}
			continue
		}
		if want := rounded(tensor.BF16, v); math.Float32bits(got) != math.Float32bits(want) {
			t.Fatalf("%#x became %#x, not %#x", math.Float32bits(v), math.Float32bits(got), math.Float32bits(want))
		}
	}
}
