package cuda

import "bzdata/train/tensor"

// Load returns a weight of the given values in the device's type, rounded to it.
func (d *Device) Load(values []float32) tensor.Array {
	a := tensor.Array{Addr: d.borrow(exact(len(values) * d.Type().Bytes())), N: len(values), Type: d.Type()}
	d.Upload(a, values)
	return a
}

// Train gives a weight a gradient of zeros and, if it is kept in bf16, the lower half of a master, which then is the weight as
// it stands.
func (d *Device) Train(w *tensor.Weight) {
	if w.Grad.None() {
		w.Grad = d.Alloc(tensor.F32, w.Data.N) // kept for long: of its own size, which no other may use
	} else {
		d.Clear(w.Grad)
	}
	if w.Data.Type == tensor.BF16 && w.Low.None() {
		w.Low = d.Alloc(tensor.BF16, w.Data.N)
	}
}

// Freeze takes a weight's gradient away. The master stays.
func (d *Device) Freeze(w *tensor.Weight) {
	d.Free(w.Grad)
	w.Grad = tensor.Array{}
}

// Master returns a copy of a weight's values in single precision: of the master if there is one.
func (d *Device) Master(w tensor.Weight) []float32 {
	out := make([]float32, w.Data.N)
	if w.Low.None() {
		d.Download(out, w.Data)
		return out
	}
	d.chunks(w.Data.N, func(wide tensor.Array, from, to int) {
		n := to - from
		d.launch("join_master", each(n, 4), wide, w.Data.Part(from, to), w.Low.Part(from, to), int64(n))
		d.Download(out[from:to], wide)
	})
	return out
}

// SetMaster replaces a weight's values, and its master's.
func (d *Device) SetMaster(w *tensor.Weight, values []float32) {
	if !d.sameLength("SetMaster", w.Data.N, len(values)) {
		return
	}
	if w.Low.None() {
		d.Upload(w.Data, values)
		return
	}
	d.chunks(w.Data.N, func(wide tensor.Array, from, to int) {
		n := to - from
		d.Upload(wide, values[from:to])
		d.launch("split_master", each(n, 4), w.Data.Part(from, to), w.Low.Part(from, to), wide, int64(n))
	})
}
