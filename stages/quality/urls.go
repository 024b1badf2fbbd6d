package quality

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// SplitURL returns the host of a URL in lower case and in the letters of DNS (bücher.de is
// xn--bcher-kva.de), without user, port, brackets and a dot at its end, and what follows the host,
// without the fragment. A URL needs no scheme: what stands before the first / ? or # is the host
// then. It is false if there is no host, or one with a character that no host has.
func SplitURL(raw string) (host, rest string, ok bool) {
	raw = strings.TrimSpace(raw)
	if at := strings.Index(raw, "://"); at >= 0 && strings.IndexAny(raw[:at], "/?#") < 0 {
		raw = raw[at+3:]
	} else {
		raw = strings.TrimPrefix(raw, "//")
	}
	raw, _, _ = strings.Cut(raw, "#")
	host = raw
	if at := strings.IndexAny(raw, "/?"); at >= 0 {
		host, rest = raw[:at], raw[at:]
	}
	host = host[strings.LastIndexByte(host, '@')+1:]
	if inner, isBracket := strings.CutPrefix(host, "["); isBracket {
		host, _, ok = strings.Cut(inner, "]")
		_, err := netip.ParseAddr(host)
		return strings.ToLower(host), rest, ok && err == nil
	}
	host, port, _ := strings.Cut(host, ":")
	host = strings.TrimSuffix(asciiHost(strings.ToLower(host)), ".")
	if host == "" || strings.Trim(port, "0123456789") != "" {
		return "", "", false
	}
	for i := range len(host) {
		if c := host[i]; c <= ' ' || c == 0x7f || strings.IndexByte("\"<>\\^`{|}[]%", c) >= 0 {
			return "", "", false
		}
	}
	return host, rest, true
}

// asciiHost is a host as it is looked up in DNS: by UTS 46, so that ｅxample。com is example.com. One
// that is no domain name stays as it is.
func asciiHost(host string) string {
	for i := range len(host) {
		if host[i] >= utf8.RuneSelf {
			if ascii, err := idna.Lookup.ToASCII(host); err == nil {
				return ascii
			}
			break
		}
	}
	return host
}

// registeredDomain returns the part of a host under which its owner makes names: one label
// and a suffix of the ICANN section of the Public Suffix List, which is what tldextract takes
// by default. An address, or a suffix itself, is its own.
func registeredDomain(host string) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return host
	}
	suffix, icann := publicsuffix.PublicSuffix(host)
	for !icann {
		_, parent, more := strings.Cut(suffix, ".")
		if !more {
			break
		}
		suffix, icann = publicsuffix.PublicSuffix(parent)
	}
	if len(host) <= len(suffix)+1 || host == suffix {
		return host
	}
	return host[strings.LastIndexByte(host[:len(host)-len(suffix)-1], '.')+1:]
}

// URLList is a list of what URLs may contain, by entry, with the list's number.
type URLList map[string]int

// MatchDomain returns the entry that is the host, or a domain above it down to the registered
// domain: an entry such as co.uk or com is no more than that host.
func (l URLList) MatchDomain(host string) (entry string, list int, ok bool) {
	least := len(registeredDomain(host))
	for name := host; len(name) >= least; {
		if n, listed := l[name]; listed {
			return name, n, true
		}
		_, parent, more := strings.Cut(name, ".")
		if !more {
			break
		}
		name = parent
	}
	return "", 0, false
}

// URLKey is the form in which URLs are listed: host, without a leading www., and path, without
// a slash at its end.
func URLKey(host, rest string) string {
	return strings.TrimPrefix(host, "www.") + strings.TrimSuffix(rest, "/")
}

// urlWords returns the words of a URL: runs of ASCII letters and digits, in lower case.
func urlWords(url string) []string {
	return strings.FieldsFunc(strings.ToLower(url), func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z')
	})
}

// PlainURL returns the ASCII letters and digits of a URL, in lower case.
func PlainURL(url string) string { return strings.Join(urlWords(url), "") }

// MatchWords returns how many different entries are words of a URL, and the first.
func (l URLList) MatchWords(url string) (entry string, list, count int) {
	seen := map[string]bool{}
	for _, w := range urlWords(url) {
		n, listed := l[w]
		if !listed || seen[w] {
			continue
		}
		if seen[w] = true; len(seen) == 1 {
			entry, list = w, n
		}
	}
	return entry, list, len(seen)
}

// MatchSubstring returns the first entry that occurs in a URL of which only ASCII letters and
// digits are left, in lower case; of several at one place the shortest. lengths are those of
// the entries, in ascending order.
func (l URLList) MatchSubstring(url string, lengths []int) (entry string, list int, ok bool) {
	plain := PlainURL(url)
	for i := range plain {
		for _, n := range lengths {
			if i+n > len(plain) {
				break
			}
			if list, listed := l[plain[i:i+n]]; listed {
				return plain[i : i+n], list, true
			}
		}
	}
	return "", 0, false
}
