package cuda

import "bzdata/train/tensor"

// Embed sets row t of y to row tokens[t] of a table.
func (d *Device) Embed(y, table tensor.Array, tokens tensor.Ints, width int) {
	d.gatherRows("Embed", y, table, tokens, 1, width)
}

// GatherRows sets dst[i] = src[ids[i]], of rows.
func (d *Device) GatherRows(dst, src tensor.Array, ids tensor.Ints, width int) {
	d.gatherRows("GatherRows", dst, src, ids, 1, width)
}

// GatherSlots sets sorted rows to the rows of their slots.
func (d *Device) GatherSlots(sorted, x tensor.Array, r *tensor.Routing, width int) {
	d.gatherRows("GatherSlots", sorted, x, r.Slot.Part(0, r.Slots()), r.K, width)
}

// gatherRows sets dst[i] = src[ids[i]/per].
func (d *Device) gatherRows(operation string, dst, src tensor.Array, ids tensor.Ints, per, width int) {
	if d.typed(operation, dst, src) {
		d.launch("gather_rows", perRow(ids.N, width), dst, src, ids, int32(per), int64(width*dst.Type.Bytes()))
	}
}

// ScatterRows sets dst[ids[i]] = src[i], of rows; ids differ from each other.
func (d *Device) ScatterRows(dst, src tensor.Array, ids tensor.Ints, width int) {
	if d.typed("ScatterRows", dst, src) {
		d.launch("scatter_rows", perRow(ids.N, width), dst, src, ids, int64(width*dst.Type.Bytes()))
	}
}

// CopyColumns copies the first n columns of rows.
func (d *Device) CopyColumns(dst tensor.Array, dstStride int, src tensor.Array, srcStride, n, rows int) {
	if d.typed("CopyColumns", dst, src) {
		size := dst.Type.Bytes()
		d.launch("copy_columns", perRow(rows, n), dst, int64(dstStride*size), src, int64(srcStride*size), int64(n*size))
	}
}

// EmbedBack adds row t of dy to row tokens[t] of the table's gradient, in the order of t.
func (d *Device) EmbedBack(grad, dy tensor.Array, tokens tensor.Ints, width int) {
	const threads = 256
	d.launch(named("embed_back", dy.Type), line(tokens.N, threads), grad, dy, tokens, int32(tokens.N), int32(width))
}

// CombineSlots adds to each row its slots' sorted rows, by rank, times their weights.
func (d *Device) CombineSlots(y, sorted tensor.Array, r *tensor.Routing, width int) {
	d.addSlots("CombineSlots", y, sorted, r.Weights, r, width)
}

// AddSlots adds to each row its slots' sorted rows, by rank.
func (d *Device) AddSlots(y, sorted tensor.Array, r *tensor.Routing, width int) {
	d.addSlots("AddSlots", y, sorted, tensor.Array{}, r, width)
}

func (d *Device) addSlots(operation string, y, sorted, weights tensor.Array, r *tensor.Routing, width int) {
	if d.typed(operation, y, sorted) {
		d.launch(named("add_slots", y.Type), perRow(r.Rows, width), y, sorted, weights, r.Place, int32(r.K), int32(width))
	}
}
