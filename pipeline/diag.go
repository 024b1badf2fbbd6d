package pipeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Diag is one mistake in a plan, with the place where its author can mend it.
type Diag struct {
	File      string
	Line, Col int    // from 1; Col counts characters
	Flag      string // the flag that brought the value, such as "--set seed=x"; then there is no line
	Path      string // such as stages[2].minhash.bands; empty for mistakes of YAML itself
	Msg       string // what, and what to do
	Hint      string // a second line of advice, such as `did you mean "bands"?`
	Source    string // the line of the file, for the code frame
}

// Error is one line: the place, the path and the message, and the hint, if any.
func (d Diag) Error() string {
	if d.Hint == "" {
		return d.head()
	}
	return d.head() + "; " + d.Hint
}

func (d Diag) head() string {
	at := d.Flag
	if at == "" {
		at = fmt.Sprintf("%s:%d:%d", d.File, d.Line, d.Col)
	}
	if d.Path == "" {
		return at + ": " + d.Msg
	}
	return at + ": " + d.Path + ": " + d.Msg
}

// String is the mistake as shown to a person: the line of [Diag.Error], the code frame
// with a caret below the place, and the hint.
//
//	plan.yaml:7:7: stages[0].minhash.bnds: unknown key
//	  7 |       bnds: 14
//	    |       ^
//	  did you mean "bands"?
func (d Diag) String() string {
	var b strings.Builder
	b.WriteString(d.head())
	if d.Flag == "" && d.Source != "" {
		line, pad := d.frame()
		number := fmt.Sprint(d.Line)
		fmt.Fprintf(&b, "\n  %s | %s\n  %s | %s^", number, line, strings.Repeat(" ", len(number)), pad)
	}
	if d.Hint != "" {
		b.WriteString("\n  " + d.Hint)
	}
	return b.String()
}

// frameWidth is how many characters of a line a code frame shows.
const frameWidth = 96

// frame cuts the source line to a window around the place and returns it with the
// blanks that put a caret below the place.
func (d Diag) frame() (line, pad string) {
	runes := []rune(strings.TrimRight(d.Source, "\r\n"))
	at := min(max(d.Col-1, 0), len(runes))
	if from := at - frameWidth/2; len(runes) > frameWidth && from > 0 {
		runes, at = append([]rune("…"), runes[from:]...), at-from+1
	}
	if len(runes) > frameWidth {
		runes = append(runes[:frameWidth:frameWidth], '…')
	}
	for i, r := range runes {
		if r == '\t' || r < ' ' {
			runes[i] = ' '
		}
	}
	return string(runes), strings.Repeat(" ", at)
}

// Diags are all the mistakes found in one reading of a plan, in the order of the file;
// those of flags follow.
type Diags []Diag

// Error shows every mistake as [Diag.String] does, and their number if there are several.
func (ds Diags) Error() string {
	blocks := make([]string, len(ds), len(ds)+1)
	for i, d := range ds {
		blocks[i] = d.String()
	}
	switch {
	case len(ds) >= diagsMax:
		blocks = append(blocks, fmt.Sprintf("the first %d mistakes", len(ds)))
	case len(ds) > 1:
		blocks = append(blocks, fmt.Sprintf("%d mistakes", len(ds)))
	}
	return strings.Join(blocks, "\n")
}

// sorted returns ds in the order of the file.
func (ds Diags) sorted() Diags {
	slices.SortStableFunc(ds, func(a, b Diag) int {
		return cmp.Or(
			cmp.Compare(min(len(a.Flag), 1), min(len(b.Flag), 1)),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return ds
}

// Suggest returns `did you mean "…"?` for the candidate nearest to s, or "" if none is
// near: one letter and a third of them may differ.
func Suggest(s string, candidates []string) string {
	if best := nearest(s, candidates); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return ""
}

// nearest is the candidate that [Suggest] names, or "".
func nearest(s string, candidates []string) string {
	if len(s) > 64 {
		return ""
	}
	best, bestDist := "", 1+len([]rune(s))/3
	for _, c := range candidates {
		if dist := editDistance([]rune(s), []rune(c)); dist <= bestDist && c != s {
			best, bestDist = c, dist-1
		}
	}
	return best
}

// editDistance counts insertions, deletions, replacements and swaps of neighbours that
// turn a into b (optimal string alignment).
func editDistance(a, b []rune) int {
	older, old, now := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range now {
		now[j] = j
	}
	for i := range a {
		older, old, now = old, now, older
		now[0] = i + 1
		for j := range b {
			now[j+1] = min(old[j+1]+1, now[j]+1)
			if a[i] == b[j] {
				now[j+1] = min(now[j+1], old[j])
			} else {
				now[j+1] = min(now[j+1], old[j]+1)
			}
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				now[j+1] = min(now[j+1], older[j-1]+1)
			}
		}
	}
	return now[len(b)]
}
