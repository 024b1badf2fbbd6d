package quality

// The presets that remove lines, and those of other sources' own measurements.

const (
	c4TFDSDoc = "C4's filter as the code that made C4 has it (tensorflow_datasets, text/c4_utils.py: is_valid_length and " +
		"clean_page); bad words, language and the removal of repeated lines are not part of it. Lines are removed that do not " +
		"end in `.`, `?`, `!` or `\"`, or that end in `...`, that have fewer than 5 words or one of over 1000 characters, " +
		"that mention javascript or a phrase of cookie and privacy notices; citations such as `[1]` are removed from the " +
		"others. Sentences are those of UAX 29, where the source has NLTK's Punkt model, which knows abbreviations."
	c4DatatroveDoc = "C4's filter, row for row, as datatrove 0.10.0's C4QualityFilter has it by default: like c4-tfds, but a " +
		"line may also end in `'`, needs 3 words, counted before citations are removed, and a page needs 5 of spaCy's sentences."
)

// c4Rules returns the rules for pages of a reading of C4.
func c4Rules(measure string, sentences float64, source string) []Rule {
	rules := []Rule{
		{"lorem_ipsum", measure + "_lorem_ipsum", AtMost, 0, source},
		{"curly_bracket", measure + "_braces", AtMost, 0, source},
		{"too_few_sentences", measure + "_sentences", AtLeast, sentences, source},
	}
	if measure == "c4_tfds" {
		rules = append([]Rule{{"page_too_long", "characters", AtMost, 190_000, source}}, rules...)
	}
	return rules
}
