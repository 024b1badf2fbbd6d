package quality

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"bzdata/tokenize/words"
)

// slowDatatroveGrams sets the measurements of n-grams as datatrove computes them.
func slowDatatroveGrams(out map[string]float64, tokens []string, characters int) {
	for n := 2; n <= gramMax; n++ {
		if n <= 4 {
			count, best := map[string]int{}, 0
			for i := 0; i+n <= len(tokens); i++ {
				gram := strings.Join(tokens[i:i+n], " ")
				count[gram]++
			}
			top := 0
			for i := 0; i+n <= len(tokens); i++ {
				if gram := strings.Join(tokens[i:i+n], " "); count[gram] > best {
					best, top = count[gram], slowLength(tokens[i:i+n]...)+n-1
				}
			}
			out[datatroveGramName(n)] = ratio(top*best, characters)
			continue
		}
		seen, repeated := map[string]bool{}, 0
		for i := 0; i+n <= len(tokens); {
			gram := strings.Join(tokens[i:i+n], "")
			if seen[gram] {
				repeated, i = repeated+slowLength(tokens[i:i+n]...), i+n
			} else {
				seen[gram] = true
				i++
			}
		}
		out[datatroveGramName(n)] = ratio(repeated, characters)
	}
}

// slowDatatrove sets the measurements that follow datatrove's filters.
func slowDatatrove(out map[string]float64, text string) {
	var tokenizer words.Spacy
	var tokens []string
	for _, span := range tokenizer.Words(text) {
		tokens = append(tokens, span.Of(text))
	}
	characters := len([]rune(text))
	count, chars, alpha, stop := 0, 0, 0, map[string]bool{}
	for _, token := range tokens {
		symbol := true
		for _, r := range token {
			known := r <= 8 || r >= 11 && r < 32 || r >= 127 && r < 160 || strings.ContainsRune(punctuation, r)
			symbol = symbol && (known || endsTerminal(string(r)))
		}
		if !symbol {
			count, chars = count+1, chars+len([]rune(token))
		}
		if hasLetter(token) {
			alpha++
		}
		for _, w := range stopWords {
			if w == token {
				stop[w] = true
			}
		}
	}
	out["datatrove_tokens"] = float64(len(tokens))
	out["datatrove_word_count"] = float64(count)
	out["datatrove_mean_word_length"] = ratio(chars, count)
	out["datatrove_hash_ratio"] = ratio(strings.Count(text, "#"), len(tokens))
	out["datatrove_ellipsis_ratio"] = ratio(strings.Count(text, "...")+strings.Count(text, "…"), len(tokens))
	out["datatrove_alpha_word_ratio"] = ratio(alpha, len(tokens))
	out["datatrove_stop_words"] = float64(len(stop))
	out["list_ratio"] = ratio(strings.Count(text, "\n"), max(1, len(tokens)))
	slowDatatroveLines(out, text)
	slowDatatroveGrams(out, tokens, characters)
}

// pythonLineEnds is what str.splitlines splits at.
var pythonLineEnds = regexp.MustCompile("\r\n|[\n\r\v\f\x1c-\x1e\u0085\u2028\u2029]")

// slowPythonLines is Python's str.splitlines.
func slowPythonLines(text string) []string {
	lines := pythonLineEnds.Split(text, -1)
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

func slowDatatroveLines(out map[string]float64, text string) {
	lines, bullets, ellipses := slowPythonLines(text), 0, 0
	for _, line := range lines {
		line = strings.TrimFunc(line, words.IsSpace)
		if strings.HasPrefix(line, "•") || strings.HasPrefix(line, "-") {
			bullets++
		}
		if strings.HasSuffix(line, "...") || strings.HasSuffix(line, "…") {
			ellipses++
		}
	}
	out["datatrove_bullet_line_ratio"] = ratio(bullets, len(lines))
	out["datatrove_ellipsis_line_ratio"] = ratio(ellipses, len(lines))
	for _, part := range []struct{ name, text, cut string }{
		{"line", text, "\n+"}, {"paragraph", strings.TrimFunc(text, words.IsSpace), "\n{2,}"},
	} {
		seen, pieces, repeated, chars := map[string]bool{}, regexp.MustCompile(part.cut).Split(part.text, -1), 0, 0
		for _, piece := range pieces {
			if seen[piece] {
				repeated, chars = repeated+1, chars+utf8.RuneCountInString(piece)
			}
			seen[piece] = true
		}
		out["datatrove_duplicate_"+part.name+"_fraction"] = ratio(repeated, len(pieces))
		out["datatrove_duplicate_"+part.name+"_char_fraction"] = ratio(chars, utf8.RuneCountInString(text))
	}
}
