package sample

import (
	"fmt"
	"strconv"

	"bzdata/dedup"
	"bzdata/tokenize/words"
)

// row is one row of the corpus, made.
type row struct {
	kind    Kind
	variant string // of a malformed row or a leak
	of      string // FILE:ROW of the original
	edits   int    // words edited
	// question and answer are valid until the next row.
	question, answer []byte
}

// shingleWords is the size of shingles by which the truth states similarity.
const shingleWords = 5

// maker makes rows. It is used by one goroutine.
type maker struct {
	c         *corpus
	problems  *problemMaker
	topics    [2][][]pattern // prose, numbers
	notices   []pattern
	drills    []pattern
	stories   []pattern
	quotation []pattern
	spare     [][]pattern // lists that edits draw words from
	spans     [][2]int
	row       row
	buf       [2][]byte
	scene     scene // empty
}

func newMaker(c *corpus) *maker {
	m := &maker{c: c, problems: newProblemMaker(c.g), notices: c.g.list("boilerplate"),
		drills: c.g.list("drill"), stories: c.g.list("story"), quotation: c.g.list("quotation")}
	for i := range 10 {
		m.topics[0] = append(m.topics[0], c.g.list(fmt.Sprintf("prose.%d", i)))
	}
	for i := range 8 {
		m.topics[1] = append(m.topics[1], c.g.list(fmt.Sprintf("numbers.%d", i)))
	}
	for _, name := range []string{"thing", "adjective", "how", "site", "first_f", "place_name"} {
		m.spare = append(m.spare, c.g.list(name))
	}
	return m
}

// make returns row i, valid until the next call.
func (m *maker) make(i int64) *row {
	c := m.c
	m.row = row{kind: c.kind(i)}
	r := newRNG(c.seed, streamFault, i)
	switch m.row.kind {
	case Prose:
		m.prose(0, r)
	case Numbers:
		m.prose(1, r)
	case Boilerplate:
		m.boilerplate(r)
	case ExactCopy, NearCopy:
		j := c.original(i)
		f, at := c.place(j)
		m.row.of = f.name + ":" + strconv.FormatInt(at, 10)
		m.problem(streamRow, j)
		if m.row.kind == NearCopy {
			m.edit(r)
		}
	case Leak:
		m.leak(r)
	default: // clean, malformed
		m.problem(streamRow, i)
		if m.row.kind == Malformed {
			m.row.variant = malformations()[r.below(4)]
			if f, _ := c.place(i); f.parquet() {
				m.row.variant = missingField
			}
		}
	}
	return &m.row
}

// problem makes a problem of a stream.
func (m *maker) problem(stream uint32, index int64) {
	m.problems.make(newRNG(m.c.seed, stream, index))
	m.row.question, m.row.answer = m.problems.question, m.problems.answer
}

// sentences appends n sentences of a list to dst, none the pattern of the one before.
func (m *maker) sentences(dst []byte, list []pattern, n int, r *rng) []byte {
	last := -1
	for range n {
		at := r.below(len(list))
		if at == last {
			at = (at + 1) % len(list)
		}
		last = at
		if len(dst) > 0 {
			dst = append(dst, ' ')
		}
		dst = m.c.g.render(dst, list[at], r, &m.scene)
	}
	return dst
}

// prose makes text on one topic, cut in two at a sentence.
func (m *maker) prose(style int, r *rng) {
	list := m.topics[style][r.below(len(m.topics[style]))]
	m.buf[0] = m.sentences(m.buf[0][:0], list, r.between(2, 4), r)
	m.buf[1] = m.sentences(m.buf[1][:0], list, r.between(3, 7), r)
	m.row.question, m.row.answer = m.buf[0], m.buf[1]
}

func (m *maker) boilerplate(r *rng) {
	line := m.c.g.one(m.buf[0][:0], m.notices, r, &m.scene)
	m.buf[0] = line
	for i, b := range line {
		if b == '|' && i > 0 && line[i-1] != ' ' {
			m.row.question, m.row.answer = line[:i], line[i+1:]
			return
		}
	}
	m.row.question, m.row.answer = line, nil
}

// leak makes a held-out problem, or a piece of prose that quotes one.
func (m *maker) leak(r *rng) {
	h := int64(r.below(int(m.c.heldOut)))
	m.row.of = heldOutFile + ":" + strconv.FormatInt(h, 10)
	m.problem(streamHeldOut, h)
	if r.below(2) == 0 {
		m.row.variant = "whole"
		return
	}
	m.row.variant = "quoted"
	m.spans = fields(m.spans[:0], m.row.question)
	n := r.between(quoteWordsMin, min(40, len(m.spans)))
	from := r.below(len(m.spans) - n + 1)
	quote := m.row.question[m.spans[from][0]:m.spans[from+n-1][1]]
	list := m.topics[0][r.below(len(m.topics[0]))]
	m.buf[0] = m.sentences(m.buf[0][:0], list, r.between(1, 3), r)
	b := append(m.sentences(m.buf[1][:0], list, 1, r), ' ')
	b = append(append(m.c.g.one(b, m.quotation, r, &m.scene), ` "`...), quote...)
	m.buf[1] = m.sentences(append(b, `".`...), list, r.between(1, 3), r)
	m.row.question, m.row.answer = m.buf[0], m.buf[1]
}

// quoteWordsMin is the shortest quotation, in words between spaces.
const quoteWordsMin = 13

// fields appends the spans of text between spaces and line ends that hold a letter or a
// digit: each has at least one word of package words.
func fields(dst [][2]int, text []byte) [][2]int {
	from, word := 0, false
	for i, b := range text {
		if b != ' ' && b != '\n' {
			word = word || b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'z'
			continue
		}
		if word {
			dst = append(dst, [2]int{from, i})
		}
		from, word = i+1, false
	}
	if word {
		dst = append(dst, [2]int{from, len(text)})
	}
	return dst
}

// edit replaces, deletes and inserts 1 to 8 % of the words, more often few than many.
func (m *maker) edit(r *rng) {
	m.spans = fields(m.spans[:0], m.row.question)
	inQuestion := len(m.spans)
	all := len(fields(m.spans, m.row.answer))
	way := r.below(1000)          // from 1 % to 8 %, per mille, before squaring
	rate := 1000 + 7*way*way/1000 // in 1/100,000
	m.row.edits = max(1, (all*rate+50_000)/100_000)
	// The words to edit are the first ones of a shuffle, told by a threshold of selection
	// sampling (Knuth, The Art of Computer Programming 2, algorithm 3.4.2S).
	left := m.row.edits
	m.buf[0], left = m.editPart(m.buf[0][:0], m.row.question, left, all, r)
	m.buf[1], _ = m.editPart(m.buf[1][:0], m.row.answer, left, all-inQuestion, r)
	m.row.question, m.row.answer = m.buf[0], m.buf[1]
}

// editPart copies src to dst with some of its words edited: left of the next all words,
// those of src first. It returns how many are left to edit after src.
func (m *maker) editPart(dst, src []byte, left, all int, r *rng) ([]byte, int) {
	m.spans = fields(m.spans[:0], src)
	at := 0
	for i, span := range m.spans {
		dst = append(dst, src[at:span[0]]...)
		at = span[1]
		word := src[span[0]:span[1]]
		if r.below(all-i) >= left {
			dst = append(dst, word...)
			continue
		}
		left--
		switch r.below(3) {
		case 0: // replace
			from := len(dst)
			for dst = m.spareWord(dst, r); string(dst[from:]) == string(word); {
				dst = m.spareWord(dst[:from], r)
			}
		case 1: // delete, with the space before it
			if n := len(dst); n > 0 && dst[n-1] == ' ' {
				dst = dst[:n-1]
			}
		case 2: // insert
			dst = m.spareWord(append(append(dst, word...), ' '), r)
		}
	}
	return append(dst, src[at:]...), left
}

func (m *maker) spareWord(dst []byte, r *rng) []byte {
	return m.c.g.one(dst, m.spare[r.below(len(m.spare))], r, &m.scene)
}

// general appends a document for the base model: of twenty, eight are prose, seven prose
// of numbers, four stories and one drill. The last two have the problems' words, not
// their sentences.
func (m *maker) general(dst []byte, index int64) []byte {
	r := newRNG(m.c.seed, streamGeneral, index)
	list := m.drills
	switch pick := r.below(20); {
	case pick < 8:
		list = m.topics[0][r.below(len(m.topics[0]))]
	case pick < 15:
		list = m.topics[1][r.below(len(m.topics[1]))]
	case pick < 19:
		list = m.stories
	}
	return m.sentences(dst, list, r.between(4, 9), r)
}

// similarity returns the Jaccard similarity of two texts by shingles of words.
func similarity(a, b []byte) float64 {
	shingles := func(text []byte) []uint64 {
		return dedup.Distinct(dedup.Shingles(nil, words.AppendHashes(nil, text), shingleWords))
	}
	return dedup.Jaccard(shingles(a), shingles(b))
}
