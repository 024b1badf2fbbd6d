package words

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"
)

// spacyData holds spaCy's tables as testdata/spacy_en.py reads them out of spaCy.
//
//go:embed spacy_en.txt
var spacyData string

// Classes of characters in the patterns of spaCy 3.8's English tokenizer
// (spacy/lang/char_classes.py and punctuation.py).
const (
	spacyAlpha      = 1 << iota // ALPHA
	spacyDotBefore              // ALPHA_LOWER or a quote: may stand before an infix "."
	spacyDotAfter               // ALPHA_UPPER or a quote: may stand after an infix "."
	spacyUpper                  // ALPHA_UPPER
	spacyPrefix                 // a prefix by itself
	spacySuffix                 // a suffix by itself
	spacyStopBefore             // a "." after it is a suffix
	spacyIcon                   // an infix by itself
	spacyCurrency               // a suffix after a digit
	spacyLower                  // ALPHA_LOWER
)

// spacyTables are the parsed tables.
type spacyTables struct {
	pages   [(utf8.MaxRune + 1) >> 8]uint16 // by the upper bits of a character, into classes
	classes [][256]uint16
	units   map[string]bool
	rules   map[string]spacyRule
	tries   map[string]*spacyTrie // by first piece

	ruleBits, trieBits wordFilter      // of the keys of rules and tries
	bothBits           wordFilter      // of either
	short              [256]*spacyTrie // tries of first pieces of one byte
}

// wordFilter is a set of words that may have others in it, too.
type wordFilter [1 << 9]uint64

// filterBit is the place of a word, not empty, in a filter.
func filterBit(word string) uint32 {
	n := len(word)
	sample := uint32(word[0]) | uint32(word[n-1])<<8 | uint32(word[n/2])<<16 | uint32(n)<<24
	return sample * 0x9e3779b1 >> 17
}

func (f *wordFilter) add(word string) { f[filterBit(word)>>6] |= 1 << (filterBit(word) & 63) }

func (f *wordFilter) has(word string) bool { return f[filterBit(word)>>6]>>(filterBit(word)&63)&1 != 0 }

// spacyRule is a special case: the lengths of the tokens that it becomes, in bytes. None is
// no special case.
type spacyRule []uint8

// spacyTrie is the state of a search for a special case that has been cut to pieces.
type spacyTrie struct {
	next   map[string]*spacyTrie
	firsts [4]uint64 // the bits of the first bytes of the pieces in next
	ends   bool
}

// then returns the state after one more piece, nil if there is none.
func (n *spacyTrie) then(piece string) *spacyTrie {
	if c := piece[0]; n.firsts[c>>6]>>(c&63)&1 == 0 {
		return nil
	}
	return n.next[piece]
}

var spacyEnglish = sync.OnceValue(func() *spacyTables {
	t := &spacyTables{units: map[string]bool{}, rules: map[string]spacyRule{}, tries: map[string]*spacyTrie{}}
	t.classes = append(t.classes, [256]uint16{})
	for line := range strings.Lines(spacyData) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch kind {
		case "r":
			var first, last, bits int
			if _, err := fmt.Sscanf(rest, "%x %x %x", &first, &last, &bits); err != nil {
				panic("words: spacy_en.txt: " + err.Error()) // the file is part of the program
			}
			t.setClass(first, last, uint16(bits))
		case "u":
			t.units[rest] = true
		case "s":
			t.addRule(strings.Split(rest, " "))
		case "p":
			t.addPieces(strings.Split(rest, " "))
		}
	}
	return t
})

func (t *spacyTables) setClass(first, last int, bits uint16) {
	for c := first; c <= last; c++ {
		if t.pages[c>>8] == 0 {
			t.pages[c>>8] = uint16(len(t.classes))
			t.classes = append(t.classes, [256]uint16{})
		}
		t.classes[t.pages[c>>8]][c&255] = bits
	}
}

func (t *spacyTables) addRule(tokens []string) {
	var rule spacyRule
	for _, token := range tokens {
		rule = append(rule, uint8(len(token)))
	}
	whole := strings.Join(tokens, "")
	t.rules[whole] = rule
	t.ruleBits.add(whole)
	t.bothBits.add(whole)
}

// addPieces adds the pieces that the patterns cut a special case to.
func (t *spacyTables) addPieces(pieces []string) {
	if len(pieces) < 2 {
		return
	}
	if t.tries[pieces[0]] == nil {
		t.tries[pieces[0]] = &spacyTrie{}
		t.trieBits.add(pieces[0])
		t.bothBits.add(pieces[0])
	}
	node := t.tries[pieces[0]]
	if len(pieces[0]) == 1 {
		t.short[pieces[0][0]] = node
	}
	for _, piece := range pieces[1:] {
		if node.next == nil {
			node.next = map[string]*spacyTrie{}
		}
		if node.next[piece] == nil {
			node.next[piece] = &spacyTrie{}
			node.firsts[piece[0]>>6] |= 1 << (piece[0] & 63)
		}
		node = node.next[piece]
	}
	node.ends = true
}

// rule returns the special case for word, if there is one.
func (t *spacyTables) rule(word string) spacyRule {
	if word == "" || len(word) > ruleBytesMax || !t.ruleBits.has(word) {
		return nil
	}
	return t.rules[word]
}

// ruleBytesMax is longer than any special case; longer words are not hashed.
const ruleBytesMax = 64

// trie returns the search that a token, not empty, starts, nil if none.
func (t *spacyTables) trie(token string) *spacyTrie {
	switch n := len(token); {
	case n == 1:
		return t.short[token[0]]
	case n > ruleBytesMax || !t.trieBits.has(token):
		return nil
	}
	return t.tries[token]
}

// class returns the classes of r.
func (t *spacyTables) class(r rune) uint16 { return t.classes[t.pages[r>>8]][r&255] }

// first and last return a text's first and last character, its length in bytes and classes.
func (t *spacyTables) first(s string) (r rune, size int, class uint16) {
	if r, size = rune(s[0]), 1; r >= utf8.RuneSelf {
		r, size = utf8.DecodeRuneInString(s)
	}
	return r, size, t.class(r)
}

func (t *spacyTables) last(s string) (r rune, size int, class uint16) {
	if r, size = rune(s[len(s)-1]), 1; r >= utf8.RuneSelf {
		r, size = utf8.DecodeLastRuneInString(s)
	}
	return r, size, t.class(r)
}
