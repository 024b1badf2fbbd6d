package tokenize

import "sync"

// Character classes of DeepSeek V3.
const (
	deepLetter  = 1
	deepMark    = 2
	deepSymbol  = 4 // punctuation and symbols
	deepNumber  = 8
	deepSpace   = 16
	deepNewline = 32
	deepCJK     = 64 // what the second expression cuts out

	deepWord = deepLetter | deepMark
)

const (
	regexDeepSeekNumbers = `\p{N}{1,3}`
	regexDeepSeekCJK     = `[一-龥぀-ゟ゠-ヿ]+`
	regexDeepSeekWords   = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|" +
		" ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
)

var deepTable = sync.OnceValue(func() *classTable {
	return newClassTable(map[string]uint8{
		`\p{L}`: deepLetter, `\p{M}`: deepMark, `[\p{P}\p{S}]`: deepSymbol, `\p{N}`: deepNumber, `\s`: deepSpace,
		`[\r\n]`: deepNewline, `[一-龥぀-ゟ゠-ヿ]`: deepCJK,
	})
})

// deepSeekSplitter is the pattern of DeepSeek V3: numbers are cut out by threes, then runs
// of ideographs and kana, and each part is cut into words by itself. Where the part ends,
// the text ends for the third expression.
type deepSeekSplitter struct{ table *classTable }

// deepPart is the part of s that the piece at i lies in: all characters are CJK, or none.
type deepPart struct {
	t   *classTable
	s   string
	cjk uint8
}

// at returns the class and length of the character at i; no class and 0 at the end.
func (p deepPart) at(i int) (uint8, int) {
	if i >= len(p.s) {
		return 0, 0
	}
	c, n := p.t.at(p.s, i)
	if c&deepNumber != 0 || c&deepCJK != p.cjk {
		return 0, 0
	}
	return c, n
}

func (p deepPart) run(i int, bits uint8) int {
	for {
		c, n := p.at(i)
		if c&bits == 0 {
			return i
		}
		i += n
	}
}

func (p *deepSeekSplitter) next(s string, i int) int {
	c, n := p.table.at(s, i)
	if c&deepNumber != 0 {
		for k := 1; k < 3 && i+n < len(s); k++ {
			more, size := p.table.at(s, i+n)
			if more&deepNumber == 0 {
				break
			}
			n += size
		}
		return i + n
	}
	part := deepPart{p.table, s, c & deepCJK}
	if end := part.match(i); end > 0 {
		return end
	}
	// What nothing matches is one piece, up to the next match.
	for i += n; ; i += n {
		if _, n = part.at(i); n == 0 || part.match(i) > 0 {
			return i
		}
	}
}

// match returns the end of the match of the third expression at i, or 0.
func (p deepPart) match(i int) int {
	c, n := p.at(i)
	if c&deepSymbol != 0 && p.s[i] < 0x80 {
		if end := asciiLetters(p.s, i+1); end > i+1 {
			return end
		}
	}
	next, size := p.at(i + n)
	if c&(deepLetter|deepSymbol|deepNewline) == 0 && next&deepWord != 0 {
		return p.run(i+n+size, deepWord)
	}
	switch {
	case c&deepWord != 0:
		return p.run(i+n, deepWord)
	case c&deepSymbol != 0:
		return p.run(p.run(i+n, deepSymbol), deepNewline)
	case p.s[i] == ' ' && next&deepSymbol != 0:
		return p.run(p.run(i+n+size, deepSymbol), deepNewline)
	case c&deepSpace != 0:
		return p.spaces(i)
	}
	return 0
}

func (p deepPart) spaces(i int) int {
	end, last, afterBreak := i, i, 0
	for {
		c, n := p.at(end)
		if c&deepSpace == 0 {
			if afterBreak > 0 {
				return afterBreak
			}
			if n == 0 || last == i {
				return end
			}
			return last
		}
		last = end
		if end += n; c&deepNewline != 0 {
			afterBreak = end
		}
	}
}
