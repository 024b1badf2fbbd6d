package tokenize

import (
	"encoding/base64"
	"encoding/binary"
	"sync"
	"unicode"
	"unicode/utf8"

	"bzdata/tokenize/match"
)

// precompiled is Precompiled, the character map of SentencePiece: a double array over
// bytes whose values are places in a list of replacements, each with a zero byte behind it.
type precompiled struct {
	units        []uint32
	replacements string
}

// parseCharsmap reads the base64 text of a precompiled_charsmap: the size of the double
// array in bytes, that, and the replacements.
func parseCharsmap(v value) (precompiled, error) {
	var p precompiled
	text, err := v.text()
	if err != nil {
		return p, err
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return p, v.errorf("is no base64: %v", err)
	}
	if len(data) < 4 {
		return p, v.errorf("has %d bytes, too few for a character map", len(data))
	}
	size, data := binary.LittleEndian.Uint32(data), data[4:]
	if uint64(size) > uint64(len(data)) || size < 4 || size%4 != 0 {
		return p, v.errorf("has %d bytes for a double array of %d", len(data), size)
	}
	for ; size > 0; size -= 4 {
		p.units, data = append(p.units, binary.LittleEndian.Uint32(data)), data[4:]
	}
	if p.replacements = string(data); !utf8.ValidString(p.replacements) {
		return p, v.errorf("has replacements that are not UTF-8")
	}
	return p, nil
}

// A unit of the double array has a label in its lowest byte, a leaf flag in bit 8, and the
// offset of its children in bits 10 to 30, times 256 if bit 9 is set. A leaf's unit is its value.

func unitOffset(u uint32) uint32 { return u >> 10 << (u & (1 << 9) >> 6) }

// find returns the replacement of the shortest beginning of text that has one.
func (p precompiled) find(text string) (string, bool) {
	at := unitOffset(p.units[0])
	for i := range len(text) {
		if text[i] == 0 {
			break
		}
		if at ^= uint32(text[i]); uint64(at) >= uint64(len(p.units)) {
			break
		}
		unit := p.units[at]
		if unit&(1<<31|0xFF) != uint32(text[i]) {
			break
		}
		at ^= unitOffset(unit)
		if unit>>8&1 != 0 && uint64(at) < uint64(len(p.units)) {
			return p.replacement(p.units[at] & (1<<31 - 1))
		}
	}
	return "", false
}

func (p precompiled) replacement(from uint32) (string, bool) {
	if uint64(from) > uint64(len(p.replacements)) {
		return "", false
	}
	out := p.replacements[from:]
	for i := range len(out) {
		if out[i] == 0 {
			return out[:i], true
		}
	}
	return out, true
}

// clusterBytesMax is the size of the largest grapheme cluster that is looked up as a whole.
const clusterBytesMax = 5

func (p precompiled) normalize(s stretch) stretch {
	var out []change
	changed := false
	put := func(i, j int) bool {
		to, ok := p.find(s.text[i:j])
		if ok {
			out = spreadOver(out, s.text[i:j], to)
		}
		changed = changed || ok
		return ok
	}
	for i := 0; i < len(s.text); {
		end := clusterEnd(s.text, i)
		if end-i <= clusterBytesMax && put(i, end) {
			i = end
			continue
		}
		for i < end {
			r, n := utf8.DecodeRuneInString(s.text[i:])
			if !put(i, i+n) {
				out = append(out, change{r, 0})
			}
			i += n
		}
	}
	if !changed {
		return s
	}
	w := rewrite(s)
	w.transform(0, len(s.text), out)
	return w.done()
}

// spreadOver appends the new text and says which characters of the old it stands for. What
// leaves nothing behind goes with the character before it; if there is none, the places of
// all that follows are off by it, as in the library.
func spreadOver(out []change, old, text string) []change {
	at := len(out)
	for _, r := range text {
		out = append(out, change{r, 0})
	}
	more := len(out) - at - utf8.RuneCountInString(old)
	for i := len(out) - max(more, 0); i < len(out); i++ {
		out[i].by = 1
	}
	if more < 0 && len(out) > 0 {
		out[len(out)-1].by += more
	}
	return out
}

// Classes of grapheme clusters (UAX #29) in Unicode 17.0.
var (
	clusterControl = sync.OnceValue(func() *match.Class {
		return match.ClassOf(func(r rune) bool {
			control := unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Cf)
			return control && !clusterExtend().Has(r) && !unicode.Is(clusterPrepend, r) || unicode.Is(laterControls, r)
		})
	})
	// clusterExtend has what joins the character before it: marks, joiners, skin tones.
	clusterExtend = sync.OnceValue(func() *match.Class {
		return match.ClassOf(func(r rune) bool {
			mark := unicode.In(r, unicode.Mn, unicode.Me, unicode.Mc, unicode.Other_Grapheme_Extend)
			return (mark || r == 0x200D || 0x1F3FB <= r && r <= 0x1F3FF || unicode.Is(laterExtenders, r)) &&
				!unicode.Is(separateMarks, r)
		})
	})
	clusterPrepend = spans(
		0x600, 0x605, 0x6DD, 0x6DD, 0x70F, 0x70F, 0x890, 0x891, 0x8E2, 0x8E2, 0xD4E, 0xD4E, 0x110BD, 0x110BD,
		0x110CD, 0x110CD, 0x111C2, 0x111C3, 0x113D1, 0x113D1, 0x1193F, 0x1193F, 0x11941, 0x11941, 0x11A84, 0x11A89,
		0x11D46, 0x11D46, 0x11F02, 0x11F02,
	)
	laterControls = spans(
		0x2065, 0x2065, 0xFFF0, 0xFFF8, 0xE0000, 0xE0000, 0xE0002, 0xE001F, 0xE0080, 0xE00FF, 0xE01F0, 0xE0FFF,
	)
	laterExtenders = spans(
		0x897, 0x897, 0xE33, 0xE33, 0xEB3, 0xEB3, 0x1ACF, 0x1ADD, 0x1AE0, 0x1AEB, 0x10D69, 0x10D6D, 0x10EFA, 0x10EFC,
		0x113B8, 0x113C0, 0x113C2, 0x113C2, 0x113C5, 0x113C5, 0x113C7, 0x113CA, 0x113CC, 0x113D0, 0x113D2, 0x113D2,
		0x113E1, 0x113E2, 0x11B60, 0x11B67, 0x11F5A, 0x11F5A, 0x1611E, 0x1612F, 0x1E5EE, 0x1E5EF, 0x1E6E3, 0x1E6E3,
		0x1E6E6, 0x1E6E6, 0x1E6EE, 0x1E6EF, 0x1E6F5, 0x1E6F5,
	)
	// separateMarks are the marks with a width that begin a cluster.
	separateMarks = spans(
		0x102B, 0x102C, 0x1038, 0x1038, 0x1062, 0x1064, 0x1067, 0x106D, 0x1083, 0x1083, 0x1087, 0x108C, 0x108F, 0x108F,
		0x109A, 0x109C, 0x1A61, 0x1A61, 0x1A63, 0x1A64, 0xAA7B, 0xAA7B, 0xAA7D, 0xAA7D, 0x11720, 0x11721,
	)
)

// clusterEnd returns the end of the grapheme cluster at text[i]. Hangul letters, flags, emoji
// and Indic conjuncts are not joined: such clusters are larger than clusterBytesMax, and their
// parts are looked up one by one in either case.
func clusterEnd(text string, i int) int {
	r, n := utf8.DecodeRuneInString(text[i:])
	i += n
	if r < 0x80 && (i == len(text) || text[i] < 0x80) && r != '\r' {
		return i
	}
	if r == '\r' && i < len(text) && text[i] == '\n' {
		return i + 1
	}
	if clusterControl().Has(r) {
		return i
	}
	for unicode.Is(clusterPrepend, r) && i < len(text) {
		next, n := utf8.DecodeRuneInString(text[i:])
		if clusterControl().Has(next) {
			return i
		}
		r, i = next, i+n
	}
	return clusterExtend().Run(text, i)
}
