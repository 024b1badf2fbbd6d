package words

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Spacy cuts text into the tokens of spaCy 3.8's blank English pipeline, which are the words
// of datatrove. The zero value is ready for use; one that is used again needs no new memory
// unless a text is longer. It is not for concurrent use.
//
// Text is cut at white space. Of each piece, prefixes and suffixes (quotes, brackets, marks,
// currency, units after a number) are taken off again and again, until it is a special case
// ("don't" is "do" and "n't"), a URL, or neither has more; what is left is cut at infixes
// (hyphens between letters, "..."). Special cases that this has cut are put together in the
// end.
//
// One thing is not followed: spaCy cannot tokenise some texts in which the piece IS_ALPHA
// occurs (it is the name of one of its own symbols), and datatrove then deletes it.
type Spacy struct {
	tables   *spacyTables
	text     string
	tokens   []Span
	spaces   bool    // some tokens are white space
	starts   []int32 // tokens that may be the first piece of a special case
	suffixes []Span
	pieces   []Span
	matches  []spacyMatch
	merged   []Span
}

// Words returns the tokens of text that are not white space, valid until the next call.
func (s *Spacy) Words(text string) []Span {
	s.scan(text)
	if !s.spaces {
		return s.tokens
	}
	kept := s.tokens[:0]
	for _, token := range s.tokens {
		if spaceAt(text, int(token.Start)) == 0 {
			kept = append(kept, token)
		}
	}
	s.tokens = kept
	return kept
}

// Sentences returns how many sentences spaCy's sentencizer finds in text, at least 1: a
// sentence starts at the first token that is no punctuation after one that ends a sentence.
func (s *Spacy) Sentences(text string) int {
	s.scan(text)
	count, ended := 1, false
	for _, token := range s.tokens {
		piece := token.Of(s.text)
		switch ends := endsSentence(piece); {
		case ends:
			ended = true
		case ended && !isPunct(piece):
			count, ended = count+1, false
		}
	}
	return count
}

// isPunct reports whether all characters of a token are of category P.
func isPunct(token string) bool {
	for _, r := range token {
		if !unicode.IsPunct(r) {
			return false
		}
	}
	return true
}

// endsSentence reports whether a token is one of the characters that end a sentence for
// spaCy's sentencizer (spacy/pipeline/sentencizer.pyx, default_punct_chars).
func endsSentence(token string) bool {
	if len(token) == 1 {
		return token[0] == '.' || token[0] == '!' || token[0] == '?'
	}
	if token[0] < utf8.RuneSelf || len(token) > utf8.UTFMax {
		return false
	}
	r, size := utf8.DecodeRuneInString(token)
	return size == len(token) && strings.ContainsRune(sentencizerMarks, r)
}

const sentencizerMarks = "։؟۔܀܁܂߹।॥၊။።፧፨᙮᜵᜶᠃᠉᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᰻᰼᱾᱿‼‽⁇⁈⁉⸮⸼" +
	"꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫﹒﹖﹗！．？𐩖𐩗𑁇𑁈𑂾𑂿𑃀𑃁𑅁𑅂𑅃𑇅𑇆𑇍𑇞𑇟" +
	"𑈸𑈹𑈻𑈼𑊩𑑋𑑌𑗂𑗃𑗉𑗊𑗋𑗌𑗍𑗎𑗏𑗐𑗑𑗒𑗓𑗔𑗕𑗖𑗗𑙁𑙂𑜼𑜽𑜾𑩂𑩃𑪛𑪜𑱁𑱂𖩮𖩯𖫵𖬷𖬸" +
	"𖭄𛲟𝪈｡。"

// scan fills s.tokens with the tokens of text, white space included.
func (s *Spacy) scan(text string) {
	if s.tables == nil {
		s.tables = spacyEnglish()
	}
	text = view(text)
	s.text, s.tokens, s.starts, s.spaces = text, s.tokens[:0], s.starts[:0], false
	s.pieces = AppendSpace(s.pieces[:0], text)
	end := int32(0)
	for _, piece := range s.pieces {
		s.gap(end, piece.Start)
		s.piece(piece)
		end = piece.End
	}
	s.gap(end, int32(len(text)))
	if len(s.starts) > 0 {
		s.mergeSpecial()
	}
}

// gap adds the token for the white space between two pieces: none for one blank, and none for
// the blank that a longer stretch starts with, unless the text does.
func (s *Spacy) gap(from, to int32) {
	if from < to && s.text[from] == ' ' && from > 0 {
		from++
	}
	if from < to {
		s.tokens, s.spaces = append(s.tokens, Span{from, to}), true
	}
}

// piece adds the tokens of one piece between white space.
func (s *Spacy) piece(piece Span) {
	word := piece.Of(s.text)
	if isLetters(word) && !s.tables.bothBits.has(word) {
		s.tokens = append(s.tokens, piece)
		return
	}
	s.cut(piece)
}

// isLetters reports whether w is all ASCII letters.
func isLetters(w string) bool {
	for i := range len(w) {
		if c := w[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}

// token adds a token and notes if it may start a special case that has been cut.
func (s *Spacy) token(span Span) {
	if s.tables.trie(span.Of(s.text)) != nil {
		s.starts = append(s.starts, int32(len(s.tokens)))
	}
	s.tokens = append(s.tokens, span)
}

// special adds the tokens of the special case that span is and reports whether it is one.
func (s *Spacy) special(span Span) bool {
	rule := s.tables.rule(span.Of(s.text))
	for _, n := range rule {
		s.token(Span{span.Start, span.Start + int32(n)})
		span.Start += int32(n)
	}
	return rule != nil
}

// cut is piece in general: spaCy's _split_affixes and _attach_tokens.
func (s *Spacy) cut(piece Span) {
	s.suffixes = s.suffixes[:0]
	rest := s.affixes(piece)
	if rest.Len() > 0 && !s.special(rest) {
		s.cutInfixes(rest)
	}
	for i := len(s.suffixes) - 1; i >= 0; i-- {
		s.token(s.suffixes[i])
	}
}

// affixes adds the prefixes of a piece, gathers its suffixes and returns what is between.
func (s *Spacy) affixes(rest Span) Span {
	t := s.tables
	for rest.Len() > 0 {
		word := rest.Of(s.text)
		if t.rule(word) != nil {
			break
		}
		pre := t.prefix(word)
		if pre > 0 && t.rule(word[pre:]) != nil {
			s.token(Span{rest.Start, rest.Start + int32(pre)})
			rest.Start += int32(pre)
			break
		}
		suf := t.suffix(word[pre:])
		if suf > 0 && t.rule(word[:len(word)-suf]) != nil {
			s.suffixes = append(s.suffixes, Span{rest.End - int32(suf), rest.End})
			rest.End -= int32(suf)
			break
		}
		if pre == 0 && suf == 0 {
			break
		}
		if pre > 0 {
			s.token(Span{rest.Start, rest.Start + int32(pre)})
		}
		if suf > 0 {
			s.suffixes = append(s.suffixes, Span{rest.End - int32(suf), rest.End})
		}
		rest.Start, rest.End = rest.Start+int32(pre), rest.End-int32(suf)
	}
	return rest
}

// cutInfixes adds the tokens of a piece without affixes.
func (s *Spacy) cutInfixes(piece Span) {
	word, t := piece.Of(s.text), s.tables
	if isLetters(word) || t.isURL(word) {
		s.token(piece)
		return
	}
	done := 0
	for from, to := t.infix(word, 0); from >= 0; from, to = t.infix(word, to) {
		if from == 0 {
			continue // spaCy leaves an infix at the start where it is
		}
		if from > done {
			s.token(Span{piece.Start + int32(done), piece.Start + int32(from)})
		}
		s.token(Span{piece.Start + int32(from), piece.Start + int32(to)})
		done = to
	}
	if done < len(word) {
		s.token(Span{piece.Start + int32(done), piece.End})
	}
}
