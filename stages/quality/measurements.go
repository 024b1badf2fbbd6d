package quality

import (
	"fmt"
	"strings"
)

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
	{"list_ratio", "newlines per token of spaCy's English tokenizer",
		func(s *Scratch) float64 { return ratio(s.line().newlines, max(1, len(s.datatroveTokens()))) }},
	{"datatrove_tokens", "tokens of spaCy's English tokenizer, punctuation included",
		func(s *Scratch) float64 { return float64(len(s.datatroveTokens())) }},
	{"datatrove_word_count", "tokens of spaCy's that are not all punctuation",
		func(s *Scratch) float64 { return float64(s.datatroveWords().words) }},
	{"datatrove_mean_word_length", "characters per token that is not all punctuation",
		func(s *Scratch) float64 { return ratio(s.datatroveWords().characters, s.datatrove.words) }},
	{"datatrove_hash_ratio", "hash signs per token of spaCy's",
		func(s *Scratch) float64 { return ratio(strings.Count(s.text, "#"), len(s.datatroveTokens())) }},
	{"datatrove_ellipsis_ratio", "ellipses (... or …) per token of spaCy's",
		func(s *Scratch) float64 { return s.datatroveEllipsisRatio() }},
	{"datatrove_bullet_line_ratio", "share of all lines, blank ones too, that start with • or -",
		func(s *Scratch) float64 { return ratio(s.datatroveLines().bullets, s.datatrove.lines) }},
	{"datatrove_ellipsis_line_ratio", "share of all lines, blank ones too, that end with ... or …",
		func(s *Scratch) float64 { return ratio(s.datatroveLines().ellipses, s.datatrove.lines) }},
	{"datatrove_alpha_word_ratio", "share of spaCy's tokens that have a letter",
		func(s *Scratch) float64 { return ratio(s.datatroveWords().alpha, len(s.datatrove.tokens)) }},
	{"datatrove_stop_words", "how many of the, be, to, of, and, that, have, with occur, in lower case",
		func(s *Scratch) float64 { return float64(s.datatroveWords().stop) }},
	{"datatrove_duplicate_line_fraction", "share of the lines that repeat an earlier one",
		func(s *Scratch) float64 { return s.datatroveRepeatedLines().fraction() }},
	{"datatrove_duplicate_line_char_fraction", "share of the characters in lines that repeat an earlier one",
		func(s *Scratch) float64 { return s.datatroveRepeatedLines().charFraction(s) }},
	{"datatrove_duplicate_paragraph_fraction", "share of the paragraphs that repeat an earlier one",
		func(s *Scratch) float64 { return s.datatroveRepeatedParagraphs().fraction() }},
	{"datatrove_duplicate_paragraph_char_fraction", "share of the characters in paragraphs that repeat an earlier one",
		func(s *Scratch) float64 { return s.datatroveRepeatedParagraphs().charFraction(s) }},
	{"symbol_word_ratio", "hash signs and ellipses (... or . . . or …) per word split at white space",
		func(s *Scratch) float64 { return ratio(s.space().hashes+s.spaceWords.ellipses, s.spaceWords.words) }},
	{"stop_word_count", "how often the, be, to, of, and, that, have, with occur, in any case",
		func(s *Scratch) float64 { return float64(s.space().stopCount) }},
	{"non_alpha_word_ratio", "share of the words split at white space that have no letter",
		func(s *Scratch) float64 { return ratio(s.space().words-s.spaceWords.alpha, s.spaceWords.words) }},
	{"dclm_word_count", "words split at ASCII white space that begin with a letter or a number",
		func(s *Scratch) float64 { return float64(dclmWordCount(s.text)) }},
	{"dclm_removed_word_ratio", "share of those words that are in lines or phrases that dclm removes",
		func(s *Scratch) float64 { return s.dclmLines().removed() }},
	{"madlad_sentences", "pieces between a run of . ! ? and white space",
		func(s *Scratch) float64 { return float64(s.madlad().sentences) }},
	{"madlad_questionable_fraction", "share of those that madlad finds questionable",
		func(s *Scratch) float64 { return ratio(s.madlad().questionable, s.madladSums.sentences) }},
	{"code_lines", "all lines, blank ones too",
		func(s *Scratch) float64 { return float64(s.code().lines) }},
	{"longest_line", "characters of the longest line",
		func(s *Scratch) float64 { return float64(s.code().longest) }},
	{"mean_line_length", "characters per line, blank ones too",
		func(s *Scratch) float64 { return ratio(s.code().characters, s.codeSums.lines) }},
	{"alpha_char_fraction", "share of the characters that are letters",
		func(s *Scratch) float64 { return ratio(s.code().alpha, s.characterCount()) }},
	{"alnum_char_fraction", "share of the characters that are letters or numbers",
		func(s *Scratch) float64 { return ratio(s.code().alnum, s.characterCount()) }},
	{"xml_header", "1 if an XML declaration is in the first 100 characters",
		func(s *Scratch) float64 { return flag(s.xmlHeader()) }},
	{"generated_notice", "1 if one of the first 5 lines says, in any case, that the file is generated",
		func(s *Scratch) float64 { return flag(s.code().generated) }},
	{"c4_tfds_sentences", "UAX 29 sentences in the lines that c4-tfds leaves",
		func(s *Scratch) float64 { return float64(s.c4TFDS().sentences) }},
	{"c4_tfds_lorem_ipsum", "1 if one of those lines has lorem ipsum, in any case",
		func(s *Scratch) float64 { return flag(s.c4TFDS().loremIpsum) }},
	{"c4_tfds_braces", "1 if one of those lines has a curly bracket",
		func(s *Scratch) float64 { return flag(s.c4TFDS().brace) }},
	{"c4_datatrove_sentences", "spaCy's sentences in the lines that c4-datatrove leaves",
		func(s *Scratch) float64 { return float64(s.c4Datatrove().sentences) }},
	{"c4_datatrove_lorem_ipsum", "1 if one of those lines has lorem ipsum, in any case",
		func(s *Scratch) float64 { return flag(s.c4Datatrove().loremIpsum) }},
	{"c4_datatrove_braces", "1 if one of those lines has a curly bracket",
		func(s *Scratch) float64 { return flag(s.c4Datatrove().brace) }},
}, append(gramMeasurements(), datatroveGramMeasurements()...)...)

// datatroveGramName names the measurement of datatrove's n-grams.
func datatroveGramName(n int) string {
	if n <= 4 {
		return fmt.Sprintf("datatrove_top_%d_gram_char_fraction", n)
	}
	return fmt.Sprintf("datatrove_duplicate_%d_gram_char_fraction", n)
}

// datatroveGramMeasurements returns those of table A1 as datatrove's filter computes them.
func datatroveGramMeasurements() (list []Measurement) {
	for n := 2; n <= gramMax; n++ {
		m := Measurement{datatroveGramName(n),
			fmt.Sprintf("share of the text in the first most frequent %d-gram of spaCy's tokens, even if none repeats", n),
			func(s *Scratch) float64 { return s.datatroveTopFraction(n) }}
		if n > 4 {
			m.Doc = fmt.Sprintf("share of the text in repeated %d-grams of spaCy's tokens, walking on behind each", n)
			m.of = func(s *Scratch) float64 { return s.datatroveDuplicateFraction(n) }
		}
		list = append(list, m)
	}
	return list
}

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
