package tokenize

import (
	"cmp"
	"math/bits"
	"slices"
)

// Limits of the buffer of best-fit, in tokens, sequences and pieces. They bound its memory
// by 16 MiB of tokens, or 64 sequences where those are more, and the entries of 65536 pieces.
const (
	fitTokensMin    = 1 << 22
	fitSequencesMin = 64
	fitPiecesMax    = 1 << 16
)

// bestFit is the buffer of the packing best-fit. When it is full, its pieces are laid out
// from the longest to the shortest, of equal ones the earlier first, each into the sequence in
// which it leaves the least room, of equal ones the sequence that came to that room last; then
// all sequences are emitted in the order of their earliest piece. Where many documents are
// short, little room is left: best-fit-decreasing needs at most 11/9 of the best number of
// sequences, plus one (Johnson 1973).
type bestFit struct {
	length    int
	tokensMax int
	pieces    []fitPiece
	tokens    []int32 // of all pieces
	masked    []bool
	flagged   bool // some piece has a mask

	room []int32   // of each open sequence
	bins [][]int32 // its pieces
	// byRoom lists the open sequences by room; bit i of has tells whether byRoom[i] has one.
	byRoom map[int32][]int32
	has    []uint64
}

// fitPiece is a document, or a part of one that is longer than a sequence.
type fitPiece struct {
	info     DocumentInfo
	start, n int // of its tokens in the buffer
	from     int // position in the document
}

func newBestFit(length int) *bestFit {
	return &bestFit{length: length, tokensMax: max(fitTokensMin, fitSequencesMin*length),
		byRoom: map[int32][]int32{}, has: make([]uint64, length/64+1)}
}

func (b *bestFit) full() bool {
	return len(b.tokens) >= b.tokensMax || len(b.pieces) >= fitPiecesMax
}

// add copies tokens from:end of a document into the buffer.
func (b *bestFit) add(d Document, from, end int) {
	b.pieces = append(b.pieces, fitPiece{d.DocumentInfo, len(b.tokens), end - from, from})
	b.tokens = append(b.tokens, d.Tokens[from:end]...)
	if d.Masked != nil {
		b.masked, b.flagged = append(b.masked, d.Masked[from:end]...), true
	} else {
		b.masked = append(b.masked, make([]bool, end-from)...)
	}
}

// document is a piece as the packer places one: its tokens from 0 to n.
func (b *bestFit) document(p fitPiece) Document {
	d := Document{DocumentInfo: p.info, Tokens: b.tokens[p.start : p.start+p.n]}
	if b.flagged {
		d.Masked = b.masked[p.start : p.start+p.n]
	}
	return d
}

// layOut returns the pieces of each sequence.
func (b *bestFit) layOut() [][]int32 {
	order := make([]int32, len(b.pieces))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(x, y int32) int {
		return cmp.Or(cmp.Compare(b.pieces[y].n, b.pieces[x].n), cmp.Compare(x, y))
	})
	for _, i := range order {
		n := b.pieces[i].n
		bin := b.take(n)
		if bin < 0 {
			bin = int32(len(b.bins))
			b.bins, b.room = append(b.bins, nil), append(b.room, int32(b.length))
		}
		b.bins[bin] = append(b.bins[bin], i)
		b.room[bin] -= int32(n)
		b.put(bin)
	}
	slices.SortFunc(b.bins, func(x, y []int32) int { return cmp.Compare(slices.Min(x), slices.Min(y)) })
	return b.bins
}

// take removes the open sequence with the least room for n tokens, or returns −1.
func (b *bestFit) take(n int) int32 {
	for w := n / 64; w < len(b.has); w++ {
		set := b.has[w]
		if w == n/64 {
			set &= ^uint64(0) << (n % 64)
		}
		if set == 0 {
			continue
		}
		room := int32(w*64 + bits.TrailingZeros64(set))
		list := b.byRoom[room]
		bin := list[len(list)-1]
		b.byRoom[room] = list[:len(list)-1]
		if len(list) == 1 {
			b.has[w] &^= 1 << (room % 64)
		}
		return bin
	}
	return -1
}

func (b *bestFit) put(bin int32) {
	if room := b.room[bin]; room > 0 {
		b.byRoom[room] = append(b.byRoom[room], bin)
		b.has[room/64] |= 1 << (room % 64)
	}
}

// reset empties the buffer.
func (b *bestFit) reset() {
	b.pieces, b.tokens, b.masked, b.flagged = b.pieces[:0], b.tokens[:0], b.masked[:0], false
	b.room, b.bins = b.room[:0], b.bins[:0]
	clear(b.byRoom)
	clear(b.has)
}

// addFitted cuts full sequences off a document that is longer than one, and holds the rest
// back until the buffer is full.
func (p *Packer) addFitted(d Document) error {
	length, from := p.opt.SequenceLength, d.Start
	if len(d.Tokens)-from > length {
		p.stats.Split++
	}
	for ; len(d.Tokens)-from >= length; from += length {
		p.place(d, from, from+length)
		if err := p.flush(); err != nil {
			return err
		}
	}
	if from < len(d.Tokens) {
		p.fit.add(d, from, len(d.Tokens))
	}
	if !p.fit.full() {
		return nil
	}
	return p.packBuffer()
}

// packBuffer lays the buffer out and emits its sequences.
func (p *Packer) packBuffer() error {
	for _, bin := range p.fit.layOut() {
		for _, i := range bin {
			piece := p.fit.pieces[i]
			p.place(p.fit.document(piece), 0, piece.n)
			p.seq.Segments[len(p.seq.Segments)-1].From = piece.from
		}
		if err := p.flush(); err != nil {
			return err
		}
	}
	p.fit.reset()
	return nil
}
