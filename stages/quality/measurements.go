package quality

import "fmt"

// measurements is the registry, in the order of the documentation.
var measurements = append([]Measurement{
	{"characters", "length of the text in code points",
		func(s *Scratch) float64 { return float64(s.characterCount()) }},
	{"word_count", "UAX 29 words that begin with a letter or a number",
		func(s *Scratch) float64 { return float64(len(s.wordSpans())) }},
	{"mean_word_length", "characters per word, words being split at white space",
		func(s *Scratch) float64 { return ratio(s.space().characters, s.space().words) }},
	{"hash_word_ratio", "hash signs per word split at white space",
		func(s *Scratch) float64 { return ratio(s.space().hashes, s.space().words) }},
	{"ellipsis_word_ratio", "ellipses (... or . . . or …) per word split at white space",
		func(s *Scratch) float64 { return ratio(s.space().ellipses, s.space().words) }},
	{"alpha_word_ratio", "share of the words split at white space that have a letter",
		func(s *Scratch) float64 { return ratio(s.space().alpha, s.space().words) }},
	{"stop_words", "how many of the, be, to, of, and, that, have, with occur, in any case",
		func(s *Scratch) float64 { return float64(s.space().stop) }},
	{"line_count", "lines that are not blank",
		func(s *Scratch) float64 { return float64(s.line().count) }},
	{"bullet_line_ratio", "share of the non-blank lines that start with ● • * or -",
		func(s *Scratch) float64 { return ratio(s.line().bullets, s.line().count) }},
	{"ellipsis_line_ratio", "share of the non-blank lines that end with an ellipsis",
		func(s *Scratch) float64 { return ratio(s.line().ellipses, s.line().count) }},
	{"duplicate_line_fraction", "share of the trimmed lines that repeat, every copy counted",
		func(s *Scratch) float64 { return ratio(s.line().duplicates, s.line().count) }},
	{"duplicate_line_char_fraction", "share of the trimmed lines' characters in lines that repeat",
		func(s *Scratch) float64 { return ratio(s.line().duplicateLength, s.line().characters) }},
	{"duplicate_paragraph_fraction", "share of the paragraphs that repeat, every copy counted",
		func(s *Scratch) float64 { return ratio(s.paragraph().duplicates, s.paragraph().count) }},
	{"duplicate_paragraph_char_fraction", "share of the paragraphs' characters in paragraphs that repeat",
		func(s *Scratch) float64 { return ratio(s.paragraph().duplicateLength, s.paragraph().characters) }},
	{"line_punct_ratio", "share of the non-blank lines that end in terminal punctuation",
		func(s *Scratch) float64 { return ratio(s.line().punct, s.line().count) }},
	{"short_line_ratio", "share of the non-blank lines of at most 30 characters",
		func(s *Scratch) float64 { return ratio(s.line().short, s.line().count) }},
	{"char_dup_ratio", "characters in second and later copies of lines, per character but newlines",
		func(s *Scratch) float64 { return s.repeatedLineFraction() }},
	{"list_ratio", "newlines per visible UAX 29 segment, punctuation included",
		func(s *Scratch) float64 { return ratio(s.line().newlines, max(1, s.tokenCount())) }},
}, gramMeasurements()...)

// gramMeasurements returns those of table A1 that are about n-grams.
func gramMeasurements() (list []Measurement) {
	for n := 2; n <= gramMax; n++ {
		if n <= 4 {
			list = append(list, Measurement{fmt.Sprintf("top_%d_gram_char_fraction", n),
				fmt.Sprintf("share of the words' characters in the top %d-gram, 0 if none repeats", n),
				func(s *Scratch) float64 { return s.topFraction(n) }})
			continue
		}
		list = append(list, Measurement{fmt.Sprintf("duplicate_%d_gram_char_fraction", n),
			fmt.Sprintf("share of the words' characters covered by %d-grams that occur more than once", n),
			func(s *Scratch) float64 { return s.duplicateFraction(n) }})
	}
	return list
}
