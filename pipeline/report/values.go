package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"bzdata/pipeline/store"
)

// Count writes a whole number with its thousands set apart by sep.
func Count(n int64, sep string) string {
	s := strconv.FormatInt(n, 10)
	digits := strings.TrimPrefix(s, "-")
	var b strings.Builder
	b.WriteString(s[:len(s)-len(digits)])
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteString(sep)
		}
		b.WriteRune(d)
	}
	return b.String()
}

// Size writes a number of bytes with three or four digits in the largest binary unit below it.
func Size(n int64) string {
	v, units := float64(n), []string{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	for len(units) > 1 && math.Abs(v) >= 1024 {
		v, units = v/1024, units[1:]
	}
	digits := 0
	if a := math.Abs(v); units[0] != "bytes" && a < 99.95 {
		digits = cmp.Or(map[bool]int{true: 2}[a < 9.995], 1)
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + " " + units[0]
}

// Span writes a duration: seconds with a digit below a minute, then whole ones.
func Span(d time.Duration) string {
	if d.Round(100*time.Millisecond) < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	d = d.Round(time.Second)
	if d < time.Hour {
		return fmt.Sprintf("%d min %02d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%d h %02d min", d/time.Hour, d%time.Hour/time.Minute)
}

// Value writes a setting's value as a plan has it, in one line of about width
// characters. What is left out of longer lists and maps is counted.
func Value(v any, width int) string {
	switch v := v.(type) {
	case nil:
		return "not set"
	case string:
		if v == "" {
			return "not set"
		}
		return shorten(plain(v), width)
	case []any:
		return bracket("[", "]", len(v), width, func(i int) string { return Value(v[i], width) })
	case map[string]any:
		keys := slices.Sorted(maps.Keys(v))
		return bracket("{", "}", len(keys), width,
			func(i int) string { return plain(keys[i]) + ": " + Value(v[keys[i]], width) })
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1e15 {
			return strconv.FormatFloat(v, 'f', 0, 64)
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	if text := reflect.ValueOf(v); text.Kind() == reflect.String {
		return Value(text.String(), width)
	}
	return fmt.Sprint(v)
}

// bracket joins n items, as many as fit, at least one.
func bracket(open, end string, n, width int, item func(i int) string) string {
	out := open
	for i := range n {
		next := item(i)
		if i > 0 {
			if left := fmt.Sprintf(", … %d more", n-i); utf8.RuneCountInString(out+next+left) > width {
				return out + left + end
			}
			out += ", "
		}
		out += next
	}
	return out + end
}

// plain is a text as YAML has it: in quotes only if it would be read as something else.
func plain(s string) string {
	ok := s != "" && !slices.Contains([]string{"true", "false", "null", "~"}, s)
	for i, r := range s {
		ok = ok && unicode.IsGraphic(r) && !strings.ContainsRune("{}[],", r) &&
			(i > 0 || !strings.ContainsRune("!&*?|>@`%-\"'# ", r))
	}
	_, err := strconv.ParseFloat(s, 64)
	ok = ok && err != nil && !strings.HasSuffix(s, " ") && !strings.HasSuffix(s, ":")
	if ok && !strings.Contains(s, ": ") && !strings.Contains(s, " #") {
		return s
	}
	return string(store.AppendQuote(nil, s))
}

// shorten cuts a text to about width characters.
func shorten(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}
