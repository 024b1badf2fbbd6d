package quality

// The presets that remove lines, and those of other sources' own measurements.

const (
	c4TFDSDoc = "C4's filter as the code that made C4 has it (tensorflow_datasets, text/c4_utils.py: is_valid_length and " +
		"clean_page); bad words, language and the removal of repeated lines are not part of it. Lines are removed " +
		"that do not end in `.`, `?`, `!` or `\"`, or that end in `...`, that have fewer than 5 words or one of " +
		"over 1000 characters, that mention javascript or a phrase of cookie and privacy notices; citations such " +
		"as `[1]` are removed from the others. Sentences are those of UAX 29, where the source has NLTK's Punkt " +
		"model, which knows abbreviations."
	c4DatatroveDoc = "C4's filter, row for row, as datatrove 0.10.0's C4QualityFilter has it by default: like c4-tfds, " +
		"but a line may also end in `'`, needs 3 words, counted before citations are removed, and a page needs 5 " +
		"of spaCy's sentences. C4BadWordsFilter and C4ParagraphFilter are not part of it. FineWeb had the rule about " +
		"ends of lines turned off (filter_no_terminal_punct=False), which it is not here."
	dclmDoc = "The rules about text of DCLM-Baseline (mlfoundations/dclm, dclm_baseline_refinedweb.yaml), RefinedWeb's " +
		"in DCLM's reading; URL lists, the removal of URLs, language and the classifier are not part of it. Runs " +
		"of blank lines become one. Lines are removed in which over half of the characters are capitals or all " +
		"are digits, that are counters such as `3 likes`, or that have one word; `items in cart`, `Read more` " +
		"with any three characters behind it (its source writes dots as a pattern) and `Sign-in` are removed from " +
		"lines of at most 10 words."
	madladDoc = "MADLAD-400's filter of documents (Kudugunta et al. 2023, section 2.3): a sentence is questionable if it " +
		"has fewer than 20 or more than 500 characters, if over 20 % of them are in `0-9{}+/()>`, or if it has 12 " +
		"words or more of which over half begin with a capital. Sentences are cut as in datamap-rs. Language by " +
		"sentence and the list of cursed substrings are not part of it."
	codeDoc = "Rules for source code that need no tokenizer and no language: those of RedPajama v1 and NeMo Curator " +
		"about lines and characters, and StarCoder2's notices of generated files. RedPajama's letters per token " +
		"and list of extensions, Curator's characters per token, limits by extension and shares of comments and of " +
		"visible text in HTML, and StarCoder2's other rules and go-enry are not part of it."
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

// dclmRules returns the rules of dclm_baseline_refinedweb.yaml, in its order.
func dclmRules() []Rule {
	const source = "DCLM, dclm_baseline_refinedweb.yaml"
	rules := []Rule{
		{"word_count_min", "dclm_word_count", AtLeast, 50, source},
		{"word_count_max", "dclm_word_count", AtMost, 100_000, source},
		{"mean_word_length_min", "mean_word_length", AtLeast, 3, source},
		{"mean_word_length_max", "mean_word_length", AtMost, 10, source},
		{"symbol_word_ratio_max", "symbol_word_ratio", AtMost, 0.1, source},
		{"bullet_line_ratio_max", "bullet_line_ratio", AtMost, 0.9, source},
		{"ellipsis_line_ratio_max", "ellipsis_line_ratio", AtMost, 0.3, source},
		{"non_alpha_word_ratio_max", "non_alpha_word_ratio", AtMost, 0.2, source},
		{"stop_word_count_min", "stop_word_count", AtLeast, 2, source},
	}
	rules = append(rules, tableA1(source)...)
	return append(rules, Rule{"removed_word_ratio_max", "dclm_removed_word_ratio", AtMost, 0.05, source})
}

// madladRules returns the rules of MADLAD-400.
func madladRules() []Rule {
	const source = "Kudugunta et al. 2023, section 2.3"
	return []Rule{
		{"sentences_min", "madlad_sentences", AtLeast, 5, source},
		{"questionable_fraction_max", "madlad_questionable_fraction", AtMost, 0.2, source},
	}
}

// codeRules returns rules for source code.
func codeRules() []Rule {
	const redPajama, curator = "RedPajama v1, github_run_filter.py, in DCLM's content_filters.py", "NeMo Curator, code filters"
	return []Rule{
		{"code_lines_min", "code_lines", AtLeast, 10, curator},
		{"code_lines_max", "code_lines", AtMost, 20_000, curator},
		{"longest_line_max", "longest_line", AtMost, 1000, redPajama},
		{"mean_line_length_max", "mean_line_length", AtMost, 100, redPajama},
		{"alnum_char_fraction_min", "alnum_char_fraction", AtLeast, 0.25, redPajama},
		{"alpha_char_fraction_min", "alpha_char_fraction", AtLeast, 0.25, curator},
		{"xml_header", "xml_header", AtMost, 0, curator},
		{"generated_notice", "generated_notice", AtMost, 0, "Lozhkov et al. 2024 (StarCoder2), section 3.1"},
	}
}
