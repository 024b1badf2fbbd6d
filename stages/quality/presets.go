package quality

import (
	"fmt"
	"strings"
)

// preset is a named set of rules.
type preset struct {
	name  string
	doc   string
	rules []Rule
	edit  func(*Scratch) string // what it makes of the text that passes, nil for the same
}

// presets is the registry, in the order of the documentation.
var presets = []preset{
	{"gopher-paper", "MassiveWeb's filter as Rae et al. 2021 (Gopher) describe it, appendix A1.1 and table A1, in DCLM's and " +
		"RedPajama-V2's reading. What the paper has beside it, SafeSearch, the removal of duplicates and of test " +
		"documents, is not part of it.", gopherPaper(), nil},
	{"fineweb", "FineWeb's own filter, row for row: datatrove 0.10.0, FineWebQualityFilter, English. The filters that FineWeb " +
		"ran before it, of URLs, language, Gopher and C4, are not part of it.", fineweb(), nil},
	{"gopher-datatrove", "The Gopher filters that FineWeb was tuned with, row for row: datatrove 0.10.0, " +
		"GopherRepetitionFilter and GopherQualityFilter, with their bugs. Other languages than English, with stop " +
		"words and a tokenizer of their own, are not part of it.", gopherDatatrove(), nil},
	{"c4-tfds", c4TFDSDoc, c4Rules("c4_tfds", 3, "tensorflow_datasets, c4_utils.py"),
		func(s *Scratch) string { return s.c4TFDS().edited(s) }},
	{"c4-datatrove", c4DatatroveDoc, c4Rules("c4_datatrove", 5, "datatrove 0.10.0, c4_filters.py"),
		func(s *Scratch) string { return s.c4Datatrove().edited(s) }},
	{"dclm", dclmDoc, dclmRules(), func(s *Scratch) string { return s.dclmLines().edited(s) }},
	{"madlad", madladDoc, madladRules(), nil},
	{"code", codeDoc, codeRules(), nil},
	{"connito", "The row rule of connito's dataloader.", connito(), nil},
}

// Presets returns the names of the presets.
func Presets() (names []string) {
	for _, p := range presets {
		names = append(names, p.name)
	}
	return names
}

// Preset returns the rules of that name. The package comment says what each is faithful to.
func Preset(name string) (*Rules, error) {
	for _, p := range presets {
		if p.name != name {
			continue
		}
		rules, err := New(name, p.rules)
		if err == nil {
			rules.doc, rules.edit = p.doc, p.edit
		}
		return rules, err
	}
	return nil, fmt.Errorf("no quality preset %q: use one of %s", name, strings.Join(Presets(), ", "))
}

// gopherPaper returns the rules of Rae et al. 2021: quality first, then repetition.
func gopherPaper() []Rule {
	const quality, repetition = "Rae et al. 2021, A1.1, quality filtering", "Rae et al. 2021, table A1"
	rules := []Rule{
		{"word_count_min", "word_count", AtLeast, 50, quality},
		{"word_count_max", "word_count", AtMost, 100_000, quality},
		{"mean_word_length_min", "mean_word_length", AtLeast, 3, quality},
		{"mean_word_length_max", "mean_word_length", AtMost, 10, quality},
		{"hash_word_ratio_max", "hash_word_ratio", AtMost, 0.1, quality},
		{"ellipsis_word_ratio_max", "ellipsis_word_ratio", AtMost, 0.1, quality},
		{"bullet_line_ratio_max", "bullet_line_ratio", AtMost, 0.9, quality},
		{"ellipsis_line_ratio_max", "ellipsis_line_ratio", AtMost, 0.3, quality},
		{"alpha_word_ratio_min", "alpha_word_ratio", AtLeast, 0.8, quality},
		{"stop_words_min", "stop_words", AtLeast, 2, quality},
	}
	return append(rules, tableA1(repetition)...)
}

// tableA1 returns the rules of Rae et al. 2021, table A1.
func tableA1(source string) (rules []Rule) {
	for _, r := range []struct {
		measure string
		limit   float64
	}{
		{"duplicate_line_fraction", 0.30},
		{"duplicate_paragraph_fraction", 0.30},
		{"duplicate_line_char_fraction", 0.20},
		{"duplicate_paragraph_char_fraction", 0.20},
		{"top_2_gram_char_fraction", 0.20},
		{"top_3_gram_char_fraction", 0.18},
		{"top_4_gram_char_fraction", 0.16},
		{"duplicate_5_gram_char_fraction", 0.15},
		{"duplicate_6_gram_char_fraction", 0.14},
		{"duplicate_7_gram_char_fraction", 0.13},
		{"duplicate_8_gram_char_fraction", 0.12},
		{"duplicate_9_gram_char_fraction", 0.11},
		{"duplicate_10_gram_char_fraction", 0.10},
	} {
		rules = append(rules, Rule{r.measure + "_max", r.measure, AtMost, r.limit, source})
	}
	return rules
}

// gopherDatatrove returns the rules of datatrove's GopherRepetitionFilter and
// GopherQualityFilter, in the order of its FineWeb example, under its own reasons.
func gopherDatatrove() []Rule {
	const repetition, quality = "datatrove 0.10.0, gopher_repetition_filter.py", "datatrove 0.10.0, gopher_quality_filter.py"
	rules := []Rule{
		{"dup_para_frac", "datatrove_duplicate_paragraph_fraction", AtMost, 0.3, repetition},
		{"dup_para_char_frac", "datatrove_duplicate_paragraph_char_fraction", AtMost, 0.2, repetition},
		{"dup_line_frac", "datatrove_duplicate_line_fraction", AtMost, 0.3, repetition},
		{"dup_line_char_frac", "datatrove_duplicate_line_char_fraction", AtMost, 0.2, repetition},
	}
	for i, limit := range []float64{0.20, 0.18, 0.16, 0.15, 0.14, 0.13, 0.12, 0.11, 0.10} {
		name := fmt.Sprintf("top_%d_gram", i+2)
		if i >= 3 {
			name = fmt.Sprintf("duplicated_%d_n_grams", i+2)
		}
		rules = append(rules, Rule{name, datatroveGramName(i + 2), AtMost, limit, repetition})
	}
	return append(rules, []Rule{
		{"gopher_short_doc", "datatrove_word_count", AtLeast, 50, quality},
		{"gopher_long_doc", "datatrove_word_count", AtMost, 100_000, quality},
		{"gopher_below_avg_threshold", "datatrove_mean_word_length", AtLeast, 3, quality},
		{"gopher_above_avg_threshold", "datatrove_mean_word_length", AtMost, 10, quality},
		{"gopher_too_many_hashes", "datatrove_hash_ratio", AtMost, 0.1, quality},
		{"gopher_too_many_ellipsis", "datatrove_ellipsis_ratio", AtMost, 0.1, quality},
		{"gopher_too_many_bullets", "datatrove_bullet_line_ratio", AtMost, 0.9, quality},
		{"gopher_too_many_end_ellipsis", "datatrove_ellipsis_line_ratio", AtMost, 0.3, quality},
		{"gopher_below_alpha_threshold", "datatrove_alpha_word_ratio", AtLeast, 0.8, quality},
		{"gopher_enough_stop_words", "datatrove_stop_words", AtLeast, 2, quality},
	}...)
}

// fineweb returns the rules of datatrove's FineWebQualityFilter under its own reasons.
func fineweb() []Rule {
	const source = "datatrove 0.10.0, fineweb_quality_filter.py"
	return []Rule{
		{"empty", "line_count", AtLeast, 1, source},
		{"line_punct_ratio", "line_punct_ratio", AtLeast, 0.12, source},
		{"short_line_ratio", "short_line_ratio", AtMost, 0.67, source},
		{"char_dup_ratio", "char_dup_ratio", AtMost, 0.01, source},
		{"list_ratio", "list_ratio", AtMost, 0.3, source},
	}
}

// ConnitoPrefixCharacters is the length, in characters, of the prefix by which connito's
// evaluation tells rows apart, and the length below which it drops them
// (connito/shared/dataloader.py: eval_dedup_prefix_chars, eval_min_text_chars).
const ConnitoPrefixCharacters = 200

// connito returns connito's rules for rows.
func connito() []Rule {
	const source = "connito@0c936fa, connito/shared/dataloader.py"
	return []Rule{
		{"empty", "characters", AtLeast, 1, source + ": rows have text"},
		{"characters_min", "characters", AtLeast, ConnitoPrefixCharacters, source + ": eval_min_text_chars"},
	}
}

// Prefix returns the first so many characters of text, or all of it if it has no more: the
// key by which connito's evaluation, with 200, drops held-out rows that repeat an earlier
// one's beginning. It is part of text. Training rows are not subject to this rule.
func Prefix(text string, characters int) string {
	for i := range text {
		if characters == 0 {
			return text[:i]
		}
		characters--
	}
	return text
}
