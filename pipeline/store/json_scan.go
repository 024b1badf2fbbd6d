package store

import (
	"bytes"
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// jsonDepthMax is how deeply arrays and objects may nest, the record itself being
// depth 1: the limit of encoding/json and of github.com/go-json-experiment/json.
const jsonDepthMax = 10_000

// namesPairwiseMax is up to how many names an object is searched for duplicates
// pair by pair; more names are sorted.
const namesPairwiseMax = 12

// SyntaxError says why a text is not the JSON that was asked for, and where.
type SyntaxError struct {
	Offset int64  // of the offending byte, from the start of the text
	Msg    string // lower-case, without the offset
}

// Error returns the message with the offset.
func (e *SyntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.Msg, e.Offset) }

// RawField is one member of a JSON object, as it stands in the text.
type RawField struct {
	Key   []byte // the name with its quotes; [Unquote] decodes it
	Value []byte // the value, without the space around it
}

// Record receives the members of one JSON object from [Scan]. A Record is reused
// from call to call, after which nothing is allocated; the zero value is ready.
type Record struct {
	Fields []RawField // in the order of the text; slices of the scanned line

	line   []byte
	marks  []uint64    // one bit a byte of line: it means something in a string; or none
	wide   bool        // a byte of line may not be ASCII
	plain  bool        // do without marks
	names  []jsonName  // decoded names of all open objects, innermost last
	frames []jsonFrame // open arrays and objects below the record itself
	arena  []byte      // decoded bytes of names that hold escapes
	fail   *SyntaxError
}

type jsonName struct {
	text []byte
	at   int // of the opening quote
}

type jsonFrame struct {
	names int // where this object's names start; -1 for an array
}

// Scan splits one JSON object into its members. It is as strict as jsontext of
// github.com/go-json-experiment/json by default: RFC 8259 with valid UTF-8, no lone
// surrogates, no name twice in one object at any depth, nesting up to 10,000, and
// nothing but space after the object. Values inside are checked, not decoded.
//
// The error is a [*SyntaxError]; rec.Fields then holds the members before it.
func Scan(line []byte, rec *Record) error {
	rec.reset(line)
	i := skipSpace(line, 0)
	switch {
	case i == len(line):
		return &SyntaxError{int64(i), "no record: the text is empty"}
	case line[i] == '[':
		return &SyntaxError{int64(i), "record is an array, not an object: write one object a line"}
	case line[i] != '{':
		return &SyntaxError{int64(i), "record is not an object"}
	}
	i = rec.members(i + 1)
	if i < 0 {
		return rec.fail
	}
	if i = skipSpace(line, i); i < len(line) {
		return &SyntaxError{int64(i), "text after the end of the record"}
	}
	return nil
}

func (r *Record) reset(line []byte) {
	r.line, r.fail = line, nil
	r.mark()
	r.Fields, r.names = r.Fields[:0], r.names[:0]
	r.frames, r.arena = r.frames[:0], r.arena[:0]
}

// ScanArray splits one JSON array into its elements, as strictly as [Scan] splits an
// object: they become the values of rec.Fields, whose keys are nil.
func ScanArray(text []byte, rec *Record) error {
	rec.reset(text)
	i := skipSpace(text, 0)
	if i == len(text) || text[i] != '[' {
		return &SyntaxError{int64(i), "not an array"}
	}
	if i = rec.elements(i + 1); i < 0 {
		return rec.fail
	}
	if i = skipSpace(text, i); i < len(text) {
		return &SyntaxError{int64(i), "text after the end of the array"}
	}
	return nil
}

func (r *Record) elements(i int) int {
	line := r.line
	if i = skipSpace(line, i); i < len(line) && line[i] == ']' {
		return i + 1
	}
	for {
		from := i
		if i = r.value(i); i < 0 {
			return -1
		}
		r.Fields = append(r.Fields, RawField{Value: line[from:i]})
		switch i = skipSpace(line, i); {
		case i == len(line):
			return r.truncated()
		case line[i] == ',':
			i = skipSpace(line, i+1)
		case line[i] == ']':
			return i + 1
		default:
			return r.failAt(i, "expected , or ] after an element")
		}
	}
}

// members scans the record's own members, from just after its brace to just after
// the closing one. Like all scanning methods it returns -1 after recording a failure.
func (r *Record) members(i int) int {
	line := r.line
	if i = skipSpace(line, i); i < len(line) && line[i] == '}' {
		return i + 1
	}
	for {
		from := i
		var end int
		if i, end = r.name(i); i < 0 {
			return -1
		}
		key, value := line[from:end], i
		if i = r.value(i); i < 0 {
			return -1
		}
		r.Fields = append(r.Fields, RawField{key, line[value:i]})
		switch i = skipSpace(line, i); {
		case i == len(line):
			return r.truncated()
		case line[i] == ',':
			i = skipSpace(line, i+1)
		case line[i] == '}':
			if !r.distinct(0) {
				return -1
			}
			return i + 1
		default:
			return r.failAt(i, "expected , or } after a member")
		}
	}
}

// name scans a name, its colon and the space after it; it returns where the value
// starts and where the name ended.
func (r *Record) name(i int) (next, end int) {
	line := r.line
	if i == len(line) {
		return r.truncated(), 0
	}
	if line[i] != '"' {
		return r.failAt(i, "expected a name in double quotes"), 0
	}
	end, escaped := r.str(i)
	if end < 0 {
		return -1, 0
	}
	text := line[i+1 : end-1]
	if escaped {
		from := len(r.arena)
		r.arena = appendUnescaped(r.arena, text)
		text = r.arena[from:]
	}
	r.names = append(r.names, jsonName{text, i})
	next = skipSpace(line, end)
	if next == len(line) {
		return r.truncated(), 0
	}
	if line[next] != ':' {
		return r.failAt(next, "expected : after a name"), 0
	}
	return skipSpace(line, next+1), end
}

// value scans any value and returns the index after it.
func (r *Record) value(i int) int {
	if i == len(r.line) {
		return r.truncated()
	}
	switch r.line[i] {
	case '{', '[':
		return r.nested(i)
	default:
		return r.scalar(i)
	}
}

func (r *Record) scalar(i int) int {
	switch c := r.line[i]; {
	case c == '"':
		end, _ := r.str(i)
		return end
	case c == '-' || '0' <= c && c <= '9':
		return r.number(i)
	case c == 't':
		return r.literal(i, "true")
	case c == 'f':
		return r.literal(i, "false")
	case c == 'n':
		return r.literal(i, "null")
	default:
		return r.failAt(i, "expected a value")
	}
}

// nested scans an array or object with all it holds, without recursion. Each turn
// of the loop stands at the start of a value.
func (r *Record) nested(i int) int {
	for {
		switch {
		case i == len(r.line):
			return r.truncated()
		case r.line[i] == '{' || r.line[i] == '[':
			var inside bool
			if i, inside = r.open(i); inside {
				continue
			}
		default:
			i = r.scalar(i)
		}
		if i < 0 {
			return -1
		}
		var done bool
		if i, done = r.after(i); done {
			return i
		}
	}
}

// open enters the array or object at i. It returns where its first value starts and
// true, or, if it is empty, the index after it and false.
func (r *Record) open(i int) (next int, inside bool) {
	array := r.line[i] == '['
	if len(r.frames)+2 > jsonDepthMax {
		return r.failAt(i, "nested deeper than 10,000"), false
	}
	next = skipSpace(r.line, i+1)
	if next < len(r.line) && r.line[next] == r.line[i]+2 { // '[' + 2 == ']', '{' + 2 == '}'
		return next + 1, false
	}
	if array {
		r.frames = append(r.frames, jsonFrame{-1})
		return next, true
	}
	r.frames = append(r.frames, jsonFrame{len(r.names)})
	next, _ = r.name(next)
	return next, next >= 0
}

// after stands behind a value: it closes what ends here and moves to the next value,
// or reports that the outermost container is complete (or the text wrong).
func (r *Record) after(i int) (next int, done bool) {
	for len(r.frames) > 0 {
		i = skipSpace(r.line, i)
		if i == len(r.line) {
			return r.truncated(), true
		}
		names := r.frames[len(r.frames)-1].names
		switch c := r.line[i]; {
		case c == ',':
			i = skipSpace(r.line, i+1)
			if names >= 0 {
				i, _ = r.name(i)
			}
			return i, i < 0
		case c == ']' && names < 0:
		case c == '}' && names >= 0:
			if !r.distinct(names) {
				return -1, true
			}
			r.names = r.names[:names]
		default:
			return r.failAt(i, "expected , or the closing bracket"), true
		}
		r.frames = r.frames[:len(r.frames)-1]
		i++
	}
	return i, true
}

// distinct reports whether the names from index from on differ from each other.
func (r *Record) distinct(from int) bool {
	names := r.names[from:]
	second := -1
	if len(names) <= namesPairwiseMax {
		second = duplicatePairwise(names)
	} else {
		second = duplicateSorted(names)
	}
	if second >= 0 {
		r.failAt(second, "the same name twice in one object")
	}
	return second < 0
}

// duplicatePairwise returns where the first name stands that repeats an earlier one, or -1.
func duplicatePairwise(names []jsonName) int {
	for i := 1; i < len(names); i++ {
		for j := range i {
			if bytes.Equal(names[i].text, names[j].text) {
				return names[i].at
			}
		}
	}
	return -1
}

// duplicateSorted is [duplicatePairwise] in n log n; it reorders names.
func duplicateSorted(names []jsonName) int {
	slices.SortFunc(names, func(a, b jsonName) int {
		if c := cmp.Compare(len(a.text), len(b.text)); c != 0 {
			return c
		}
		if c := bytes.Compare(a.text, b.text); c != 0 {
			return c
		}
		return cmp.Compare(a.at, b.at)
	})
	first := -1
	for i := 1; i < len(names); i++ {
		if bytes.Equal(names[i].text, names[i-1].text) && (first < 0 || names[i].at < first) {
			first = names[i].at
		}
	}
	return first
}

// number scans -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func (r *Record) number(i int) int {
	line := r.line
	if line[i] == '-' {
		i++
	}
	from := i
	if i = skipDigits(line, i); i == from {
		return r.failAt(i, "expected a digit")
	}
	if line[from] == '0' && i > from+1 {
		return r.failAt(from+1, "number with a leading zero")
	}
	if i < len(line) && line[i] == '.' {
		from = i + 1
		if i = skipDigits(line, from); i == from {
			return r.failAt(i, "expected a digit after the decimal point")
		}
	}
	if i < len(line) && line[i]|0x20 == 'e' {
		i++
		if i < len(line) && (line[i] == '+' || line[i] == '-') {
			i++
		}
		from = i
		if i = skipDigits(line, from); i == from {
			return r.failAt(i, "expected a digit in the exponent")
		}
	}
	return i
}

func (r *Record) literal(i int, want string) int {
	if end := i + len(want); end <= len(r.line) && string(r.line[i:end]) == want {
		return end
	}
	return r.failAt(i, "expected a value")
}

// mark looks at the whole line for what means something in strings, where that is fast.
func (r *Record) mark() {
	n := (len(r.line) + 63) / 64
	if cap(r.marks) < n {
		r.marks = make([]uint64, n+n/4)
	}
	r.marks, r.wide = r.marks[:n], true
	if r.plain {
		r.marks = r.marks[:0]
	} else if wide, ok := markBlocks(r.line, r.marks); ok {
		r.wide = wide
	} else {
		r.marks = r.marks[:0]
	}
}

// next returns the first index at or after i of a byte that means something in a string.
func (r *Record) next(i int) int {
	at := i >> 6
	if at >= len(r.marks) {
		i, _ = plainRun(r.line, i)
		return i
	}
	if m := r.marks[at] >> (i & 63); m != 0 {
		return i + bits.TrailingZeros64(m)
	}
	for at++; at < len(r.marks); at++ {
		if m := r.marks[at]; m != 0 {
			return at<<6 + bits.TrailingZeros64(m)
		}
	}
	return len(r.line)
}

// str scans the string whose opening quote is at i and returns the index after its
// closing quote, and whether it holds escapes.
func (r *Record) str(i int) (end int, escaped bool) {
	line, from := r.line, i+1
	for i = from; ; {
		i = r.next(i)
		switch {
		case i == len(line):
			return r.truncated(), escaped
		case line[i] == '"':
			if r.wide && !validUTF8(line[from:i]) {
				return r.failAt(from+invalidUTF8(line[from:i]), "invalid UTF-8"), escaped
			}
			return i + 1, escaped
		case line[i] == '\\':
			escaped = true
			n := escapeLen(line[i:])
			if n < 0 {
				return r.failAt(i, "bad escape in a string"), escaped
			}
			i += n
		default:
			return r.failAt(i, "control character in a string"), escaped
		}
	}
}

func (r *Record) failAt(i int, msg string) int {
	if i >= len(r.line) {
		return r.truncated()
	}
	r.fail = &SyntaxError{int64(i), msg}
	return -1
}

func (r *Record) truncated() int {
	r.fail = &SyntaxError{int64(len(r.line)), "record ends too early"}
	return -1
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func skipDigits(b []byte, i int) int {
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	return i
}

// invalidUTF8 returns the index of the first byte that is not part of valid UTF-8,
// or the length.
func invalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(b)
}
