package dedup

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"bzdata/tokenize/words"
)

// slowSpans removes the repeated spans of a corpus of documents of one text each, the slow and
// obvious way: spans are compared as strings.
func slowSpans(docs []string, o SpanOptions) []string {
	if o.Unit != "sentences" {
		o.Sentences = 1
	}
	seen := map[string]bool{}
	out := make([]string, len(docs))
	for d, text := range docs {
		gaps, bodies := slowUnits(text, o.Unit)
		gone := make([]bool, len(bodies))
		for i := 0; i+o.Sentences <= len(bodies); i++ {
			key, count := "", 0
			for _, body := range bodies[i : i+o.Sentences] {
				key += slowComparable(body, o.Compare) + "\x00"
				count += len(words.AppendWords(nil, body))
			}
			if count >= o.WordsMin && seen[key] {
				for j := range o.Sentences {
					gone[i+j] = true
				}
			}
			seen[key] = seen[key] || count >= o.WordsMin
		}
		out[d] = slowJoin(gaps, bodies, gone)
	}
	return out
}

// slowUnits cuts a text into units and the white space before each and behind the last.
func slowUnits(text, unit string) (gaps, bodies []string) {
	var pieces []string
	switch unit {
	case "line":
		pieces = strings.Split(text, "\n")
	case "paragraph":
		pieces = strings.Split(text, "\n\n")
	default:
		for _, line := range strings.Split(text, "\n") {
			pieces = append(pieces, slowSentences(line)...)
		}
	}
	rest := text
	for _, p := range pieces {
		if unit != "line" {
			p = strings.TrimFunc(p, words.IsSpace)
		}
		if strings.TrimFunc(p, words.IsSpace) == "" {
			continue
		}
		at := len(rest) - len(strings.TrimLeftFunc(rest, words.IsSpace))
		if unit == "line" { // indentation is the line's own
			at = strings.LastIndexByte(rest[:at], '\n') + 1
		}
		gaps, bodies, rest = append(gaps, rest[:at]), append(bodies, p), rest[at+len(p):]
	}
	return append(gaps, rest), bodies
}

// terminators are runs of terminators and closers that start with a terminator.
var terminators = regexp.MustCompile(`[.!?…؟।。！？｡][.!?…؟।。！？｡"')\]}»”’」』）]*`)

func slowSentences(line string) (out []string) {
	from := 0
	for _, m := range terminators.FindAllStringIndex(line, -1) {
		rest := line[m[1]:]
		after := strings.TrimLeftFunc(rest, words.IsSpace)
		next, _ := utf8.DecodeRuneInString(after)
		if strings.ContainsAny(line[m[0]:m[1]], "。！？｡") || len(after) < len(rest) && !unicode.IsLower(next) {
			out = append(out, line[from:m[1]])
			from = m[1]
		}
	}
	return append(out, line[from:])
}

func slowComparable(body, compare string) string {
	body = strings.TrimFunc(body, words.IsSpace)
	switch ws := words.AppendWords(nil, body); {
	case compare == "lower":
		return string(appendLower(nil, body))
	case compare == "words" && len(ws) > 0:
		key := ""
		for _, w := range ws {
			key += string(appendLower(nil, w.Of(body))) + " "
		}
		return key
	}
	return body
}

func slowJoin(gaps, bodies []string, gone []bool) string {
	out, last, first := "", -1, true // last: the unit before that stays
	for i, body := range bodies {
		if gone[i] {
			continue
		}
		if !first || i == 0 {
			gap := gaps[last+1]
			for _, next := range gaps[min(last+2, i+1) : i+1] {
				gap = joinGaps(gap, next)
			}
			out += gap
		}
		out, last, first = out+body, i, false
	}
	if last == len(bodies)-1 {
		out += gaps[len(bodies)]
	}
	return out
}
