package quality

import (
	"math/big"
	"net/netip"
	"regexp"
	"strings"
)

// slowPII finds what [PII.Append] finds, with regular expressions.
func slowPII(p PII, text string) []PIIMatch {
	find := func(at func(text string, i int) int) func(PIIKind, []PIIMatch, string) []PIIMatch {
		return func(kind PIIKind, dst []PIIMatch, text string) []PIIMatch {
			for i := 0; i < len(text); i++ {
				if end := at(text, i); end > i {
					dst = append(dst, PIIMatch{i, end, kind})
					i = end - 1
				}
			}
			return dst
		}
	}
	return p.merged(nil, text, [piiKinds]func(PIIKind, []PIIMatch, string) []PIIMatch{
		slowEmails, find(slowIBAN), find(slowCard), p.slowAddresses(ipv6Run), p.slowAddresses(ipv4Run), find(slowPhone)})
}

var (
	localEnd   = regexp.MustCompile(`[A-Za-z0-9._%+'-]+$`)
	localForm  = regexp.MustCompile(`[A-Za-z0-9_][A-Za-z0-9_%+'-]*(?:\.[A-Za-z0-9_%+'-]+)*$`)
	domainForm = regexp.MustCompile(`^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])`)
	ipv4Run    = regexp.MustCompile(`[0-9][0-9.]*`)
	ipv6Run    = regexp.MustCompile(`[0-9A-Fa-f]*:[0-9A-Fa-f:.]*`)
	ibanForm   = regexp.MustCompile(`^[A-Z]{2}[0-9]{2}[A-Z0-9]*$`)
	cardForm   = regexp.MustCompile(`^(?:\d{13,19}|\d{4}([ -]\d{4}){3}[ -]\d{3}|\d{4}([ -]\d{4}){3}|\d{4}[ -]\d{6}[ -]\d{4,5})$`)
	worldPhone = regexp.MustCompile(`^\+(?:1(?:\)?[ .-]?\(?[0-9]){10}|[2-9](?:\)?[ .-]?\(?[0-9]){7,14})`)
	localPhone = regexp.MustCompile(`^(?:(?:1[ .-]?)?\([2-9]\d\d\) ?[2-9]\d\d[ .-]\d{4}|(?:1 )?[2-9]\d\d [2-9]\d\d \d{4}|` +
		`(?:1\.)?[2-9]\d\d\.[2-9]\d\d\.\d{4}|(?:1-)?[2-9]\d\d-[2-9]\d\d-\d{4})`)
	wordEnd     = regexp.MustCompile(`[A-Za-z0-9_]$`)
	digitBefore = regexp.MustCompile(`[0-9][.-]$`)
	digitBehind = regexp.MustCompile(`^[.-][0-9]`)
	wordStart   = regexp.MustCompile(`^[A-Za-z0-9_]`)
)

// before is what stands directly before a place: as much as the rules look at.
func before(text string, i int) string { return text[max(0, i-2):i] }

func slowEmails(kind PIIKind, dst []PIIMatch, text string) []PIIMatch {
	from := 0
	for at, c := range []byte(text) {
		if c != '@' || at < from {
			continue
		}
		run := localEnd.FindString(text[from:at])
		local := localForm.FindString(run)
		domain := domainForm.FindString(text[at+1:])
		if len(run) <= localBytesMax && local != "" && domain != "" && len(domain) <= domainBytesMax {
			from = at + 1 + len(domain)
			dst = append(dst, PIIMatch{at - len(local), from, kind})
		}
	}
	return dst
}

func (p PII) slowAddresses(run *regexp.Regexp) func(PIIKind, []PIIMatch, string) []PIIMatch {
	return func(kind PIIKind, dst []PIIMatch, text string) []PIIMatch {
		for _, m := range run.FindAllStringIndex(text, -1) {
			word := strings.TrimRight(text[m[0]:m[1]], ".")
			if strings.HasSuffix(word, ":") && !strings.HasSuffix(word, "::") && len(word) > 2 {
				word = word[:len(word)-1]
			}
			a, err := netip.ParseAddr(word)
			joined := wordEnd.MatchString(before(text, m[0])) || m[0]+len(word) == m[1] && wordStart.MatchString(text[m[1]:])
			if err == nil && a.Is6() == (kind == IPv6) && !joined && p.wanted(a) {
				dst = append(dst, PIIMatch{m[0], m[0] + len(word), kind})
			}
		}
		return dst
	}
}

func slowIBAN(text string, i int) int {
	if wordEnd.MatchString(before(text, i)) || i+4 > len(text) {
		return -1
	}
	n := ibanLengths[text[i:i+2]]
	for _, size := range []int{n, n + (n-1)/4} {
		if n == 0 || i+size > len(text) || wordStart.MatchString(text[i+size:]) {
			continue
		}
		plain := text[i : i+size]
		if size > n {
			words := strings.Split(plain, " ")
			for _, w := range words[:len(words)-1] {
				if len(w) != 4 {
					plain = ""
				}
			}
			plain = strings.ReplaceAll(plain, " ", "")
		}
		if len(plain) != n || !ibanForm.MatchString(plain) {
			continue
		}
		digits := ""
		for _, c := range plain[4:] + plain[:4] {
			if c <= '9' {
				digits += string(c)
			} else {
				digits += big.NewInt(int64(c - 'A' + 10)).String()
			}
		}
		number, _ := new(big.Int).SetString(digits, 10)
		if number.Mod(number, big.NewInt(97)).Int64() == 1 {
			return i + size
		}
	}
	return -1
}

func slowCard(text string, i int) int {
	if wordEnd.MatchString(before(text, i)) || strings.HasSuffix(text[:i], "+") || digitBefore.MatchString(before(text, i)) {
		return -1
	}
	for size := min(23, len(text)-i); size >= 13; size-- {
		card := text[i : i+size]
		mixed := strings.Contains(card, " ") && strings.Contains(card, "-")
		digits := strings.NewReplacer(" ", "", "-", "").Replace(card)
		if cardForm.MatchString(card) && !mixed && !wordStart.MatchString(text[i+size:]) && cardChecks([]byte(digits)) {
			return i + size
		}
	}
	return -1
}

func slowPhone(text string, i int) int {
	if wordEnd.MatchString(before(text, i)) || strings.HasSuffix(text[:i], "+") || digitBefore.MatchString(before(text, i)) {
		return -1
	}
	for _, form := range []*regexp.Regexp{worldPhone, localPhone} {
		rest := text[i+len(form.FindString(text[i:])):]
		if len(rest) < len(text)-i && !wordStart.MatchString(rest) && !digitBehind.MatchString(rest) {
			return len(text) - len(rest)
		}
	}
	return -1
}
