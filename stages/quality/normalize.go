package quality

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// NormalizeOptions says which edits [Normalize] makes. Whatever they are, bytes that are
// not UTF-8 become U+FFFD, one each.
type NormalizeOptions struct {
	NFC            bool // compose to Unicode normalisation form C
	LineEndings    bool // CRLF, CR, VT, FF, NEL, U+2028 and U+2029 become "\n"
	Controls       bool // other control characters (category Cc) but "\n" and "\t" are removed
	ZeroWidth      bool // invisible characters are removed; see [Normalize]
	Spaces         bool // white space of category Zs, such as U+00A0, becomes " "
	TrailingSpaces bool // " " and "\t" before a "\n" or the end are removed
	BlankLines     bool // three or more "\n" in a row become two
	Trim           bool // " ", "\t" and "\n" at both ends of the text are removed
}

// NormalizeAll returns the options with every edit on.
func NormalizeAll() NormalizeOptions {
	return NormalizeOptions{true, true, true, true, true, true, true, true}
}

// Edits counts what [Normalize] changed, in the unit that each field says.
type Edits struct {
	InvalidBytes   int // bytes replaced by U+FFFD
	Composed       int // stretches between normalisation boundaries that NFC changed
	LineEndings    int // line ends written otherwise than "\n"
	Controls       int // control characters removed
	ZeroWidth      int // invisible characters removed
	Spaces         int // spaces replaced by " "
	TrailingSpaces int // spaces and tabs removed before a line's end
	BlankLines     int // newlines removed from runs of three or more
	Trimmed        int // characters removed at the ends of the text
}

// Changed reports whether there was any edit.
func (e Edits) Changed() bool { return e != Edits{} }

// Add adds the counts of other to e.
func (e *Edits) Add(other Edits) {
	e.InvalidBytes += other.InvalidBytes
	e.Composed += other.Composed
	e.LineEndings += other.LineEndings
	e.Controls += other.Controls
	e.ZeroWidth += other.ZeroWidth
	e.Spaces += other.Spaces
	e.TrailingSpaces += other.TrailingSpaces
	e.BlankLines += other.BlankLines
	e.Trimmed += other.Trimmed
}

// Normalize returns text with the edits of opts made, and their counts. If there is nothing
// to edit it returns text itself and copies nothing; else the result is in dst's memory,
// whose content is overwritten, or in new memory if that is too short. dst and text must not
// overlap. Normalising a second time changes nothing.
//
// ZeroWidth removes U+00AD (soft hyphen), U+200B, U+2060 to U+2064, U+FEFF (byte order mark)
// and the controls of text direction U+061C, U+200E, U+200F, U+202A to U+202E and U+2066 to
// U+206F. The joiners U+200C and U+200D are part of the spelling of Persian and of Indic
// scripts and of emoji: one is kept after a character from U+0590 on, U+1E00 to U+214F
// excepted, with the marks that follow it; they are removed elsewhere.
//
// NFC is that of golang.org/x/text, which keeps text stream-safe (Unicode Standard Annex 15,
// section 13): in a run of more than 30 combining marks it inserts U+034F.
func Normalize(dst, text []byte, opts NormalizeOptions) ([]byte, Edits) {
	if isClean(text) {
		return text, Edits{}
	}
	e := editor{opts: opts, in: text, out: dst[:0]}
	e.run()
	if opts.NFC {
		e.compose()
	}
	if !e.edits.Changed() {
		return text, e.edits
	}
	return e.out, e.edits
}

// isClean reports whether text surely needs no edit under any options. It may say no to
// a text that needs none.
func isClean(text []byte) bool {
	if len(text) == 0 {
		return true
	}
	if isBlank(text[0]) || isBlank(text[len(text)-1]) {
		return false
	}
	ascii := true
	for i := 0; i < len(text); {
		if i += printableRun(text[i:]); i == len(text) {
			break
		}
		switch c := text[i]; {
		case c == '\t':
			i++
		case c == '\n': // the first byte is none, so there is one before
			before := text[i-1]
			if before == ' ' || before == '\t' || before == '\n' && text[i-2] == '\n' {
				return false
			}
			i++
		case c < utf8.RuneSelf:
			return false
		default:
			r, size := utf8.DecodeRune(text[i:])
			if size == 1 || actionOf(r) != actNone {
				return false
			}
			ascii = false
			i += size
		}
	}
	return ascii || norm.NFC.IsNormal(text)
}

// isBlank reports whether c is what Trim removes.
func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' }

// printableRun returns the length of the run of bytes from 0x20 to 0x7e that b starts with.
func printableRun(b []byte) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; n+8 <= len(b); n += 8 {
		// A byte's high bit survives where it is set already, below 0x20 or 0x7f. Borrows go
		// upwards only from a byte that is itself marked, so that the lowest mark is true.
		x := binary.LittleEndian.Uint64(b[n:])
		if marks := (x | (x - 0x20*ones) | (x + ones)) & high; marks != 0 {
			return n + bits.TrailingZeros64(marks)/8
		}
	}
	for n < len(b) && b[n] >= 0x20 && b[n] < 0x7f {
		n++
	}
	return n
}

// action is what an editor may do with a character.
type action uint8

const (
	actNone action = iota
	actLineEnd
	actControl
	actInvisible
	actJoiner
	actSpace
)

// actionOf returns what the options may demand for r, other than "\n", "\t" and " ".
func actionOf(r rune) action {
	switch {
	case r < 0x20 || r >= 0x7f && r <= 0xa0 || r == 0xad:
		switch r {
		case '\n', '\t':
			return actNone
		case '\r', '\v', '\f', 0x85:
			return actLineEnd
		case 0xa0:
			return actSpace
		case 0xad:
			return actInvisible
		}
		return actControl
	case r < 0x61c:
		return actNone
	case r == 0x2028 || r == 0x2029:
		return actLineEnd
	case r == 0x200c || r == 0x200d:
		return actJoiner
	case r == 0x61c, r >= 0x200b && r <= 0x200f, r >= 0x202a && r <= 0x202e,
		r >= 0x2060 && r <= 0x206f && r != 0x2065, r == 0xfeff:
		return actInvisible
	case r == 0x1680, r >= 0x2000 && r <= 0x200a, r == 0x202f, r == 0x205f, r == 0x3000:
		return actSpace
	}
	return actNone
}

// editor is one run of [Normalize].
type editor struct {
	opts  NormalizeOptions
	in    []byte
	out   []byte
	edits Edits

	base  rune // the last character of out[:scanned] that is no mark, 0 if there is none
	based int  // len(out) when base was found
}

// run makes every edit but NFC.
func (e *editor) run() {
	for i := 0; i < len(e.in); {
		if len(e.out) > 0 || !e.opts.Trim || e.in[i] != ' ' {
			n := printableRun(e.in[i:])
			e.out = append(e.out, e.in[i:i+n]...)
			if i += n; i == len(e.in) {
				break
			}
		}
		r, size := utf8.DecodeRune(e.in[i:])
		if r == utf8.RuneError && size == 1 {
			e.edits.InvalidBytes++
		}
		if r == '\r' && e.opts.LineEndings && i+1 < len(e.in) && e.in[i+1] == '\n' {
			size = 2
		}
		e.character(r)
		i += size
	}
	if e.opts.TrailingSpaces {
		e.trimBack(" \t", &e.edits.TrailingSpaces)
	}
	if e.opts.Trim {
		e.trimBack(" \t\n", &e.edits.Trimmed)
	}
}

// character edits one character of the input.
func (e *editor) character(r rune) {
	switch act := actionOf(r); {
	case act == actLineEnd && e.opts.LineEndings:
		r = '\n'
		e.edits.LineEndings++
	case act == actControl && e.opts.Controls:
		e.edits.Controls++
		return
	case act == actInvisible && e.opts.ZeroWidth, act == actJoiner && e.opts.ZeroWidth && !e.joins():
		e.edits.ZeroWidth++
		return
	case act == actSpace && e.opts.Spaces:
		r = ' '
		e.edits.Spaces++
	}
	if e.opts.Trim && len(e.out) == 0 && (r == ' ' || r == '\t' || r == '\n') {
		e.edits.Trimmed++
		return
	}
	if r == '\n' {
		if e.opts.TrailingSpaces {
			e.trimBack(" \t", &e.edits.TrailingSpaces)
		}
		if e.opts.BlankLines && bytes.HasSuffix(e.out, []byte("\n\n")) {
			e.edits.BlankLines++
			return
		}
	}
	e.out = utf8.AppendRune(e.out, r)
}

// trimBack removes the bytes of cutset from the end of the output and counts them.
func (e *editor) trimBack(cutset string, count *int) {
	kept := bytes.TrimRight(e.out, cutset)
	*count += len(e.out) - len(kept)
	e.out = kept
}

// joins reports whether a joiner after the output so far has a meaning. It looks back for
// the last character that is no mark, and only over what it has not looked at before.
func (e *editor) joins() bool {
	e.based = min(e.based, len(e.out))
	for end := len(e.out); end > e.based; {
		r, size := utf8.DecodeLastRune(e.out[:end])
		if end -= size; !unicode.Is(unicode.M, r) {
			e.base = r
			break
		}
	}
	e.based = len(e.out)
	return joinable(e.base)
}

// joinable reports whether a joiner may follow r. If it may, it also may follow what NFC
// makes of r and its marks, so that a joiner which is kept once is kept again.
func joinable(r rune) bool { return r >= 0x590 && (r < 0x1e00 || r > 0x214f) }

// compose brings the output to NFC. Stretches between boundaries compose independently.
func (e *editor) compose() {
	if norm.NFC.IsNormal(e.out) {
		return
	}
	src, out := e.out, make([]byte, 0, len(e.out))
	for len(src) > 0 {
		n := norm.NFC.QuickSpan(src)
		out, src = append(out, src[:n]...), src[n:]
		out, n = e.composeSome(out, src)
		src = src[n:]
	}
	e.out = out
}

// composeSome appends the NFC of the beginning of src, up to where a number of stretches in a
// row were in NFC already, so that skipping by QuickSpan pays again. It returns the length of
// that beginning, at least 1 unless src is empty.
func (e *editor) composeSome(out, src []byte) ([]byte, int) {
	const unchangedMax = 16
	var it norm.Iter
	it.Init(norm.NFC, src)
	for unchanged := 0; !it.Done() && unchanged < unchangedMax; unchanged++ {
		from := it.Pos()
		stretch := it.Next()
		if !bytes.Equal(stretch, src[from:it.Pos()]) {
			e.edits.Composed++
			unchanged = 0
		}
		out = append(out, stretch...)
	}
	return out, it.Pos()
}
