package tokenize

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync"
	"unicode"
	"unicode/utf8"
	"unsafe"
)

// Pattern names a rule that cuts text into pieces before byte-pair merging; no
// merge crosses a piece. Each is the hand-written equal of the regular expressions
// that [Pattern.Regexes] returns. Bytes that are not UTF-8 count as symbols.
type Pattern string

const (
	// PatternGPT2 is the pattern of GPT-2, which a ByteLevel pre-tokenizer with
	// use_regex applies.
	PatternGPT2 Pattern = "gpt2"
	// PatternCL100K is the pattern of cl100k_base (GPT-4) and Llama 3.
	PatternCL100K Pattern = "cl100k"
	// PatternQwen2 is cl100k with single digits: Qwen2, Qwen2.5 and Qwen3.
	PatternQwen2 Pattern = "qwen2"
	// PatternO200K is the pattern of o200k_base (GPT-4o, gpt-oss).
	PatternO200K Pattern = "o200k"
	// PatternTekken is o200k with single digits and no contractions: Mistral's since 2024.
	PatternTekken Pattern = "tekken"
	// PatternDeepSeekV3 is the pattern of DeepSeek V3 and R1: three expressions, one after
	// the other.
	PatternDeepSeekV3 Pattern = "deepseek-v3"
	// PatternDeepSeekV2 is the pattern of DeepSeek LLM and V2: five expressions, then each
	// number by itself (pre-tokenizer Digits).
	PatternDeepSeekV2 Pattern = "deepseek-v2"
)

const (
	regexGPT2   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	regexCL100K = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|` +
		` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	regexQwen2 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|` +
		` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	regexO200K = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
		`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
		`\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	regexTekken = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|` +
		`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|` +
		`\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// Patterns lists the supported patterns.
func Patterns() []Pattern {
	return []Pattern{
		PatternGPT2, PatternCL100K, PatternQwen2, PatternO200K, PatternTekken, PatternDeepSeekV3,
		PatternDeepSeekV2,
	}
}

// Regexes returns the regular expressions that the pattern stands for, exactly as
// tokenizer.json files hold them: what the first matches is cut out, then what the second
// matches of each part, and so on. With [PatternDeepSeekV2] each number is cut out at last.
// It is nil for an unknown pattern.
func (p Pattern) Regexes() []string {
	switch p {
	case PatternGPT2:
		return []string{regexGPT2}
	case PatternCL100K:
		return []string{regexCL100K}
	case PatternQwen2:
		return []string{regexQwen2}
	case PatternO200K:
		return []string{regexO200K}
	case PatternTekken:
		return []string{regexTekken}
	case PatternDeepSeekV3:
		return []string{regexDeepSeekNumbers, regexDeepSeekCJK, regexDeepSeekWords}
	case PatternDeepSeekV2:
		return []string{
			"[\r\n]", `\s?` + classDeepSeekLetters + "+", `\s?` + classDeepSeekSigns + "+", `\s+$`, classDeepSeekWide + "+",
		}
	}
	return nil
}

// Split calls yield with the pieces of text in order, until it returns false. The
// pieces joined are the text.
func (p Pattern) Split(text string, yield func(piece string) bool) error {
	s, err := newSplitter(p)
	if err != nil {
		return err
	}
	for i := 0; i < len(text); {
		j := s.next(text, i)
		if !yield(text[i:j]) {
			return nil
		}
		i = j
	}
	return nil
}

// Rune classes; a line break is a space too.
const (
	classLetter  = 1
	classNumber  = 2
	classSpace   = 4
	classNewline = 8
)

// planeClasses holds the class of every rune of the Basic Multilingual Plane, so that the
// hot loop does no search in range tables.
var planeClasses = sync.OnceValue(func() *[1 << 16]uint8 {
	table := new([1 << 16]uint8)
	for r := range rune(1 << 16) {
		table[r] = runeClass(r)
	}
	return table
})

func runeClass(r rune) uint8 {
	switch {
	case r == '\r' || r == '\n':
		return classSpace | classNewline
	case unicode.IsSpace(r):
		return classSpace
	case unicode.IsLetter(r), unicode.Is(laterLetters, r):
		return classLetter
	case unicode.Is(unicode.N, r), unicode.Is(laterNumbers, r):
		return classNumber
	}
	return 0
}

// splitter is a [Pattern] made ready: it is immutable and safe for concurrent use.
type splitter struct {
	classes   *[1 << 16]uint8
	gpt2      bool
	digitsMax int // longest run of numbers in one piece, cl100k family only
	other     interface{ next(s string, i int) int }
	rules     *cutRules // nil: text is cut by next alone
}

func newSplitter(p Pattern) (*splitter, error) {
	s := &splitter{classes: planeClasses(), rules: rulesOf(p)}
	switch p {
	case PatternGPT2:
		s.gpt2 = true
	case PatternCL100K:
		s.digitsMax = 3
	case PatternQwen2:
		s.digitsMax = 1
	case PatternO200K:
		s.other = &caseSplitter{caseTable(), 3, true}
	case PatternTekken:
		s.other = &caseSplitter{caseTable(), 1, false}
	case PatternDeepSeekV3:
		s.other = &deepSeekSplitter{deepTable()}
	case PatternDeepSeekV2:
		s.other = &deepSeekV2Splitter{v2Table()}
	default:
		return nil, fmt.Errorf("unknown pattern %q: choose one of %q", string(p), Patterns())
	}
	return s, nil
}

// class returns the class and length in bytes of the rune at s[i].
func (p *splitter) class(s string, i int) (uint8, int) {
	c := s[i]
	if c < utf8.RuneSelf {
		return p.classes[c], 1
	}
	return p.wideClass(s[i:])
}

func (p *splitter) wideClass(s string) (uint8, int) {
	r, n := utf8.DecodeRuneInString(s)
	if r < 1<<16 {
		return p.classes[r], n
	}
	return runeClass(r), n
}

// letters returns the end of the run of letters that begins at s[i].
func (p *splitter) letters(s string, i int) int {
	for {
		if i = asciiLetters(s, i); i == len(s) || s[i] < utf8.RuneSelf {
			return i
		}
		k, n := p.wideClass(s[i:])
		if k != classLetter {
			return i
		}
		i += n
	}
}

// asciiLetters returns the end of the run of A to Z and a to z that begins at s[i], eight bytes at a time: in a byte
// of 0 to 127, adding 128 less c carries into the highest bit from c on.
func asciiLetters(s string, i int) int {
	const each = 0x0101010101010101
	p := unsafe.Slice(unsafe.StringData(s), len(s))
	for ; i+8 <= len(p); i += 8 {
		w := binary.LittleEndian.Uint64(p[i:])
		folded := (w | 0x20*each) & (0x7F * each)
		in := (folded + (0x80-'a')*each) &^ (folded + (0x80-'z'-1)*each) &^ w & (0x80 * each)
		if in != 0x80*each {
			return i + bits.TrailingZeros64(^in&(0x80*each))/8
		}
	}
	for i < len(p) && 'a' <= p[i]|0x20 && p[i]|0x20 <= 'z' {
		i++
	}
	return i
}

// run returns the end of the run of runes of exactly class c that begins at s[i].
func (p *splitter) run(s string, i int, c uint8) int {
	for i < len(s) {
		k, n := p.class(s, i)
		if k != c {
			break
		}
		i += n
	}
	return i
}

// next returns the end of the piece that begins at s[i], i < len(s).
func (p *splitter) next(s string, i int) int {
	switch {
	case p.gpt2:
		return p.nextGPT2(s, i)
	case p.other != nil:
		return p.other.next(s, i)
	}
	return p.nextCL100K(s, i)
}

func (p *splitter) nextGPT2(s string, i int) int {
	if s[i] == '\'' {
		if n := contraction(s[i+1:], false); n > 0 {
			return i + 1 + n
		}
	}
	c, n := p.class(s, i)
	if s[i] == ' ' && i+1 < len(s) {
		if c2, n2 := p.class(s, i+1); c2&classSpace == 0 {
			c, n = c2, n2+1
		}
	}
	if c == classLetter {
		return p.letters(s, i+n)
	}
	if c&classSpace == 0 {
		return p.run(s, i+n, c)
	}
	end, last, _ := p.spaces(s, i)
	return lookahead(s, i, end, last)
}

func (p *splitter) nextCL100K(s string, i int) int {
	if s[i] == '\'' {
		if n := contraction(s[i+1:], true); n > 0 {
			return i + 1 + n
		}
	}
	c, n := p.class(s, i)
	if c == classLetter {
		return p.letters(s, i+n)
	}
	if c == classNumber {
		return p.digits(s, i+n)
	}
	var c2 uint8
	var n2 int
	if i+n < len(s) {
		c2, n2 = p.class(s, i+n)
		if c2 == classLetter && c&classNewline == 0 {
			return p.letters(s, i+n+n2)
		}
	}
	switch {
	case c == 0:
		return lineBreaks(s, p.run(s, i+n, 0))
	case s[i] == ' ' && n2 > 0 && c2 == 0:
		return lineBreaks(s, p.run(s, i+n+n2, 0))
	}
	end, last, afterBreak := p.spaces(s, i)
	if afterBreak > 0 {
		return afterBreak
	}
	return lookahead(s, i, end, last)
}

// digits returns the end of a piece of numbers whose first one ends at s[i].
func (p *splitter) digits(s string, i int) int {
	for k := 1; k < p.digitsMax && i < len(s); k++ {
		c, n := p.class(s, i)
		if c != classNumber {
			break
		}
		i += n
	}
	return i
}

// spaces returns the end of the run of spaces at s[i], the start of its last rune,
// and the end of its last line break (0 if it has none).
func (p *splitter) spaces(s string, i int) (end, last, afterBreak int) {
	for end = i; end < len(s); {
		c, n := p.class(s, end)
		if c&classSpace == 0 {
			break
		}
		last = end
		end += n
		if c&classNewline != 0 {
			afterBreak = end
		}
	}
	return end, last, afterBreak
}

// lookahead applies \s+(?!\S)|\s+ to the run of spaces s[i:end] whose last rune
// starts at last: the last space is left to the next piece, unless it is the only
// one or the text ends.
func lookahead(s string, i, end, last int) int {
	if end == len(s) || last == i {
		return end
	}
	return last
}

func lineBreaks(s string, i int) int {
	for i < len(s) && (s[i] == '\n' || s[i] == '\r') {
		i++
	}
	return i
}

// contraction returns the length of s|t|re|ve|m|ll|d at the start of s, or 0. With
// fold, letter case is ignored; then the long s "ſ" counts as an s too.
func contraction(s string, fold bool) int {
	if len(s) == 0 {
		return 0
	}
	a, b := s[0], byte(0)
	if len(s) > 1 {
		b = s[1]
	}
	if fold {
		if a == 0xC5 && b == 0xBF {
			return 2
		}
		a, b = lower(a), lower(b)
	}
	switch {
	case a == 's', a == 't', a == 'm', a == 'd':
		return 1
	case a == 'r' && b == 'e', a == 'v' && b == 'e', a == 'l' && b == 'l':
		return 2
	}
	return 0
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
