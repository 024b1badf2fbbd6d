package cuda

import "bzdata/train/tensor"

// Rotate turns the pairs (i, half+i) of each head of each row r by the angles of position r%length.
func (d *Device) Rotate(x tensor.Heads, rows, heads, half, length int, cos, sin tensor.Array) {
	d.launch(named("rotate", x.Type), perRow(rows, 2*heads*half), x.Array, int32(x.Stride), int32(x.Step), int32(heads),
		int32(half), int32(length), cos, sin)
}

// Deinterleave moves the even values of each head of dim before the odd ones.
func (d *Device) Deinterleave(x tensor.Heads, rows, heads, dim int) {
	d.deinterleave(x, rows, heads, dim, 1)
}

// Interleave is the inverse of Deinterleave.
func (d *Device) Interleave(x tensor.Heads, rows, heads, dim int) {
	d.deinterleave(x, rows, heads, dim, 0)
}

func (d *Device) deinterleave(x tensor.Heads, rows, heads, dim int, apart int32) {
	if heads == 0 || dim == 0 {
		return
	}
	const values = 2048 // of as many heads as are moved at once
	group := min(heads, max(1, values/dim))
	on := perRow(rows, group*dim)
	on.shared = uint32(group * dim * x.Type.Bytes())
	d.launch(named("deinterleave", x.Type), on, x.Array, int32(x.Stride), int32(x.Step), int32(heads), int32(dim), int32(group),
		apart)
}

// JoinKeys makes keys of heads' own values, the first of each head of kv, and of one rotated part for all heads.
func (d *Device) JoinKeys(k, kv tensor.Array, shared tensor.Heads, l tensor.LatentShape) {
	if d.typed("JoinKeys", k, kv, shared.Array) {
		d.launch(named("join_keys", k.Type), perRow(l.Rows, l.Heads*l.QK()), k, kv, shared.Array, int32(shared.Stride),
			int32(l.Heads), int32(l.Nope), int32(l.Rope), int32(l.V))
	}
}

// SplitKeys is its derivative: it sets the keys' part of dkv and, adding heads in order, dshared.
func (d *Device) SplitKeys(dkv tensor.Array, dshared tensor.Heads, dk tensor.Array, l tensor.LatentShape) {
	if d.typed("SplitKeys", dkv, dshared.Array, dk) {
		d.launch(named("split_keys", dk.Type), perRow(l.Rows, l.Heads*l.QK()), dkv, dshared.Array, int32(dshared.Stride), dk,
			int32(l.Heads), int32(l.Nope), int32(l.Rope), int32(l.V))
	}
}
