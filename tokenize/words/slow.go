package words

import (
	"strings"
	"unicode/utf8"

	uax29 "github.com/clipperhouse/uax29/v2/words"
)

// The plain twins of the fast scans: what the package comment says, word for word. Tests
// hold the two against each other.

// slowHashed is [AppendHashed] from empty slices.
func slowHashed(text string) (spans []Span, hashes []uint64) {
	start, single := -1, false
	end := func(at int) {
		if start >= 0 {
			spans = append(spans, Span{int32(start), int32(at)})
			hashes = append(hashes, slowHash(strings.ToLower(text[start:at])))
		}
		start = -1
	}
	for i, r := range text {
		switch role := roleOf(r); {
		case role == roleMark, role == roleWord && start >= 0 && !single:
		case role == roleEnd:
			end(i)
		default:
			end(i)
			start, single = i, role == roleAlone
		}
	}
	end(len(text))
	return spans, hashes
}

// slowHash is [Hash], byte by byte.
func slowHash(text string) uint64 {
	h, chunk := uint64(hashSeed), uint64(0)
	for i := range len(text) {
		chunk |= uint64(text[i]) << (i % 8 * 8)
		if i%8 == 7 || i == len(text)-1 {
			h, chunk = fold(h^chunk, hashChunk), 0
		}
	}
	return fold(h^uint64(len(text))*hashLen, hashTotal)
}

// slowUAX29 is [AppendUAX29] from an empty slice, by the library alone.
func slowUAX29(text string, want Class) (spans []Span) {
	for it := uax29.FromString(text); it.Next(); {
		if classOf(it.Value())&want != 0 {
			spans = append(spans, Span{int32(it.Start()), int32(it.End())})
		}
	}
	return spans
}

// slowSpace is [AppendSpace] from an empty slice.
func slowSpace(text string) (spans []Span) {
	start := -1
	for i := 0; i <= len(text); {
		r, size := ' ', 1
		if i < len(text) {
			r, size = utf8.DecodeRuneInString(text[i:])
		}
		if IsSpace(r) && start >= 0 {
			spans, start = append(spans, Span{int32(start), int32(i)}), -1
		} else if !IsSpace(r) && start < 0 {
			start = i
		}
		i += size
	}
	return spans
}

// slowSpacyWords is [Spacy.Words] without the short cuts for common words: every piece
// between white space goes the whole way. That the way is spaCy's is shown by what spaCy
// itself says, in testdata/spacy_en.jsonl.
func slowSpacyWords(text string) (tokens []Span) {
	s := Spacy{tables: spacyEnglish(), text: text}
	end := int32(0)
	for _, piece := range slowSpace(text) {
		s.gap(end, piece.Start)
		s.cut(piece)
		end = piece.End
	}
	s.gap(end, int32(len(text)))
	s.mergeSpecial()
	for _, token := range s.tokens {
		if strings.TrimFunc(token.Of(text), IsSpace) != "" {
			tokens = append(tokens, token)
		}
	}
	return tokens
}
