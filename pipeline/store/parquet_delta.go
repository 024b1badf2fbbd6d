package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// deltaBlock is the shape of delta-encoded numbers (Encodings.md, DELTA_BINARY_PACKED).
type deltaBlock struct {
	parts   int   // miniblocks in a block
	perPart int   // numbers in a miniblock
	count   int64 // numbers in all, the first among them
}

// deltaBlockMax bounds the numbers in a block; writers use 128.
const deltaBlockMax = 1 << 20

// deltaHead reads the head of delta-encoded numbers, at most values of them.
func deltaHead(body []byte, values int64) (block deltaBlock, rest []byte, err error) {
	var head [3]uint64
	for i := range head {
		v, k := binary.Uvarint(body)
		if k <= 0 {
			return block, nil, io.ErrUnexpectedEOF
		}
		head[i], body = v, body[k:]
	}
	size, parts, count := head[0], head[1], head[2]
	if size == 0 || size%128 != 0 || size > deltaBlockMax || parts == 0 || size%parts != 0 ||
		size/parts%8 != 0 || count > uint64(values) {
		return block, nil, fmt.Errorf("%d delta-encoded numbers by %d for %d values", count, size, values)
	}
	return deltaBlock{int(parts), int(size / parts), int64(count)}, body, nil
}

// eachDelta decodes delta-encoded numbers and returns what follows them.
func eachDelta(body []byte, values int64, visit func(int64) error) (rest []byte, err error) {
	block, b, err := deltaHead(body, values)
	if err != nil {
		return nil, err
	}
	value, k := binary.Varint(b)
	if k <= 0 {
		return nil, io.ErrUnexpectedEOF
	}
	b = b[k:]
	left := block.count
	if left > 0 {
		left--
		if err := visit(value); err != nil {
			return nil, err
		}
	}
	for left > 0 {
		least, k := binary.Varint(b)
		if k <= 0 || len(b) < k+block.parts {
			return nil, io.ErrUnexpectedEOF
		}
		widths := b[k : k+block.parts]
		b = b[k+block.parts:]
		for _, width := range widths {
			n := min(left, int64(block.perPart))
			size := block.perPart / 8 * int(width)
			switch {
			case n == 0:
				continue
			case width > 64:
				return nil, fmt.Errorf("delta-encoded numbers of %d bits", width)
			case size > len(b):
				return nil, io.ErrUnexpectedEOF
			}
			for i := range int(n) {
				value += least + int64(packedBits(b[:size], i*int(width), int(width)))
				if err := visit(value); err != nil {
					return nil, err
				}
			}
			b, left = b[size:], left-n
		}
	}
	return b, nil
}

// packedBits returns the width bits of b from the given bit on, lowest first.
func packedBits(b []byte, bit, width int) uint64 {
	var v uint64
	for got := 0; got < width; {
		at := bit + got
		v |= uint64(b[at/8]>>(at%8)) << got
		got += 8 - at%8
	}
	if width < 64 {
		v &= 1<<width - 1
	}
	return v
}

// checkDeltaStrings checks the lengths in a page of byte arrays of which lengths and,
// if shared, the bytes in common with the one before are delta-encoded.
func checkDeltaStrings(body []byte, values int64, shared bool) error {
	var prefixes []int64
	rest := body
	var err error
	if shared {
		rest, err = eachDelta(rest, values, func(n int64) error {
			prefixes = append(prefixes, n)
			return nil
		})
		if err != nil {
			return fmt.Errorf("shared lengths: %w", err)
		}
	}
	i, stored, whole, last := 0, int64(0), int64(0), int64(0)
	rest, err = eachDelta(rest, values, func(n int64) error {
		prefix := int64(0)
		if shared {
			if i == len(prefixes) {
				return errors.New("more lengths than shared lengths")
			}
			prefix = prefixes[i]
		}
		if n < 0 || n > int64(len(body)) || prefix < 0 || prefix > last {
			return fmt.Errorf("value %d has %d bytes, %d of them shared", i, n, prefix)
		}
		i, stored, last = i+1, stored+n, prefix+n
		if whole += last; whole > parquetPageBytesMax {
			return fmt.Errorf("values of more than %d bytes", parquetPageBytesMax)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("lengths: %w", err)
	}
	if stored > int64(len(rest)) {
		return fmt.Errorf("values of %d bytes where %d are left", stored, len(rest))
	}
	return nil
}
