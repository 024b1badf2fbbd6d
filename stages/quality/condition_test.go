package quality

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestConditions(t *testing.T) {
	text := "The cat and the dog.\nThe cat and the dog."
	for _, tc := range []struct {
		condition string
		want      bool
		measure   string
	}{
		{"word_count > 9", true, "word_count"}, {"word_count > 10", false, ""}, {"word_count >= 10", true, "word_count"},
		{"word_count < 10", false, ""}, {"word_count <= 10", true, "word_count"}, {"10 == word_count", true, "word_count"},
		{"word_count != 10", false, ""}, {"9.5<word_count", true, "word_count"}, {"word_count > -1e3", true, "word_count"},
		{"line_count == stop_words", true, "line_count"},
		{"word_count > 9 and line_count > 1", true, "line_count"}, {"word_count > 9 and line_count > 2", false, ""},
		{"word_count > 10 or line_count > 1", true, "line_count"}, {"word_count > 9 or line_count > 1", true, "word_count"},
		{"not word_count > 10", true, "word_count"}, {"not not word_count > 9", true, "word_count"},
		{"word_count > 10 or word_count > 9 and line_count > 9", false, ""},
		{"(word_count > 9 or word_count > 10) and line_count > 1", true, "line_count"},
		{"not (word_count > 9 and line_count > 2)", true, "line_count"},
		{" twice told : duplicate_line_fraction >\n 0.5 ", true, "duplicate_line_fraction"},
	} {
		c, err := ParseCondition(tc.condition)
		if err != nil {
			t.Errorf("%s: %v", tc.condition, err)
			continue
		}
		var s Scratch
		s.Reset(text)
		v := c.Judge(&s)
		if v.Keep == tc.want || v.Measure != tc.measure {
			t.Errorf("%s: got %+v", tc.condition, v)
		}
		if name, _, ok := strings.Cut(tc.condition, ":"); !v.Keep && (ok && v.Reason != strings.TrimSpace(name) || !ok && v.Reason != c.Text) {
			t.Errorf("%s: the reason is %q", tc.condition, v.Reason)
		}
	}
}

// TestConditionErrors has the message for each mistake.
func TestConditionErrors(t *testing.T) {
	for condition, want := range map[string]string{
		"":                                 `at character 1 of "": want a measurement or a number, got the end`,
		": word_count > 1":                 `at character 1 of ": word_count > 1": no name stands before the colon; write one, or remove the colon`,
		"a: b: word_count > 1":             `at character 4 of "a: b: word_count > 1": no measurement is named b`,
		"word_count":                       `at character 11 of "word_count": want a comparison such as > 10, got the end`,
		"word_count = 3":                   `at character 12 of "word_count = 3": "=" is no comparison; use < <= > >= == or !=`,
		"word_count > ":                    `at character 14 of "word_count > ": want a measurement or a number, got the end`,
		"word_count > 3 word_count < 4":    `at character 16 of "word_count > 3 word_count < 4": "word_count" is too much; join comparisons with and, or`,
		"word_count > 3)":                  `at character 15 of "word_count > 3)": ")" is too much; join comparisons with and, or`,
		"(word_count > 3":                  `at character 1 of "(word_count > 3": this parenthesis is not closed before the end; add a )`,
		"not (word_count > 3 and":          `at character 24 of "not (word_count > 3 and": want a measurement or a number, got the end`,
		"wörds > 3":                        `at character 1 of "wörds > 3": no measurement is named w`,
		"word_count > 1 & 2":               `at character 16 of "word_count > 1 & 2": "&" is no word of conditions; write and`,
		"word_count > 1 && line_count > 2": `at character 16 of "word_count > 1 && line_count > 2": "&&" is no word of conditions; write and`,
		"(word_count > 1||line_count > 2)": `at character 16 of "(word_count > 1||line_count > 2)": "||" is no word of conditions; write or`,
		"word_count && line_count > 2":     `at character 12 of "word_count && line_count > 2": "&&" is no word of conditions; write and`,
		"!(word_count > 1)":                `at character 1 of "!(word_count > 1)": want a measurement or a number, got "!"; write not for !`,
		"stop_words < 80%":                 `at character 14 of "stop_words < 80%": numbers have no %; write 0.8, if the measurement is a share`,
		"2.5 % > stop_words or":            `at character 1 of "2.5 % > stop_words or": numbers have no %; write 0.025, if the measurement is a share`,
		"word_count > 1 < 2":               `at character 16 of "word_count > 1 < 2": one comparison follows another; write a < b and b < c`,
		"word_count > 0x":                  `at character 14 of "word_count > 0x": "0x" is no number; write one such as 10, 0.25 or 1e6`,
		"1 > 2":                            `at character 1 of "1 > 2": two numbers are compared, and no measurement`,
		"é > 1":                            `at character 1 of "é > 1": want a measurement or a number, got "é"`,
		"and > 1":                          `at character 1 of "and > 1": want a measurement or a number, got "and"`,
		"word_count > 1e999":               `at character 14 of "word_count > 1e999": "1e999" is no number; write one such as 10, 0.25 or 1e6`,
	} {
		_, err := ParseCondition(condition)
		if err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", condition, err, want)
		}
	}
	if _, err := ParseCondition(strings.Repeat("(", 1e6)); err == nil {
		t.Error("a million parentheses are accepted")
	}
}

// TestConditionValues checks what goes into the drop log.
func TestConditionValues(t *testing.T) {
	c, err := ParseCondition("word_count < 5 and (characters > 1 or word_count > 1)")
	if err != nil {
		t.Fatal(err)
	}
	chain := &Chain{Drops: []*Condition{c}}
	_, v := chain.Judge("one two", &Scratch{})
	want := Verdict{Reason: c.Text, Measure: "characters", Value: 7, Detail: "word_count 2, characters 7"}
	if v != want {
		t.Errorf("got %+v, want %+v", v, want)
	}
}

// describe writes a condition with all its parentheses: it must mean the same when read again.
func describe(n node) string {
	switch n := n.(type) {
	case both:
		return "(" + describe(n.a) + " and " + describe(n.b) + ")"
	case either:
		return "(" + describe(n.a) + " or " + describe(n.b) + ")"
	case negation:
		return "not (" + describe(n.of) + ")"
	case *comparison:
		sign := ""
		for s, compare := range signs {
			if compare(1, 2) == n.compare(1, 2) && compare(2, 1) == n.compare(2, 1) && compare(1, 1) == n.compare(1, 1) {
				sign = s
			}
		}
		side := func(o operand) string {
			if o.measure.of == nil {
				return fmt.Sprint(o.number)
			}
			return o.measure.Name
		}
		return side(n.left) + sign + side(n.right)
	}
	return "?"
}

func FuzzParseCondition(f *testing.F) {
	for _, s := range []string{"word_count > 9 and not (line_count < 1 or stop_words >= 2.5e1)", "a: characters!=1", "((", "1e+5<=characters", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCondition(text)
		var wrong *ParseError
		if err != nil {
			if !errors.As(err, &wrong) || wrong.Offset < 0 || wrong.Offset > len(text) || err.Error() == "" {
				t.Fatalf("%q: %#v", text, err)
			}
			return
		}
		whole := describe(c.root)
		again, err := ParseCondition(whole)
		if err != nil && !strings.Contains(err.Error(), "nested too deep") || !utf8.ValidString(whole) {
			t.Fatalf("%q is %q: %v", text, whole, err)
		}
		if err != nil {
			return
		}
		for _, text := range []string{"", "The cat and the dog.\nThe cat and the dog.", realProse} {
			var s Scratch
			s.Reset(text)
			if c.Judge(&s).Keep != again.Judge(&s).Keep {
				t.Fatalf("%q and %q differ on %q", c.Text, whole, text)
			}
		}
	})
}
