package cuda

import "bzdata/train/tensor"

// perRow is the shape of a launch with a block for each row, of threads for its width.
func perRow(rows, width int) dims { return line(rows, rowThreads(width)) }

// rowThreads is how many threads take four values each of a row, in whole warps.
func rowThreads(width int) int { return min(512, max(1, ceil(width, 4*32))*32) }

// RMSNorm sets each row y = x * w / √(mean(x²)+ε) of width w.N, and its factor inverse[row].
func (d *Device) RMSNorm(y, inverse, x, w tensor.Array, epsilon float64) {
	if d.typed("RMSNorm", y, x, w) {
		d.launch(named("rms_norm", x.Type), perRow(inverse.N, w.N), y, inverse, x, w, int32(w.N), epsilon)
	}
}

// RMSNormBack adds the derivative of RMSNorm for dy to dx, and to dw. Either may be none.
func (d *Device) RMSNormBack(dx, dw, dy, x, w, inverse tensor.Array) {
	if !d.typed("RMSNormBack", dy, x, w, dx) {
		return
	}
	if !dx.None() {
		d.launch(named("rms_norm_back", x.Type), perRow(inverse.N, w.N), dx, dy, x, w, inverse, int32(w.N))
	}
	if !dw.None() {
		d.sumRows(dw, dy, x, inverse, inverse.N)
	}
}

// SumRows adds the sum of y's rows to a row in F32.
func (d *Device) SumRows(row, y tensor.Array) {
	d.sumRows(row, y, tensor.Array{}, tensor.Array{}, y.N/row.N)
}

// sumRows adds the sum of dy's rows, or of dy*x*inverse, to a row: first of blocks of rows, then of those.
func (d *Device) sumRows(row, dy, x, inverse tensor.Array, rows int) {
	const threads, blockRows = 128, 128 // blockRows is ROWS of norm.cu
	n, blocks := row.N, ceil(rows, blockRows)
	if blocks == 0 {
		return
	}
	parts := d.Borrow(tensor.F32, blocks*n)
	defer d.Return(parts)
	d.launch(named("sum_rows", dy.Type), plane(blocks, ceil(n, threads), threads), parts, dy, x, inverse, int32(n), int32(rows))
	d.launch("add_parts", line(ceil(n, threads), threads), row, parts, int32(n), int32(blocks))
}

// AddRow adds a row, such as a bias, to each row of y.
func (d *Device) AddRow(y, row tensor.Array) {
	if d.typed("AddRow", y, row) {
		d.launch(named("add_row", y.Type), perRow(y.N/row.N, row.N), y, row, int32(row.N))
	}
}
