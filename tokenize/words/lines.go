package words

import "strings"

// AppendLines appends the lines of text that are not blank. Lines end at "\n", which
// belongs to none; they are not trimmed, so that one may start or end in white space.
func AppendLines[T Text](dst []Span, text T) []Span {
	s := view(text)
	for from := 0; from < len(s); {
		to := from + strings.IndexByte(s[from:], '\n')
		if to < from {
			to = len(s)
		}
		line := Span{int32(from), int32(to)}
		if !blank(s[from:to]) {
			dst = append(dst, line)
		}
		from = to + 1
	}
	return dst
}

// blank reports whether s is empty or all white space.
func blank(s string) bool {
	for i := 0; i < len(s); {
		n := spaceAt(s, i)
		if n == 0 {
			return false
		}
		i += n
	}
	return true
}

// AppendParagraphs appends the paragraphs of text: its pieces between two or more "\n" in
// a row, trimmed of white space, blank ones left out. Like Gopher's and DCLM's, they do not
// end at a line that holds only spaces.
func AppendParagraphs[T Text](dst []Span, text T) []Span {
	s := view(text)
	for from := 0; from < len(s); {
		to := from + strings.Index(s[from:], "\n\n")
		if to < from {
			to = len(s)
		}
		if p := trim(s, Span{int32(from), int32(to)}); p.Len() > 0 {
			dst = append(dst, p)
		}
		from = to + 2
	}
	return dst
}
