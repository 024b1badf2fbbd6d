package store

import (
	"cmp"
	"slices"
)

// The extra column also says where the fields with columns of their own stood in a record,
// and how they were spelled, in whitespace that is of no meaning in JSON: where such a
// field stood, there is a tab, as many spaces as its column's number, from 0, and as many
// line feeds as its spelling's. Without any tab, fields with columns come first, in the
// order of the schema, in the default spelling.

// placement is where a field with a column stood: before that of the extra fields.
type placement struct {
	column, slot int
	spelling     spelling
}

// appendExtra appends extra fields as an object, with the places of the others if these
// are not where they are by default. It appends nothing if there is nothing to say.
func appendExtra(dst []byte, extra []Field, placed []placement) []byte {
	if isDefaultOrder(placed) {
		placed = nil
	}
	if len(extra) == 0 && len(placed) == 0 {
		return dst
	}
	dst = append(dst, '{')
	for i, f := range extra {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst, placed = appendPlaced(dst, placed, i)
		dst = append(appendKey(dst, f), ':')
		dst = append(dst, f.Value...)
	}
	dst, _ = appendPlaced(dst, placed, len(extra))
	return append(dst, '}')
}

// appendKey appends a field's name as it stood in its file.
func appendKey(dst []byte, f Field) []byte {
	if f.RawKey != nil {
		return append(dst, f.RawKey...)
	}
	return AppendQuote(dst, f.Key)
}

func isDefaultOrder(placed []placement) bool {
	for i, p := range placed {
		if p.slot > 0 || p.spelling != (spelling{}) || i > 0 && p.column < placed[i-1].column {
			return false
		}
	}
	return true
}

// appendPlaced appends the marks of the fields of one slot and returns the others.
func appendPlaced(dst []byte, placed []placement, slot int) ([]byte, []placement) {
	for len(placed) > 0 && placed[0].slot == slot {
		dst = append(dst, '\t')
		for range placed[0].column {
			dst = append(dst, ' ')
		}
		for range placed[0].spelling.number() {
			dst = append(dst, '\n')
		}
		placed = placed[1:]
	}
	return dst, placed
}

// readPlaced appends the marks in an object that was split into fields. Text that
// [appendExtra] did not write gives fewer marks, or none.
func readPlaced(dst []placement, text []byte, fields []RawField) []placement {
	at := 1
	for slot := 0; slot <= len(fields); slot++ {
		for at < len(text) && text[at] == '\t' {
			p := placement{slot: slot}
			at++
			for ; at < len(text) && text[at] == ' '; at++ {
				p.column++
			}
			n := 0
			for ; at < len(text) && text[at] == '\n'; at++ {
				n++
			}
			known := false
			if p.spelling, known = spellingOf(n); known {
				dst = append(dst, p)
			}
		}
		if slot == len(fields) {
			break
		}
		f := fields[slot]
		at += len(f.Key) + len(":") + len(f.Value)
		if at > len(text) || string(text[at-len(f.Value):at]) != string(f.Value) {
			break // with other whitespace in it
		}
		if slot < len(fields)-1 {
			at += len(",")
		}
	}
	return dst
}

// placedOf completes the places that a record tells with those of the columns that it
// does not: they come first. Columns that are not there, and repeats, are left out.
func placedOf(dst, told []placement, there func(column int) bool, columns int) []placement {
	known := func(i int) bool {
		return slices.ContainsFunc(told, func(p placement) bool { return p.column == i })
	}
	for i := range columns {
		if !known(i) && there(i) {
			dst = append(dst, placement{column: i})
		}
	}
	first := len(dst)
	for _, p := range told {
		again := slices.ContainsFunc(dst[first:], func(q placement) bool { return q.column == p.column })
		if p.column < columns && !again && there(p.column) {
			dst = append(dst, p)
		}
	}
	slices.SortStableFunc(dst, func(a, b placement) int { return cmp.Compare(a.slot, b.slot) })
	return dst
}
