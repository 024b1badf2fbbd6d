package quality

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// slowNormalize is the plain twin of Normalize: one pass over the whole text per edit.
func slowNormalize(text string, o NormalizeOptions) string {
	text = string([]rune(text))
	if o.LineEndings {
		text = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\v", "\n", "\f", "\n", "\u0085", "\n",
			"\u2028", "\n", "\u2029", "\n").Replace(text)
	}
	if o.Controls {
		text = slowRemove(text, func(r rune) bool {
			return unicode.Is(unicode.Cc, r) && !strings.ContainsRune("\t\n\r\v\f\u0085", r)
		})
	}
	if o.ZeroWidth {
		text = slowRemove(text, func(r rune) bool { return strings.ContainsRune(slowInvisible, r) })
	}
	if o.Spaces {
		text = strings.Map(func(r rune) rune {
			if unicode.Is(unicode.Zs, r) {
				return ' '
			}
			return r
		}, text)
	}
	if o.ZeroWidth {
		text = slowJoiners(text)
	}
	if o.TrailingSpaces {
		lines := strings.Split(text, "\n")
		for i := range lines {
			lines[i] = strings.TrimRight(lines[i], " \t")
		}
		text = strings.Join(lines, "\n")
	}
	for o.BlankLines && strings.Contains(text, "\n\n\n") {
		text = strings.ReplaceAll(text, "\n\n\n", "\n\n")
	}
	if o.Trim {
		text = strings.Trim(text, " \t\n")
	}
	if o.NFC {
		text = norm.NFC.String(text)
	}
	return text
}

// slowInvisible lists what ZeroWidth removes everywhere.
const slowInvisible = "\u00ad\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063" +
	"\u2064\u2066\u2067\u2068\u2069\u206a\u206b\u206c\u206d\u206e\u206f\ufeff"

func slowRemove(text string, drop func(rune) bool) string {
	return strings.Map(func(r rune) rune {
		if drop(r) {
			return -1
		}
		return r
	}, text)
}

// slowJoiners removes the joiners without a base. White space that is trimmed later is no
// base either way, so trimming can come after.
func slowJoiners(text string) string {
	base := rune(0)
	return slowRemove(text, func(r rune) bool {
		drop := (r == 0x200c || r == 0x200d) && !joinable(base)
		if !drop && !unicode.Is(unicode.M, r) {
			base = r
		}
		return drop
	})
}
