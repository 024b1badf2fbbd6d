package tokenize

import (
	"sync"
	"unicode/utf8"
)

// cutRules is a pattern, as far as text is cut by words of bits.
type cutRules struct {
	plane  *[1 << 16]scanClass
	beyond func(r rune) scanClass // of characters beyond the plane

	gpt2         bool // a space alone goes before any run, and line breaks are spaces as others
	cased        bool // words end where capitals begin, and slashes follow line breaks
	contractions bool
	fold         bool // contractions are of any case
	suffixed     bool // contractions belong to the word before
	digitsMax    int  // 1 or 3, unless gpt2
}

// scanClass is what a character beyond ASCII is: 0 for symbols, or bits.
type scanClass uint8

const (
	scanLetter scanClass = 1 << iota
	scanUpper
	scanBoth
	scanMark
	scanHard
)

// classAt returns the class and length of the character beyond ASCII at text[i]. Most of three bytes are decoded here;
// package utf8 tells of what is not UTF-8 too.
func (r *cutRules) classAt(text string, i int) (scanClass, int) {
	if i+2 < len(text) {
		a, b, c := rune(text[i]), rune(text[i+1]), rune(text[i+2])
		if uint32(a-0xE1) < 0xED-0xE1 && b&0xC0 == 0x80 && c&0xC0 == 0x80 {
			return r.plane[a&0x0F<<12|b&0x3F<<6|c&0x3F], 3
		}
	}
	c, n := utf8.DecodeRuneInString(text[i:])
	if c < 1<<16 {
		return r.plane[c], n
	}
	return r.beyond(c), n
}

// plainScan has the classes of patterns to which case does not matter.
var plainScan = sync.OnceValue(func() *[1 << 16]scanClass {
	table := new([1 << 16]scanClass)
	for r, class := range planeClasses() {
		table[r] = plainScanClass(class)
	}
	return table
})

func plainScanClass(class uint8) scanClass {
	switch class {
	case classLetter:
		return scanLetter
	case 0:
		return 0
	}
	return scanHard
}

// casedScan has the classes of patterns that cut where case changes.
var casedScan = sync.OnceValue(func() *[1 << 16]scanClass {
	table := new([1 << 16]scanClass)
	for r, class := range caseTable().plane {
		table[r] = casedScanClass(class)
	}
	return table
})

func casedScanClass(class uint8) scanClass {
	switch class {
	case caseUpper:
		return scanLetter | scanUpper
	case caseLower:
		return scanLetter
	case caseBoth:
		return scanLetter | scanBoth
	case caseMark:
		return scanLetter | scanBoth | scanMark
	case 0:
		return 0
	}
	return scanHard
}

// rulesOf returns how text is cut by words of bits for a pattern, nil if it is not.
func rulesOf(p Pattern) *cutRules {
	plain := func(r rune) scanClass { return plainScanClass(runeClass(r)) }
	cased := func(r rune) scanClass { return casedScanClass(caseTable().compute(r)) }
	switch p {
	case PatternGPT2:
		return &cutRules{plane: plainScan(), beyond: plain, gpt2: true, contractions: true}
	case PatternCL100K:
		return &cutRules{plane: plainScan(), beyond: plain, contractions: true, fold: true, digitsMax: 3}
	case PatternQwen2:
		return &cutRules{plane: plainScan(), beyond: plain, contractions: true, fold: true, digitsMax: 1}
	case PatternO200K:
		return &cutRules{plane: casedScan(), beyond: cased, cased: true, contractions: true, fold: true, suffixed: true,
			digitsMax: 3}
	case PatternTekken:
		return &cutRules{plane: casedScan(), beyond: cased, cased: true, digitsMax: 1}
	}
	return nil
}
