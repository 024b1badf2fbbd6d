package quality

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"bzdata/tokenize/words"
)

// The plain twins of the line modifiers and filters of DCLM, MADLAD-400 and source code.

var (
	slowNewlines = regexp.MustCompile(`\n{3,}`)
	slowCounter  = regexp.MustCompile(`^[^\p{L}\p{N}_]*\p{Nd}[,.\p{Nd}]*[KkMmBb]?` + slowSpaces + `+(?i:` +
		strings.Join(counters[:], "|") + `)[^\p{L}\p{N}_]*$`)
	slowCart     = regexp.MustCompile(`(?i)` + slowSpaces + `?items in cart`)
	slowReadMore = regexp.MustCompile(`(?i)` + slowSpaces + `?read more...$`)
	slowSignIn   = regexp.MustCompile(`(?i)^sign-in` + slowSpaces + `?`)
	slowSentence = regexp.MustCompile(`[.!?]+` + slowSpaces + `+`)
)

// slowSpaces is a pattern for what words.IsSpace says.
const slowSpaces = "[\\t-\\r\\x1c-\\x20\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"

// slowDCLM returns what the line modifiers leave of a text.
func slowDCLM(text string) string {
	strip := func(s string) string { return strings.TrimFunc(s, words.IsSpace) }
	each := func(edit func(line string) (string, bool)) {
		var kept []string
		for _, line := range strings.Split(text, "\n") {
			if line, ok := edit(line); ok {
				kept = append(kept, line)
			}
		}
		text = strings.Join(kept, "\n")
	}
	original := text
	text = slowNewlines.ReplaceAllString(text, "\n\n")
	for _, limit := range []struct {
		is  func(rune) bool
		max float64
	}{{isUpper, 0.5}, {isPythonDigit, 0.999999}} {
		each(func(line string) (string, bool) {
			n := 0
			for _, r := range line {
				if limit.is(r) {
					n++
				}
			}
			return line, line == "" || float64(n)/float64(utf8.RuneCountInString(line)) <= limit.max
		})
		text = strip(text)
	}
	each(func(line string) (string, bool) { return line, !slowCounter.MatchString(line) })
	text = strip(text)
	each(func(line string) (string, bool) {
		return line, line == "" || len(strings.FieldsFunc(line, words.IsSpace)) >= 2
	})
	for _, pattern := range []*regexp.Regexp{slowCart, slowReadMore, slowSignIn} {
		each(func(line string) (string, bool) {
			if len(strings.FieldsFunc(line, words.IsSpace)) > 10 {
				return line, true
			}
			edited := pattern.ReplaceAllString(line, "")
			return edited, line == "" || strip(edited) != ""
		})
		text = strip(text)
	}
	if text == strip(original) && original == slowNewlines.ReplaceAllString(original, "\n\n") && original == strip(original) {
		return original
	}
	return text
}

// slowDCLMWords counts fastText's words that begin with a letter or a number.
func slowDCLMWords(text string) (n int) {
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \n\r\t\v\f\x00", r) }) {
		if r, _ := utf8.DecodeRuneInString(w); unicode.IsLetter(r) || unicode.IsNumber(r) {
			n++
		}
	}
	return n
}

func slowLineFilters(out map[string]float64, text string) {
	list, stop, plain := strings.FieldsFunc(text, words.IsSpace), 0, 0
	for _, w := range list {
		for _, s := range stopWords {
			if strings.EqualFold(w, s) {
				stop++
			}
		}
		if !strings.ContainsFunc(w, unicode.IsLetter) {
			plain++
		}
	}
	marks := strings.Count(text, "#") + strings.Count(text, "...") + strings.Count(text, ". . .") + strings.Count(text, "…")
	out["symbol_word_ratio"] = ratio(marks, len(list))
	out["stop_word_count"] = float64(stop)
	out["non_alpha_word_ratio"] = ratio(plain, len(list))
	before := slowDCLMWords(text)
	out["dclm_word_count"] = float64(before)
	out["dclm_removed_word_ratio"] = ratio(before-slowDCLMWords(slowDCLM(text)), before)
	sentences, questionable := 0, 0
	for _, s := range slowSentence.Split(text, -1) {
		if strings.TrimFunc(s, words.IsSpace) == "" {
			continue
		}
		sentences++
		n, technical, capitals := utf8.RuneCountInString(s), 0, 0
		for _, r := range s {
			if strings.ContainsRune("0123456789{}+/()>", r) {
				technical++
			}
		}
		all := words.AppendUAX29(nil, s, words.Word)
		for _, w := range all {
			if r, _ := utf8.DecodeRuneInString(w.Of(s)); unicode.IsUpper(r) {
				capitals++
			}
		}
		if n < 20 || n > 500 || ratio(technical, n) > 0.2 || len(all) >= 12 && ratio(capitals, len(all)) > 0.5 {
			questionable++
		}
	}
	out["madlad_sentences"] = float64(sentences)
	out["madlad_questionable_fraction"] = ratio(questionable, sentences)
	slowCode(out, text)
}

func slowCode(out map[string]float64, text string) {
	lines, total, longest := slowPythonLines(text), 0, 0
	for _, line := range lines {
		total, longest = total+utf8.RuneCountInString(line), max(longest, utf8.RuneCountInString(line))
	}
	alpha, alnum := 0, 0
	for _, r := range text {
		if unicode.IsLetter(r) {
			alpha++
		}
		if unicode.IsLetter(r) || unicode.IsNumber(r) {
			alnum++
		}
	}
	head := strings.Join(lines[:min(5, len(lines))], "\n")
	start := []rune(text)
	out["code_lines"] = float64(len(lines))
	out["longest_line"] = float64(longest)
	out["mean_line_length"] = ratio(total, len(lines))
	out["alpha_char_fraction"] = ratio(alpha, len(start))
	out["alnum_char_fraction"] = ratio(alnum, len(start))
	out["xml_header"] = flag(strings.Contains(string(start[:min(100, len(start))]), "<?xml version="))
	out["generated_notice"] = 0
	for _, notice := range generatedNotices {
		out["generated_notice"] = max(out["generated_notice"], flag(strings.Contains(strings.Map(slowLower, head), notice)))
	}
}

// slowLower is Python's lower for the characters whose lower case is an ASCII letter.
func slowLower(r rune) rune {
	if low := unicode.ToLower(r); low < 0x80 && r != 'İ' {
		return low
	}
	return r
}
