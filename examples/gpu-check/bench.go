package main

import (
	"math"

	"bzdata/train/tensor"
)

// bench is a device that operations are tried on, with operands that every device has alike.
type bench struct {
	tensor.Device
	typ    tensor.Type // of activations
	made   *[]tensor.Array
	output *[]values
}

// values are what an operation has left.
type values struct {
	operation string
	data      []float32
}

func newBench(d tensor.Device, typ tensor.Type) bench {
	return bench{d, typ, &[]tensor.Array{}, &[]values{}}
}

// acts are random activations, and wide random values in F32, of deviation 1. The number tells them from others.
func (b bench) acts(number, n int) tensor.Array { return b.scaled(b.typ, number, n, 1) }
func (b bench) wide(number, n int) tensor.Array { return b.scaled(tensor.F32, number, n, 1) }

func (b bench) scaled(typ tensor.Type, number, n int, deviation float64) tensor.Array {
	return b.array(typ, draw(number, n, deviation))
}

// draw returns random values.
func draw(number, n int, deviation float64) []float32 {
	return newStream("values", uint64(number), deviation).floats(n)
}

// array makes an array of values, which for BF16 are rounded on every device.
func (b bench) array(typ tensor.Type, data []float32) tensor.Array {
	if typ == tensor.BF16 {
		exact := data
		data = make([]float32, len(exact))
		everywhere(len(data), func(from, to int) {
			for i := from; i < to; i++ {
				data[i] = rounded(exact[i])
			}
		})
	}
	a := b.zeros(typ, len(data))
	b.Upload(a, data)
	return a
}

// zeros makes an array.
func (b bench) zeros(typ tensor.Type, n int) tensor.Array {
	a := b.Alloc(typ, n)
	*b.made = append(*b.made, a)
	return a
}

func (b bench) ints(data []int32) tensor.Ints {
	var a tensor.Ints
	if len(data) > 0 {
		b.GrowInts(&a, len(data))
		b.UploadInts(a, data)
		*b.made = append(*b.made, tensor.Array{Addr: a.Addr, N: a.N})
	}
	return a
}

func (b bench) doubles(n int) tensor.Doubles {
	var a tensor.Doubles
	b.GrowDoubles(&a, n)
	*b.made = append(*b.made, tensor.Array{Addr: a.Addr, N: a.N})
	return a
}

func (b bench) read(a tensor.Array) []float32 {
	data := make([]float32, a.N)
	b.Download(data, a)
	return data
}

func (b bench) readDoubles(a tensor.Doubles) []float32 {
	data := make([]float64, a.N)
	b.DownloadDoubles(data, a)
	return narrow(data)
}

func (b bench) readInts(a tensor.Ints) []float32 {
	data, wide := make([]int32, a.N), make([]float32, a.N)
	b.DownloadInts(data, a)
	for i, v := range data {
		wide[i] = float32(v)
	}
	return wide
}

func narrow(data []float64) []float32 {
	out := make([]float32, len(data))
	for i, v := range data {
		out[i] = float32(v)
	}
	return out
}

// left keeps what an operation has left.
func (b bench) left(operation string, data ...[]float32) {
	for _, d := range data {
		*b.output = append(*b.output, values{operation, d})
	}
}

// gives keeps arrays that an operation has left.
func (b bench) gives(operation string, arrays ...tensor.Array) {
	for _, a := range arrays {
		b.left(operation, b.read(a))
	}
}

// take returns what was kept, and gives the memory back.
func (b bench) take() []values {
	b.Free(*b.made...)
	out := *b.output
	*b.made, *b.output = nil, nil
	return out
}

// difference is how far results are from what they should be.
type difference struct {
	greatest float64 // of one value, by the greatest magnitude of all
	apart    float64 // of all as a vector, by its length
}

// floor is the magnitude below which results are taken to be roundings of what cancels, as the derivative of a softmax over
// one value does.
const floor = 1e-2

// differ compares results. What is not a number where it should be one is infinitely far.
func differ(got, want []float32) difference {
	if len(got) != len(want) {
		return difference{math.Inf(1), math.Inf(1)}
	}
	top, size, worst, sum := 0., 0., 0., 0.
	for i, w := range want {
		off := math.Abs(float64(got[i]) - float64(w))
		if math.IsNaN(off) {
			off = math.Inf(1)
		}
		top, worst = max(top, math.Abs(float64(w))), max(worst, off)
		size, sum = size+float64(w)*float64(w), sum+off*off
	}
	if worst == 0 {
		return difference{}
	}
	return difference{worst / max(top, floor), math.Sqrt(sum) / max(math.Sqrt(size), floor*math.Sqrt(float64(len(want))))}
}
