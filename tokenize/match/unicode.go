package match

import "unicode"

// later holds what Unicode 16.0 added to each category and script after the 15.0 of the standard library.
var later = map[string][]span{
	"Lu": {{0x1C89, 0x1C89}, {0xA7CB, 0xA7CC}, {0xA7DA, 0xA7DA}, {0xA7DC, 0xA7DC}, {0x10D50, 0x10D65}},
	"Ll": {{0x1C8A, 0x1C8A}, {0xA7CD, 0xA7CD}, {0xA7DB, 0xA7DB}, {0x10D70, 0x10D85}},
	"Lm": {{0x10D4E, 0x10D4E}, {0x10D6F, 0x10D6F}, {0x16D40, 0x16D42}, {0x16D6B, 0x16D6C}},
	"Lo": {{0x105C0, 0x105F3}, {0x10D4A, 0x10D4D}, {0x10D4F, 0x10D4F}, {0x10EC2, 0x10EC4}, {0x11380, 0x11389},
		{0x1138B, 0x1138B}, {0x1138E, 0x1138E}, {0x11390, 0x113B5}, {0x113B7, 0x113B7}, {0x113D1, 0x113D1},
		{0x113D3, 0x113D3}, {0x11BC0, 0x11BE0}, {0x13460, 0x143FA}, {0x16100, 0x1611D}, {0x16D43, 0x16D6A},
		{0x18CFF, 0x18CFF}, {0x1E5D0, 0x1E5ED}, {0x1E5F0, 0x1E5F0}, {0x2EBF0, 0x2EE5D}},
	"Mn": {{0x897, 0x897}, {0x10D69, 0x10D6D}, {0x10EFC, 0x10EFC}, {0x113BB, 0x113C0}, {0x113CE, 0x113CE},
		{0x113D0, 0x113D0}, {0x113D2, 0x113D2}, {0x113E1, 0x113E2}, {0x11F5A, 0x11F5A}, {0x1611E, 0x16129},
		{0x1612D, 0x1612F}, {0x1E5EE, 0x1E5EF}},
	"Mc": {{0x113B8, 0x113BA}, {0x113C2, 0x113C2}, {0x113C5, 0x113C5}, {0x113C7, 0x113CA}, {0x113CC, 0x113CD},
		{0x113CF, 0x113CF}, {0x1171E, 0x1171E}, {0x1612A, 0x1612C}},
	"Nd": {{0x10D40, 0x10D49}, {0x116D0, 0x116E3}, {0x11BF0, 0x11BF9}, {0x16130, 0x16139}, {0x16D70, 0x16D79},
		{0x1CCF0, 0x1CCF9}, {0x1E5F1, 0x1E5FA}},
	"Pd": {{0x10D6E, 0x10D6E}},
	"Po": {{0x1B4E, 0x1B4F}, {0x1B7F, 0x1B7F}, {0x113D4, 0x113D5}, {0x113D7, 0x113D8}, {0x11BE1, 0x11BE1},
		{0x16D6D, 0x16D6F}, {0x1E5FF, 0x1E5FF}},
	"Sm": {{0x10D8E, 0x10D8F}},
	"So": {{0x2427, 0x2429}, {0x2FFC, 0x2FFF}, {0x31E4, 0x31E5}, {0x31EF, 0x31EF}, {0x1CC00, 0x1CCEF}, {0x1CD00, 0x1CEB3},
		{0x1F8B2, 0x1F8BB}, {0x1F8C0, 0x1F8C1}, {0x1FA89, 0x1FA89}, {0x1FA8F, 0x1FA8F}, {0x1FABE, 0x1FABE},
		{0x1FAC6, 0x1FAC6}, {0x1FADC, 0x1FADC}, {0x1FADF, 0x1FADF}, {0x1FAE9, 0x1FAE9}, {0x1FBCB, 0x1FBEF}},
	"Arabic":   {{0x897, 0x897}, {0x10EC2, 0x10EC4}, {0x10EFC, 0x10EFC}},
	"Cyrillic": {{0x1C89, 0x1C8A}},
	"Han":      {{0x2EBF0, 0x2EE5D}},
	"Latin":    {{0xA7CB, 0xA7CD}, {0xA7DA, 0xA7DC}},
}

// movedMark was a mark without width (Mn) in Unicode 15.0 and has width (Mc) in 16.0.
const movedMark = 0x1171E

// scripts are those whose members were compared with Oniguruma's, code point by code point.
var scripts = []string{"Arabic", "Cyrillic", "Greek", "Han", "Hangul", "Hiragana", "Katakana", "Latin", "Thai"}

// property returns the code points of a general category or script, and whether it is known.
func property(name string) (set, bool) {
	switch name {
	case "C", "Cn":
		s := fromTable(unicode.Categories[name])
		for _, added := range later {
			s = s.minus(set(added))
		}
		return s, true
	}
	if table, ok := unicode.Categories[name]; ok {
		s := fromTable(table)
		for leaf, added := range later {
			if leaf == name || len(name) == 1 && leaf[:1] == name && len(leaf) == 2 {
				s = s.union(set(added))
			}
		}
		if name == "Mn" {
			s = s.minus(set{{movedMark, movedMark}})
		}
		return s, true
	}
	for _, known := range scripts {
		if known == name {
			return fromTable(unicode.Scripts[name]).union(set(later[name])), true
		}
	}
	return nil, false
}

// spaces, digits, words and hexes are \s, \d, \w and \h.

func spaces() set { return fromTable(unicode.White_Space) }

func digits() set { s, _ := property("Nd"); return s }

func hexes() set { return set{{'0', '9'}, {'A', 'F'}, {'a', 'f'}} }

// words are letters, marks and decimals, connecting punctuation, what is alphabetic otherwise,
// and below U+0100 the other numbers too.
func words() set {
	s := fromTable(unicode.Other_Alphabetic).union(set{{0xB2, 0xB3}, {0xB9, 0xB9}, {0xBC, 0xBE}})
	for _, name := range []string{"L", "M", "Nd", "Nl", "Pc"} {
		more, _ := property(name)
		s = s.union(more)
	}
	return s
}
