package tensor

// Embed copies rows of a table.
func (d *CPU) Embed(y, table Array, tokens Ints, width int) {
	for t, id := range tokens.Host {
		copy(y.Host[t*width:(t+1)*width], table.Host[int(id)*width:])
	}
}

// embedBlock is how many columns one task of [CPU.EmbedBack] takes.
const embedBlock = 64

// EmbedBack adds rows to rows of the table's gradient, each task a range of columns, in the order of rows.
func (d *CPU) EmbedBack(grad, dy Array, tokens Ints, width int) {
	d.host.ForBlocks(width, embedBlock, func(from, to int) {
		for t, id := range tokens.Host {
			row := int(id) * width
			d.host.Axpy(grad.Host[row+from:row+to], dy.Host[t*width+from:t*width+to], 1)
		}
	})
}

// GatherRows sets dst[i] = src[ids[i]].
func (d *CPU) GatherRows(dst, src Array, ids Ints, width int) {
	d.host.ForBlocks(ids.N, rowBlock, func(from, to int) {
		for i := from; i < to; i++ {
			copy(dst.Host[i*width:(i+1)*width], src.Host[int(ids.Host[i])*width:])
		}
	})
}

// ScatterRows sets dst[ids[i]] = src[i].
func (d *CPU) ScatterRows(dst, src Array, ids Ints, width int) {
	for i, t := range ids.Host {
		copy(dst.Host[int(t)*width:(int(t)+1)*width], src.Host[i*width:])
	}
}

// columnBlock is how many rows one task of the operations on columns and heads takes.
const columnBlock = 64

// CopyColumns copies the first n columns of rows.
func (d *CPU) CopyColumns(dst Array, dstStride int, src Array, srcStride, n, rows int) {
	d.host.ForBlocks(rows, columnBlock, func(from, to int) {
		for r := from; r < to; r++ {
			copy(dst.Host[r*dstStride:r*dstStride+n], src.Host[r*srcStride:])
		}
	})
}

// Rotate turns pairs by their position's angles.
func (d *CPU) Rotate(x Heads, rows, heads, half, length int, cos, sin Array) {
	d.host.ForBlocks(rows, rowBlock, func(from, to int) {
		for r := from; r < to; r++ {
			at := r % length * half
			for h := range heads {
				v := x.head(r, h)[:2*half]
				d.host.Rotate(v[:half], v[half:], cos.Host[at:at+half], sin.Host[at:at+half])
			}
		}
	})
}

// head is one head of a row, and what comes after it.
func (x Heads) head(row, head int) []float32 { return x.Host[row*x.Stride+head*x.Step:] }

// view is one head of the rows from t on.
func (x Heads) view(t, head int) matrix { return matrix{Data: x.head(t, head), Stride: x.Stride} }

// Deinterleave moves the even values of each head before the odd ones, so that pairs of neighbours become the
// halves that Rotate turns. Products of a query and a key stay what they are.
func (d *CPU) Deinterleave(x Heads, rows, heads, dim int) {
	d.eachHead(x, rows, heads, dim, func(v, buf []float32) {
		for i := range dim / 2 {
			buf[i], buf[dim/2+i] = v[2*i], v[2*i+1]
		}
	})
}

// Interleave is the inverse of Deinterleave.
func (d *CPU) Interleave(x Heads, rows, heads, dim int) {
	d.eachHead(x, rows, heads, dim, func(v, buf []float32) {
		for i := range dim / 2 {
			buf[2*i], buf[2*i+1] = v[i], v[dim/2+i]
		}
	})
}

// eachHead replaces each head of each row by what do leaves in buf.
func (d *CPU) eachHead(x Heads, rows, heads, dim int, do func(v, buf []float32)) {
	d.host.ForBlocks(rows, columnBlock, func(from, to int) {
		buf := d.host.Borrow(dim)
		defer d.host.Return(buf)
		for r := from; r < to; r++ {
			for h := range heads {
				v := x.head(r, h)[:dim]
				do(v, buf)
				copy(v, buf)
			}
		}
	})
}

// JoinKeys makes keys of heads' own values and of a part for all heads.
func (d *CPU) JoinKeys(k, kv Array, shared Heads, l LatentShape) {
	d.host.ForBlocks(l.Rows, rowBlock, func(from, to int) {
		for r := from; r < to; r++ {
			for h := range l.Heads {
				key := k.Host[(r*l.Heads+h)*l.QK():][:l.QK()]
				copy(key[:l.Nope], kv.Host[(r*l.Heads+h)*l.KV():])
				copy(key[l.Nope:], shared.head(r, 0))
			}
		}
	})
}

// SplitKeys is the derivative of JoinKeys.
func (d *CPU) SplitKeys(dkv Array, dshared Heads, dk Array, l LatentShape) {
	d.host.ForBlocks(l.Rows, rowBlock, func(from, to int) {
		for r := from; r < to; r++ {
			shared := dshared.head(r, 0)[:l.Rope]
			clear(shared)
			for h := range l.Heads {
				key := dk.Host[(r*l.Heads+h)*l.QK():][:l.QK()]
				copy(dkv.Host[(r*l.Heads+h)*l.KV():][:l.Nope], key)
				d.host.Axpy(shared, key[l.Nope:], 1)
			}
		}
	})
}
