package checkpoint

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// slowHalf decodes a binary float of the given exponent and fraction width by its
// definition, as a float64, which holds every half and bfloat16 exactly.
func slowHalf(h uint16, expBits, fracBits int) float64 {
	bias := 1<<(expBits-1) - 1
	exp := int(h>>fracBits) & (1<<expBits - 1)
	frac := float64(int(h) & (1<<fracBits - 1))
	sign := 1.0
	if h>>15 == 1 {
		sign = -1
	}
	switch {
	case exp == 1<<expBits-1 && frac != 0:
		return math.NaN()
	case exp == 1<<expBits-1:
		return math.Inf(int(sign))
	case exp == 0:
		return sign * math.Ldexp(frac, 1-bias-fracBits)
	}
	return sign * math.Ldexp(frac+float64(int(1)<<fracBits), exp-bias-fracBits)
}

func same(a, b float64) bool {
	return a == b && math.Signbit(a) == math.Signbit(b) || math.IsNaN(a) && math.IsNaN(b)
}

var narrowTypes = []struct {
	dtype             DType
	expBits, fracBits int
	round             func(float32) uint16
	inf               uint16
}{
	{F16, 5, 10, f16FromFloat32, 0x7c00},
	{BF16, 8, 7, bf16FromFloat32, 0x7f80},
}

// TestNarrowExhaustive decodes and encodes all 65536 values of both types, and encodes
// the midpoint of each neighbouring pair and the float32 values beside it.
func TestNarrowExhaustive(t *testing.T) {
	for _, c := range narrowTypes {
		all := make([]byte, 0, 1<<17)
		for h := range 1 << 16 {
			all = append(all, byte(h), byte(h>>8))
		}
		decoded, err := ToFloat32(c.dtype, all)
		if err != nil {
			t.Fatal(err)
		}
		for h := range 1 << 16 {
			want := slowHalf(uint16(h), c.expBits, c.fracBits)
			if !same(float64(decoded[h]), want) {
				t.Fatalf("%s %#04x decodes to %g, want %g", c.dtype, h, decoded[h], want)
			}
			back := c.round(decoded[h])
			if math.IsNaN(want) {
				if !math.IsNaN(slowHalf(back, c.expBits, c.fracBits)) {
					t.Fatalf("%s %#04x: NaN encodes to %#04x", c.dtype, h, back)
				}
				continue
			}
			if back != uint16(h) {
				t.Fatalf("%s %#04x encodes to %#04x", c.dtype, h, back)
			}
			if uint16(h)&0x7fff < c.inf {
				checkMidpoint(t, c.dtype, c.round, c.expBits, c.fracBits, uint16(h))
			}
		}
	}
}

// checkMidpoint checks rounding between h and the next value away from zero, which for
// the largest finite value is infinity at the place where the next power would be.
func checkMidpoint(t *testing.T, d DType, round func(float32) uint16, expBits, fracBits int, h uint16) {
	t.Helper()
	low := slowHalf(h, expBits, fracBits)
	step := math.Abs(slowHalf(h&^1|1, expBits, fracBits) - slowHalf(h&^1, expBits, fracBits))
	mid64 := low + math.Copysign(step/2, slowHalf(h|1, expBits, fracBits))
	mid := float32(mid64)
	if float64(mid) != mid64 {
		t.Fatalf("%s: midpoint after %#04x is no float32", d, h)
	}
	even := h + h&1
	away := math.Float32frombits(math.Float32bits(mid) + 1)
	toward := math.Float32frombits(math.Float32bits(mid) - 1)
	if got := round(mid); got != even {
		t.Fatalf("%s: midpoint %g after %#04x rounds to %#04x, want %#04x", d, mid, h, got, even)
	}
	if got := round(away); got != h+1 {
		t.Fatalf("%s: %g rounds to %#04x, want %#04x", d, away, got, h+1)
	}
	if got := round(toward); got != h {
		t.Fatalf("%s: %g rounds to %#04x, want %#04x", d, toward, got, h)
	}
}

// TestNarrowMonotone checks random float32 values against their definition: no other
// value of the type is nearer.
func TestNarrowRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		v := math.Float32frombits(rng.Uint32())
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			continue
		}
		for _, c := range narrowTypes {
			h := c.round(v)
			if h&0x7fff == c.inf {
				continue
			}
			mine := math.Abs(slowHalf(h, c.expBits, c.fracBits) - float64(v))
			for _, other := range []uint16{h - 1, h + 1} {
				if h&0x7fff == 0 && other>>15 != h>>15 {
					continue
				}
				if d := math.Abs(slowHalf(other, c.expBits, c.fracBits) - float64(v)); d < mine {
					t.Fatalf("%s: %g rounds to %#04x, but %#04x is nearer", c.dtype, v, h, other)
				}
			}
		}
	}
}

func TestOverflow(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		dtype DType
		v     float32
		fails bool
	}{
		{F16, 65504, false}, {F16, 65519.99, false}, {F16, 65520, true}, {F16, -65520, true},
		{F16, math.MaxFloat32, true}, {F16, inf, false}, {F16, -inf, false},
		{BF16, 0x1.fep127, false}, {BF16, 0x1.fefffep127, false}, {BF16, 0x1.ffp127, true},
		{BF16, -math.MaxFloat32, true}, {BF16, inf, false}, {F32, math.MaxFloat32, false},
	} {
		_, err := FromFloat32(c.dtype, []float32{0, c.v})
		var over *OverflowError
		if errors.As(err, &over) != c.fails || (c.fails && (over.Index != 1 || over.Value != c.v)) {
			t.Errorf("%s %g: error %v, want failure %t", c.dtype, c.v, err, c.fails)
		}
	}
	if _, err := FromFloat32(I8, nil); err == nil {
		t.Error("encoded as I8")
	}
	if _, err := ToFloat32(F16, make([]byte, 3)); err == nil {
		t.Error("decoded half a value")
	}
}

// TestByteSize compares with unbounded integers.
func TestByteSize(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		d := DType(rng.IntN(len(dtypeNames)))
		shape := make([]int, rng.IntN(5))
		want := big.NewInt(int64(d.Bits()))
		for i := range shape {
			shape[i] = int(rng.Uint64() >> (1 + rng.IntN(63)))
			want.Mul(want, big.NewInt(int64(shape[i])))
		}
		got, ok := byteSize(d, shape)
		if ok && new(big.Int).Mul(big.NewInt(got), big.NewInt(8)).Cmp(want) != 0 {
			t.Fatalf("%s %v: %d bytes, want %s bits", d, shape, got, want)
		}
		if !ok && want.BitLen() < 62 && want.Int64()%8 == 0 && want.Sign() != 0 {
			t.Fatalf("%s %v refused, %s bits", d, shape, want)
		}
	}
}
