package tokenize

import "sync"

// Character classes of DeepSeek V2. They overlap: ASCII letters are among the signs, the
// ideographic space is a sign, and "wide" reaches over most of Asia's scripts and symbols.
const (
	v2Break  = 1 // \r and \n, and the end of the text
	v2Space  = 2 // other spaces
	v2Letter = 4
	v2Sign   = 8
	v2Wide   = 16
	v2Number = 32
)

const (
	classDeepSeekLetters = "[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅ" +
		"ὐ-ὗὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿ" +
		"ⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ\U00010400-\U0001044f\U000104b0-\U000104d3" +
		"\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943]"
	classDeepSeekSigns = "[!-/:-~！-／：-～‘-‟　-。]"
	classDeepSeekWide  = "[一-龥ࠀ-一가-\ud7ff]"
)

var v2Table = sync.OnceValue(func() *classTable {
	t := newClassTable(map[string]uint8{
		`[\r\n]`: v2Break, `[^\S\r\n]`: v2Space, classDeepSeekLetters: v2Letter, classDeepSeekSigns: v2Sign,
		classDeepSeekWide: v2Wide,
	})
	t.add(digitClass(), v2Number)
	return t
})

// deepSeekV2Splitter is the pattern of DeepSeek LLM and V2: six cuts, one after the other, of
// which each sees only the parts that the ones before it left. Every one of them cuts
// between two characters by what stands around them, so that no part need be known as a
// whole.
type deepSeekV2Splitter struct{ table *classTable }

func (p *deepSeekV2Splitter) next(s string, i int) int {
	a, n := p.table.at(s, i)
	for i += n; i < len(s); i += n {
		var b uint8
		if b, n = p.table.at(s, i); p.cuts(s, i, n, a, b) {
			break
		}
		a = b
	}
	return i
}

// class is the class of the character at i; the text ends with a break.
func (p *deepSeekV2Splitter) class(s string, i int) (uint8, int) {
	if i >= len(s) {
		return v2Break, 0
	}
	return p.table.at(s, i)
}

// cuts tells whether a piece ends between a and b, the character of n bytes at s[i].
func (p *deepSeekV2Splitter) cuts(s string, i, n int, a, b uint8) bool {
	if (a|b)&(v2Break|v2Number) != 0 {
		return true // breaks and numbers stand alone
	}
	c, m := p.class(s, i+n)
	d, _ := p.class(s, i+n+m)
	if cutsWord(a, b, c) || cutsSigns(a, b, c, d) || (a^b)&v2Wide != 0 {
		return true
	}
	return a&v2Space == 0 && b&v2Space != 0 && p.trails(s, i)
}

// cutsWord tells whether \s?[letters]+ begins or ends between a and b; c follows.
func cutsWord(a, b, c uint8) bool {
	switch {
	case a&v2Letter != 0:
		return b&v2Letter == 0
	case b&v2Letter != 0:
		return a&v2Space == 0
	}
	return b&v2Space != 0 && c&v2Letter != 0
}

// cutsSigns is cutsWord of \s?[signs]+, between characters of one part: the space must not
// be parted from the signs behind it.
func cutsSigns(a, b, c, d uint8) bool {
	switch {
	case a&v2Sign != 0:
		return b&v2Sign == 0
	case b&v2Sign != 0:
		return a&v2Space == 0
	}
	return b&v2Space != 0 && c&v2Sign != 0 && !cutsWord(b, c, d)
}

// trails tells whether the spaces from s[i] on reach to the end of their part: \s+$.
func (p *deepSeekV2Splitter) trails(s string, i int) bool {
	b, n := p.class(s, i)
	for {
		i += n
		var c uint8
		if c, n = p.class(s, i); c&v2Break != 0 {
			return true
		}
		d, m := p.class(s, i+n)
		e, _ := p.class(s, i+n+m)
		if cutsWord(b, c, d) || cutsSigns(b, c, d, e) {
			return true
		}
		if c&v2Space == 0 {
			return false
		}
		b = c
	}
}
