package store

import "strings"

// redacted stands for what was cut out of an address.
const redacted = "***"

// RedactText returns a text without the secrets that stand in its addresses: the user
// info of all, and the query of those with http or https, or with any "=". It may cut
// more than needed, never less, and leaves a text alone that it has been over.
func RedactText(s string) string {
	var out strings.Builder
	for {
		i := strings.Index(s, "://")
		if i < 0 {
			out.WriteString(s)
			return out.String()
		}
		out.WriteString(s[:i+3])
		scheme := s[:i]
		scheme = scheme[strings.LastIndexFunc(scheme, func(r rune) bool { return !isSchemeRune(r) })+1:]
		end := strings.IndexAny(s[i+3:], " \t\r\n\"'`<>|\x00")
		if end < 0 {
			end = len(s) - i - 3
		}
		out.WriteString(redactRest(scheme, s[i+3:i+3+end]))
		s = s[i+3+end:]
	}
}

func isSchemeRune(r rune) bool {
	return r < 0x80 && (r == '+' || r == '-' || r == '.' || isScheme("a"+string(r)))
}

// redactRest redacts what follows a scheme, up to a space or quote.
func redactRest(scheme, rest string) string {
	body := strings.TrimRight(rest, ",;.:)]}")
	tail := rest[len(body):]
	query := ""
	if i := strings.IndexByte(body, '?'); i >= 0 {
		web := strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")
		if web || strings.ContainsAny(body[i:], "=%&") {
			body, query = body[:i], "?"+redacted
		}
	}
	if !strings.EqualFold(scheme, "hf") || !strings.HasPrefix(body, hubDatasets) {
		authority, below, found := strings.Cut(body, "/")
		if at := strings.LastIndexByte(authority, '@'); at >= 0 {
			body = redacted + authority[at:]
			if found {
				body += "/" + below
			}
		}
	}
	// A second address within this one, as in a redirect's parameter, has had its scheme
	// passed over.
	if i := strings.Index(body, "://"); i >= 0 {
		return RedactText(body) + query + tail
	}
	return body + query + tail
}

// HasQuery reports whether a text is the address of a web file with a query, which may be
// a signature and is therefore kept from everything that is written. name is the address
// without it.
func HasQuery(text string) (name string, found bool) {
	if !strings.HasPrefix(text, "https://") && !strings.HasPrefix(text, "http://") || strings.ContainsAny(text, " \t\r\n{") {
		return text, false
	}
	name, _, found = strings.Cut(text, "?")
	return name, found
}
