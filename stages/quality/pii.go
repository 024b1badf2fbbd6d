package quality

import (
	"math/bits"
	"net/netip"
	"strings"
)

// PIIKind is a kind of personal data that [PII] finds.
type PIIKind int

// The kinds, in the order in which they claim a piece of text.
const (
	Email PIIKind = iota
	IBAN
	CreditCard
	IPv6
	IPv4
	Phone
	piiKinds
)

// PIIKinds are the names of the kinds, by kind.
var PIIKinds = [piiKinds]string{"email", "iban", "credit_card", "ipv6", "ipv4", "phone"}

// PIIMatch is one piece of personal data in a text, the bytes from Start to End.
type PIIMatch struct {
	Start, End int
	Kind       PIIKind
}

// PII finds personal data. Time is linear in the text.
//
//   - Email: an ASCII local part of at most 64 bytes (RFC 5321, section 4.5.3.1.1) of letters,
//     digits and ._%+'- that starts with a letter, digit or _ and has no dot at its end or
//     beside another, @, and a domain of at most 253 bytes whose last label starts with a
//     letter and has two characters or more.
//   - IBAN: of a country of ISO 13616, with its length and right check digits (mod 97),
//     without spaces or with one behind every fourth character.
//   - CreditCard: a number of a known issuer with its length and right check digit (Luhn,
//     ISO/IEC 7812), without separators or grouped as on the card by one of space and hyphen, not behind +.
//   - IPv4, IPv6: what netip.ParseAddr reads, not part of a longer word or number with dots.
//     With PublicOnly, addresses of the global unicast space only, without those reserved for
//     documentation and the like (IANA's special-purpose registries; RFC 6890).
//   - Phone: + and 8 to 15 digits (E.164; after +1, 11), grouped by single spaces, dots,
//     hyphens or parentheses; or a North American number as (AAA) EEE-NNNN or AAA-EEE-NNNN
//     with one kind of separator, area and exchange codes starting with 2 to 9, and with a 1
//     before it, as in 1-AAA-EEE-NNNN or 1 (AAA) EEE-NNNN, if there is one.
//
// No match is part of a longer word or number.
type PII struct {
	Kinds      [piiKinds]bool
	PublicOnly bool
}

// Append appends the matches in text, in order. None overlaps another: of two kinds that
// claim the same text the one first in the list of kinds has it.
func (p PII) Append(dst []PIIMatch, text string) []PIIMatch {
	found := [piiKinds]func(PIIKind, []PIIMatch, string) []PIIMatch{p.emails, p.ibans, p.cards, p.ipv6s, p.ipv4s, p.phones}
	return p.merged(dst, text, found)
}

func (p PII) merged(dst []PIIMatch, text string, find [piiKinds]func(PIIKind, []PIIMatch, string) []PIIMatch) []PIIMatch {
	from := len(dst)
	for kind, on := range p.Kinds {
		if !on {
			continue
		}
		first := len(dst)
		dst = find[kind](PIIKind(kind), dst, text)
		if first > from && len(dst) > first {
			dst = mergeMatches(dst[:from:from], dst[from:first], dst[first:])
		}
	}
	return dst
}

// mergeMatches appends two lists in order, without those of the second that overlap one of
// the first.
func mergeMatches(dst, first, second []PIIMatch) []PIIMatch {
	for _, m := range second {
		for len(first) > 0 && first[0].End <= m.Start {
			dst, first = append(dst, first[0]), first[1:]
		}
		if len(first) == 0 || first[0].Start >= m.End {
			dst = append(dst, m)
		}
	}
	return append(dst, first...)
}

// Classes of ASCII bytes.
const (
	digitByte  = 1 << iota // 0-9
	letterByte             // A-Z a-z
	lowByte                // _
	localByte              // what an e-mail address may have before @
	hexByte                // 0-9 A-F a-f :
	wordByte   = digitByte | letterByte | lowByte
)

var byteClass = func() (t [256]uint8) {
	for c := range t {
		switch {
		case '0' <= c && c <= '9':
			t[c] = digitByte | localByte | hexByte
		case 'a' <= c|0x20 && c|0x20 <= 'z' && c < 0x80:
			t[c] = letterByte | localByte
			if c|0x20 <= 'f' {
				t[c] |= hexByte
			}
		}
	}
	t['_'] = lowByte | localByte
	t[':'] = hexByte
	for _, c := range "._%+'-" {
		t[c] |= localByte
	}
	return t
}()

func is(text string, i int, class uint8) bool {
	return i >= 0 && i < len(text) && byteClass[text[i]]&class != 0
}

// runEnd returns the end of the run of bytes of a class that starts at i.
func runEnd(text string, i int, class uint8) int {
	for is(text, i, class) {
		i++
	}
	return i
}

const (
	localBytesMax  = 64
	domainBytesMax = 253
)

func (p PII) emails(kind PIIKind, dst []PIIMatch, text string) []PIIMatch {
	end := 0 // of the match before
	for at := 0; ; at++ {
		n := strings.IndexByte(text[at:], '@')
		if n < 0 {
			return dst
		}
		at += n
		start := localStart(text, at, end)
		if start < 0 {
			continue
		}
		if to := domainEnd(text, at+1); to > 0 {
			dst = append(dst, PIIMatch{start, to, kind})
			end = to
		}
	}
}

// localStart returns where the local part that ends at at begins, not before from, or -1.
func localStart(text string, at, from int) int {
	start := at
	for start > from && is(text, start-1, localByte) && at-start <= localBytesMax {
		start--
	}
	if at-start > localBytesMax || start == at || text[at-1] == '.' {
		return -1
	}
	if dots := strings.LastIndex(text[start:at], ".."); dots >= 0 {
		start += dots + 2
	}
	for start < at && !is(text, start, wordByte) {
		start++
	}
	if start == at {
		return -1
	}
	return start
}

// domainEnd returns where the longest domain name that starts at from ends, or -1.
func domainEnd(text string, from int) int {
	end, labels, good := from, 0, -1
	for {
		label := end
		for is(text, end, digitByte|letterByte) || end < len(text) && text[end] == '-' {
			end++
		}
		trimmed := end
		for trimmed > label && text[trimmed-1] == '-' {
			trimmed--
		}
		if trimmed == label || text[label] == '-' {
			break
		}
		if labels++; labels > 1 && trimmed-label > 1 && is(text, label, letterByte) {
			good = trimmed
		}
		if trimmed < end || end == len(text) || text[end] != '.' {
			break
		}
		end++
	}
	if good-from > domainBytesMax {
		return -1
	}
	return good
}

// nextDigit returns the place of the first digit from i on, or len(text).
func nextDigit(text string, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(text); i += 8 {
		s := text[i : i+8]
		x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		// A byte below 0x80 is a digit if adding 0x46 leaves its high bit clear and adding
		// 0x50 sets it; the low seven bits are added, so that nothing is carried over.
		low := x &^ highs
		if hit := (low + ones*0x50) &^ (low + ones*0x46) &^ x & highs; hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for i < len(text) && !is(text, i, digitByte) {
		i++
	}
	return i
}

func (p PII) ipv4s(kind PIIKind, dst []PIIMatch, text string) []PIIMatch {
	for i := nextDigit(text, 0); i < len(text); i = nextDigit(text, i) {
		start := i
		for i < len(text) && (text[i] == '.' || is(text, i, digitByte)) {
			i++
		}
		end := i
		for text[end-1] == '.' {
			end--
		}
		if end-start < len("1.1.1.1") || end-start > len("255.255.255.255") || is(text, start-1, wordByte) ||
			end == i && is(text, end, wordByte) {
			continue
		}
		if a, err := netip.ParseAddr(text[start:end]); err == nil && p.wanted(a) {
			dst = append(dst, PIIMatch{start, end, kind})
		}
	}
	return dst
}

func (p PII) ipv6s(kind PIIKind, dst []PIIMatch, text string) []PIIMatch {
	const most = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")
	for i := 0; ; {
		n := strings.IndexByte(text[i:], ':')
		if n < 0 {
			return dst
		}
		start, run := i+n, i+n
		for start > i && is(text, start-1, hexByte) && i+n-start <= 4 {
			start--
		}
		for run < len(text) && (text[run] == '.' || is(text, run, hexByte)) {
			run++
		}
		i = run
		end := run
		for end > start && text[end-1] == '.' {
			end--
		}
		if end-start > 2 && text[end-1] == ':' && text[end-2] != ':' {
			end--
		}
		if end-start < 2 || end-start > most || is(text, start-1, wordByte) || end == run && is(text, end, wordByte) {
			continue
		}
		if a, err := netip.ParseAddr(text[start:end]); err == nil && a.Is6() && p.wanted(a) {
			dst = append(dst, PIIMatch{start, end, kind})
		}
	}
}

// specialNets are the parts of the global unicast space that IANA's registries reserve.
var specialNets = func() (nets []netip.Prefix) {
	for _, s := range strings.Fields(`0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
		192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/3
		2001::/23 2001:db8::/32 3fff::/20`) {
		nets = append(nets, netip.MustParsePrefix(s))
	}
	return nets
}()

// globalUnicast6 is the only part of the IPv6 space that IANA gives out (RFC 4291, section 4).
var globalUnicast6 = netip.MustParsePrefix("2000::/3")

func (p PII) wanted(a netip.Addr) bool {
	if !p.PublicOnly {
		return true
	}
	a = a.Unmap()
	if a.Is6() && !globalUnicast6.Contains(a) {
		return false
	}
	for _, n := range specialNets {
		if n.Contains(a) {
			return false
		}
	}
	return true
}
