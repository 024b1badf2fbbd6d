package quality

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"bzdata/tokenize/words"
)

var slowCitations = regexp.MustCompile(`\[\p{Nd}*\]|\[edit\]|\[citation needed\]`)

// slowC4 is the plain twin of c4State.run: the lines that are left, their sentences, and the
// reason for which the page goes.
func slowC4(text string, v c4Variant) (lines []string, sentences int, reason string) {
	var tokenizer words.Spacy
	has := strings.Contains
	for _, line := range slowPythonLines(text) {
		line = strings.TrimFunc(line, words.IsSpace)
		list := strings.FieldsFunc(line, words.IsSpace)
		if slices.ContainsFunc(list, func(w string) bool { return utf8.RuneCountInString(w) > 1000 }) {
			continue
		}
		line = slowCitations.ReplaceAllString(line, "")
		if v.wordsAfter {
			list = strings.FieldsFunc(line, words.IsSpace)
		}
		last, _ := utf8.DecodeLastRuneInString(line)
		lower := strings.ToLower(strings.ReplaceAll(line, "İ", "?")) // in Python it becomes two characters
		switch {
		case !strings.ContainsRune(v.endMarks, last), strings.HasSuffix(line, "..."), len(list) < v.wordsMin:
			continue
		case has(lower, "lorem ipsum"):
			return lines, sentences, "lorem_ipsum"
		case has(lower, "javascript"):
			continue
		case has(line, "{"):
			return lines, sentences, "curly_bracket"
		case slices.ContainsFunc(c4Policies[:], func(p string) bool { return has(lower, p) }):
			continue
		}
		lines = append(lines, line)
		if v.spacySentences {
			sentences += tokenizer.Sentences(line)
		} else {
			sentences += words.CountSentences(line)
		}
	}
	return lines, sentences, ""
}

// slowC4Measures sets the measurements of both readings.
func slowC4Measures(out map[string]float64, text string) {
	for name, v := range map[string]c4Variant{"c4_tfds": c4TFDS, "c4_datatrove": c4Datatrove} {
		_, sentences, reason := slowC4(text, v)
		out[name+"_sentences"] = float64(sentences)
		out[name+"_lorem_ipsum"] = flag(reason == "lorem_ipsum")
		out[name+"_braces"] = flag(reason == "curly_bracket")
	}
}
