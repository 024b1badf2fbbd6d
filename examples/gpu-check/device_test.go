package main

import (
	"bytes"
	"context"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bzdata/train/checkpoint"
	"bzdata/train/tensor"
)

// TestAllOperations holds that the trials use every operation of a device, and that the timed device passes each on.
func TestAllOperations(t *testing.T) {
	host := tensor.New(tensor.Plain(), 1)
	d := newTimed(host)
	d.on = true
	for _, do := range trials() {
		b := newBench(d, tensor.F32)
		do(b, oddShapes()[1], host)
		for i, v := range b.take() {
			if len(v.data) == 0 {
				t.Errorf("result %d of %s is empty", i, v.operation)
			}
		}
	}
	var used []string
	for _, o := range d.sorted() {
		name, _, _ := bytes.Cut([]byte(o.name), []byte(" "))
		used = append(used, string(name))
	}
	// These compute nothing.
	without := []string{"Name", "String", "Err", "Sync", "For", "Type", "Alloc", "Free", "Borrow", "Return", "Grow", "GrowInts",
		"GrowDoubles"}
	for m := range reflect.TypeFor[tensor.Device]().Methods() {
		if !slices.Contains(used, m.Name) && !slices.Contains(without, m.Name) {
			t.Errorf("no trial uses %s", m.Name)
		}
	}
}

// TestDiffer holds that what is wrong is far.
func TestDiffer(t *testing.T) {
	nan, inf := float32(math.NaN()), math.Inf(1)
	for _, c := range []struct {
		got, want []float32
		far       difference
	}{
		{[]float32{1, 2}, []float32{1, 2}, difference{}},
		{[]float32{3, 0}, []float32{3, 4}, difference{1, 0.8}},
		{[]float32{1, nan}, []float32{1, 2}, difference{inf, inf}},
		{[]float32{1}, []float32{1, 2}, difference{inf, inf}},
		{[]float32{1e-5, 0}, []float32{0, 0}, difference{1e-3, 1e-3 / math.Sqrt2}},
	} {
		d := differ(c.got, c.want)
		for i, pair := range [][2]float64{{d.greatest, c.far.greatest}, {d.apart, c.far.apart}} {
			if pair[0] != pair[1] && !(math.Abs(pair[0]-pair[1]) < 1e-6) {
				t.Errorf("%v, %v: distance %d is %g, want %g", c.got, c.want, i, pair[0], pair[1])
			}
		}
	}
}

// TestSource holds that weights are the same each time, in bytes and numbers, of the deviation asked for, and other ones for
// another name or seed.
func TestSource(t *testing.T) {
	cfg := tinySizes().lite
	first, err := newSource(cfg, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := newSource(cfg, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := hold(first)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, name := range first.Names() {
		raw, info := bytesOf(t, first, name), infoOf(t, first, name)
		if !bytes.Equal(raw, bytesOf(t, first, name)) || !bytes.Equal(raw, bytesOf(t, kept, name)) || int64(len(raw)) != info.Bytes {
			t.Fatalf("%s has other weights the second time", name)
		}
		values, err := first.Float32(name, nil)
		if err != nil || len(values) != info.Elements() {
			t.Fatalf("%s: %d values, %v", name, len(values), err)
		}
		if len(info.Shape) == 1 {
			continue
		}
		if seen[string(raw)] || bytes.Equal(raw, bytesOf(t, second, name)) {
			t.Errorf("%s has the weights of another tensor or seed", name)
		}
		seen[string(raw)] = true
		sum, squares := 0., 0.
		for _, v := range values {
			sum, squares = sum+float64(v), squares+float64(v)*float64(v)
		}
		n := float64(len(values))
		if deviation := math.Sqrt(squares / n); math.Abs(deviation-0.1) > 0.2/math.Sqrt(n) || math.Abs(sum/n) > 0.5/math.Sqrt(n) {
			t.Errorf("%s: mean %g, deviation %g", name, sum/n, deviation)
		}
	}
	if _, err := first.Bytes("other"); err == nil {
		t.Error("a tensor that is not there has values")
	}
}

func bytesOf(t *testing.T, s checkpoint.Source, name string) []byte {
	t.Helper()
	raw, err := s.Bytes(name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func infoOf(t *testing.T, s checkpoint.Source, name string) checkpoint.Info {
	t.Helper()
	info, ok := s.Info(name)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	return info
}

// counted counts the floating point operations that a step's products and attention ask for.
type counted struct {
	tensor.Device
	flops, trained, trainedFirst float64
	layers                       int
}

func (c *counted) Gemm(m, n, k int, a, b tensor.Matrix, out tensor.Array, ldc int, add bool) {
	c.flops += 2 * float64(m) * float64(n) * float64(k)
	c.Device.Gemm(m, n, k, a, b, out, ldc, add)
}

func (c *counted) Attend(a tensor.Attended, s tensor.AttendShape) {
	c.flops += scores(s)
	c.Device.Attend(a, s)
}

func (c *counted) AttendBack(a tensor.Attended, d tensor.AttendGrads, s tensor.AttendShape) {
	c.flops += 2 * scores(s)
	c.Device.AttendBack(a, d, s)
}

// scores are the products of a query with each key up to its own, and of each probability with a value.
func scores(s tensor.AttendShape) float64 {
	pairs := 0
	for t := range s.Length {
		pairs += t + 1
	}
	return 2 * float64(s.Sequences*s.Heads*pairs) * float64(s.QKDim+s.VDim)
}

func (c *counted) Experts(e tensor.Experts, r *tensor.Routing, x, out tensor.Array, inner tensor.GLU) {
	c.flops += float64(r.Slots()) * 6 * float64(e.Hidden*e.Width)
	c.Device.Experts(e, r, x, out, inner)
}

func (c *counted) ExpertsBack(e tensor.Experts, r *tensor.Routing, x, dy tensor.Array, inner tensor.GLU, dWeights tensor.Array,
	needIn bool) {
	trained := 0.
	for i := range e.Gate {
		if !e.Gate[i].Grad.None() {
			trained += float64(r.Start.Host[i+1] - r.Start.Host[i])
		}
	}
	n := 2 * float64(e.Hidden*e.Width)
	c.flops += 3 * n * trained
	if c.trained, c.trainedFirst = c.trained+trained, trained; needIn { // the first layer comes last
		c.flops += 3 * n * float64(r.Slots())
	} else {
		c.flops += n * trained
	}
	c.Device.ExpertsBack(e, r, x, dy, inner, dWeights, needIn)
}

// TestWork counts what the model asks of its device, and holds the formula of a step's work against it.
func TestWork(t *testing.T) {
	c := &check{sizes: tinySizes()}
	d := &counted{Device: tensor.New(tensor.Plain(), 1)}
	m, err := random(c.lite, d)
	if err != nil {
		t.Fatal(err)
	}
	m.SetTrainable(c.trains)
	b := newCorpus(c.lite, 3, 21, 1).batch(0, 3)
	for i, target := range b.Targets {
		b.Targets[i] = max(0, target) // each row has one
	}
	if _, _, err := m.Backward(context.Background(), b, 1); err != nil {
		t.Fatal(err)
	}
	want := workOf(c.lite, 21).step(63, d.trained, d.trainedFirst)
	if math.Abs(d.flops-want) > 1e-9*want || d.trained == 0 {
		t.Errorf("%.0f operations, the formula says %.0f", d.flops, want)
	}
	lite := workOf(liteConfig(), 1024)
	// DeepSeek-AI 2024, "DeepSeek-V2", appendix B: 2.4 billion activated weights.
	if active := lite.dense + 26*lite.mixed + lite.head; active < 2.4e9 || active > 2.5e9 {
		t.Errorf("%g activated weights", active)
	}
}

var _ tensor.Device = (*counted)(nil)

// faulty is a device whose norms are off by a part, which changes with each call if it is unsteady.
type faulty struct {
	tensor.Device
	off      float32
	unsteady bool
}

func (f *faulty) RMSNorm(y, inverse, x, w tensor.Array, epsilon float64) {
	f.Device.RMSNorm(y, inverse, x, w, epsilon)
	f.Add(y, y, f.off)
	if f.unsteady {
		f.off *= 0.99
	}
}

// TestFaultyDevice holds that a device which computes something else, or other things at other times, is found out.
func TestFaultyDevice(t *testing.T) {
	host := tensor.New(tensor.Plain(), 1)
	for _, off := range []float32{0, 0.0005, 0.002} {
		for _, unsteady := range []bool{false, true} {
			c, found := &check{sizes: tinySizes(), out: io.Discard}, map[string]difference{}
			other := c.try(norms, c.shapes[1], &faulty{host, off, unsteady}, host, tensor.Single, found)
			if (other > 0) != (unsteady && off > 0) {
				t.Errorf("off by %g, unsteady %v: %d results have other bits", off, unsteady, other)
			}
			for name, d := range found {
				c.hold(name, d)
			}
			missed := c.missed()
			if wrong := off > 0.001; wrong != (len(missed) > 0) {
				t.Errorf("off by %g: %q", off, missed)
			}
			for _, line := range missed {
				if !strings.HasPrefix(line, "RMSNorm, f32: ") {
					t.Errorf("off by %g: %q", off, line)
				}
			}
		}
	}
}
