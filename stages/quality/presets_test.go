package quality

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestPresetsAreDocumented checks the list and that every rule names its source.
func TestPresetsAreDocumented(t *testing.T) {
	want := []string{"gopher-paper", "fineweb", "gopher-datatrove", "c4-tfds", "c4-datatrove", "dclm", "madlad", "code", "connito"}
	if got := Presets(); !slices.Equal(got, want) {
		t.Errorf("the presets are %v", got)
	}
	edits := []string{"c4-tfds", "c4-datatrove", "dclm"}
	for _, name := range Presets() {
		rules, err := Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		if rules.Doc() == "" || (&Chain{Sets: []*Rules{rules}}).Edits() != slices.Contains(edits, name) {
			t.Errorf("%s: doc %q, edits %v", name, rules.Doc(), rules.edit != nil)
		}
		for _, r := range rules.Describe() {
			if r.Source == "" {
				t.Errorf("%s: %s has no source", name, r)
			}
		}
	}
}

// TestRuleBoundaries sets each rule's limit to the value that a text has, which passes, and
// to the next number beyond, which does not.
func TestRuleBoundaries(t *testing.T) {
	text := realProse + "\n\n- One... #\n\n- One... #\n\nWe use cookies {here}.\n3 likes\nIt is so. It is so... It is so.\n" + realProse
	for _, name := range Presets() {
		rules, err := Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rules.Describe() {
			value, beyond := measure(t, r.Measure, text), math.Inf(1)
			if r.Bound == AtMost {
				beyond = math.Inf(-1)
			}
			for limit, keep := range map[float64]bool{value: true, math.Nextafter(value, beyond): false} {
				r.Limit = limit
				one, err := New("one", []Rule{r})
				if err != nil {
					t.Fatal(err)
				}
				want := Verdict{Keep: true}
				if !keep {
					want = Verdict{Reason: r.Name, Measure: r.Measure, Value: value, Limit: limit}
				}
				if v := one.Judge(text, nil); v != want {
					t.Errorf("%s: %s of %v: got %+v", name, r, value, v)
				}
			}
		}
	}
}

// TestDatatroveVerdicts compares with what datatrove 0.10.0's own filters said of the same
// texts: the reason, and what C4's leaves of a text. bench/compare-datatrove does it for any
// file.
func TestDatatroveVerdicts(t *testing.T) {
	data, err := os.ReadFile("testdata/datatrove.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var s Scratch
	reasons := map[string]bool{}
	for i, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		var row map[string]string
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"gopher-datatrove", "fineweb", "c4-datatrove"} {
			rules, err := Preset(name)
			if err != nil {
				t.Fatal(err)
			}
			text, v := (&Chain{Sets: []*Rules{rules}}).Judge(row["text"], &s)
			if v.Reason != row[name] || name == "c4-datatrove" && v.Keep && text != row["left"] {
				t.Errorf("row %d, %s: %q, want %q: %.80q", i, name, v.Reason, row[name], row["text"])
			}
			reasons[name+v.Reason] = true
		}
	}
	if len(reasons) < 20 {
		t.Errorf("only %d outcomes occur", len(reasons))
	}
}

// TestDatatroveKnown has what sets datatrove's Gopher filters apart from the paper.
func TestDatatroveKnown(t *testing.T) {
	opening := strings.Repeat("a", 18) + " " + strings.Repeat("b", 18) + " " + strings.Repeat("c", 18) + " " + strings.Repeat("d", 60)
	for i := range 47 {
		opening += fmt.Sprintf(" %c%c%c", 'e'+i%20, 'a'+i/20, 'x')
	}
	for _, tc := range []struct {
		measure, text string
		want          float64
	}{
		{"datatrove_top_4_gram_char_fraction", opening, (3*18 + 60 + 3) / float64(len(opening))},
		{"top_4_gram_char_fraction", opening, 0},
		{"datatrove_top_4_gram_char_fraction", "This is a test", 1},
		{"datatrove_top_2_gram_char_fraction", "a b c a b d e f e f", 6. / 19},
		{"datatrove_duplicate_5_gram_char_fraction", "ab c d e f a bc d e f", 6. / 21},
		{"datatrove_duplicate_line_fraction", "\na\na\n", 2. / 4},
		{"datatrove_duplicate_line_fraction", " a\na", 0},
		{"datatrove_duplicate_paragraph_fraction", "\n\na\n\n\na\nb\n\na", 1. / 3},
		{"datatrove_stop_words", "The THE the of", 2},
		{"datatrove_tokens", "I don't know... U.S. e.g. 5km (cannot)", 13},
		{"datatrove_word_count", "... - 1 １ word's #", 3},
		{"datatrove_bullet_line_ratio", "- a\n\n• b\n* c\n", 2. / 4},
		{"dclm_word_count", "one two\u00a0three (four) 5 \x00 six", 4},
		{"symbol_word_ratio", "# a... b . . . …", 4. / 7},
		{"stop_word_count", "the THE of xof", 3},
		{"dclm_removed_word_ratio", "a b\nc\nSOME LOUD\n12\n3.5k likes!\nd e", 6. / 10},
		{"madlad_sentences", "One. Two! Three?! 3.5 Four.", 4},
		{"madlad_questionable_fraction", strings.Repeat("This is a sentence of good length. ", 4) + "Short.", 1. / 5},
		{"madlad_questionable_fraction", "A List Of Names Such As Ann Bob Cid Dan Eve Fay.", 1},
		{"madlad_questionable_fraction", "(1+2) {3} /4/ (5) > 6 words", 1},
		{"code_lines", "a\n\nb\r\nc", 4}, {"longest_line", "a\n\u00e9\u00e9\r\nc", 2}, {"mean_line_length", "ab\n\ncd", 4. / 3},
		{"alpha_char_fraction", "a1 \u00e9", 2. / 4}, {"alnum_char_fraction", "a1 \u00e9", 3. / 4},
		{"xml_header", strings.Repeat("\u00e9", 86) + "<?xml version=", 1}, {"xml_header", strings.Repeat("\u00e9", 87) + "<?xml version=", 0},
		{"generated_notice", "1\n2\n3\n4\n// this file is generated", 1}, {"generated_notice", "1\n2\n3\n4\n5\n// autogenerated", 0},
		{"generated_notice", "# This file is generated by X. DO NOT EDIT.", 1}, {"generated_notice", "/* AUTO-GENERATED */", 1},
	} {
		if got := measure(t, tc.measure, tc.text); got != tc.want {
			t.Errorf("%s of %.60q: got %v, want %v", tc.measure, tc.text, got, tc.want)
		}
	}
}

// TestEdits checks what presets leave of a text, and the counts.
func TestEdits(t *testing.T) {
	page := "A menu\n  This is the first good sentence of it.  \nIt has a second one[1] here, too![edit]\nThis ends so...\n" +
		"Please enable Javascript to see all of it.\nAll of these pages use cookies, says somebody.\nToo short it.\n" +
		strings.Repeat("x", 1001) + " is a long word in a line.\nThe last good line says \"stop.\"\nThis line ends with a quote'"
	for _, tc := range []struct{ preset, text, left, edits string }{
		{"c4-tfds", page, "This is the first good sentence of it.\nIt has a second one here, too!\nThe last good line says \"stop.\"",
			"lines_long_word 1, lines_no_end_mark 3, lines_few_words 1, lines_javascript 1, lines_policy 1, citations 2, "},
		{"c4-datatrove", page, "This is the first good sentence of it.\nIt has a second one here, too!\nToo short it.\n" +
			"The last good line says \"stop.\"\nThis line ends with a quote'",
			"lines_long_word 1, lines_no_end_mark 2, lines_javascript 1, lines_policy 1, citations 2, "},
		{"dclm", "\nTOO LOUD\n123\n\n\n 3.5K Likes! \nword\n\nYou have 2 Items In Cart now\nRead more\u2026!?\nread morexyz\nSign-in here\nx y ",
			"You have 2 now\nhere\nx y", "lines_few_words 1, lines_uppercase 1, lines_numeric 1, lines_counter 1, phrases 4, "},
	} {
		rules, err := Preset(tc.preset)
		if err != nil {
			t.Fatal(err)
		}
		var s Scratch
		left := (&Chain{Sets: []*Rules{rules}}).Edit(tc.text, &s)
		edits := ""
		s.Edits(func(kind string, n int) { edits += fmt.Sprintf("%s %d, ", kind, n) })
		if left != tc.left || edits != tc.edits {
			t.Errorf("%s leaves %q after %s\nwant %q after %s", tc.preset, left, edits, tc.left, tc.edits)
		}
	}
}

// TestChain checks that a later set judges what an earlier one has left.
func TestChain(t *testing.T) {
	var sets []*Rules
	for _, name := range []string{"c4-datatrove", "fineweb", "gopher-paper"} {
		rules, err := Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, rules)
	}
	var s Scratch
	text := strings.ReplaceAll(realProse, "\n", " ")
	noisy := "menu\n" + strings.ReplaceAll(text, ". ", ".\nmenu\n") + "\nmenu\nmenu"
	if got, v := (&Chain{Sets: sets[1:]}).Judge(noisy, &s); v.Keep || got != noisy {
		t.Errorf("the noisy text is kept: %+v", v)
	}
	got, v := (&Chain{Sets: sets}).Judge(noisy+"\nFour more. And five.", &s)
	if !v.Keep || strings.Contains(got, "menu") {
		t.Errorf("after c4-datatrove: %+v, %q", v, got)
	}
	if _, v := (&Chain{Sets: sets[1:]}).Judge(got, &s); !v.Keep {
		t.Errorf("what is left is not kept by itself: %+v", v)
	}
}
