package quality

import (
	"fmt"
	"strings"
)

// presets is the registry, in the order of the documentation.
var presets = []struct {
	name  string
	rules []Rule
}{
	{"gopher-paper", gopherPaper()},
	{"fineweb", fineweb()},
	{"connito", connito()},
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
		if p.name == name {
			return New(name, p.rules)
		}
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
		rules = append(rules, Rule{r.measure + "_max", r.measure, AtMost, r.limit, repetition})
	}
	return rules
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
