package quality

import "strings"

// ibanLengths are the lengths of IBANs by country (ISO 13616 registry, release 99).
var ibanLengths = func() map[string]int {
	lengths := map[string]int{}
	for _, s := range strings.Fields(`AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28
		EE20 EG29 ES24 FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28
		LC32 LI21 LT20 LU20 LV21 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31
		SE24 SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20`) {
		lengths[s[:2]] = 10*int(s[2]-'0') + int(s[3]-'0')
	}
	return lengths
}()

func (p PII) ibans(kind PIIKind, dst []PIIMatch, text string) []PIIMatch {
	end := 0
	for i := nextDigit(text, 2); i < len(text); i = nextDigit(text, i) {
		start := i - 2
		i++
		if start < end || !is(text, i, digitByte) || is(text, start-1, wordByte) || text[start] > 'Z' || text[start+1] > 'Z' {
			continue
		}
		n := ibanLengths[text[start:start+2]]
		if to := ibanEnd(text, start, n); n > 0 && to > 0 {
			dst, end = append(dst, PIIMatch{start, to, kind}), to
		}
	}
	return dst
}

// ibanEnd returns where the IBAN of n characters that starts at start ends, or -1.
func ibanEnd(text string, start, n int) int {
	grouped := start+4 < len(text) && text[start+4] == ' '
	var plain [40]byte
	at := start
	for i := range n {
		if grouped && i > 0 && i%4 == 0 {
			if at >= len(text) || text[at] != ' ' {
				return -1
			}
			at++
		}
		if !is(text, at, digitByte) && !(is(text, at, letterByte) && text[at] <= 'Z') {
			return -1
		}
		plain[i] = text[at]
		at++
	}
	if is(text, at, wordByte) || !ibanChecks(plain[:n]) {
		return -1
	}
	return at
}

// ibanChecks reports whether the number with its first four characters behind the others,
// letters being 10 to 35, is 1 mod 97 (ISO 7064, MOD 97-10).
func ibanChecks(iban []byte) bool {
	rest := 0
	for i := range iban {
		c := int(iban[(i+4)%len(iban)])
		if c <= '9' {
			rest = (rest*10 + c - '0') % 97
		} else {
			rest = (rest*100 + c - 'A' + 10) % 97
		}
	}
	return rest == 1
}

// cardGroups are the ways in which card numbers are grouped.
var cardGroups = [][]int{{4, 4, 4, 4, 3}, {4, 4, 4, 4}, {4, 6, 5}, {4, 6, 4}}

func (p PII) cards(kind PIIKind, dst []PIIMatch, text string) []PIIMatch {
	for i := nextDigit(text, 0); i < len(text); i = nextDigit(text, i) {
		start := i
		i = runEnd(text, i, digitByte)
		if is(text, start-1, wordByte) || start > 0 && text[start-1] == '+' ||
			start > 1 && isSeparator(text[start-1]) && text[start-1] != ' ' && is(text, start-2, digitByte) {
			continue
		}
		if end := cardEnd(text, start, i); end > 0 {
			dst = append(dst, PIIMatch{start, end, kind})
			i = end
		}
	}
	return dst
}

func isSeparator(c byte) bool { return c == ' ' || c == '-' || c == '.' }

// cardEnd returns where the card number at start, whose first digits end at run, ends, or -1.
func cardEnd(text string, start, run int) int {
	if run-start != 4 {
		if run-start >= 13 && run-start <= 19 && !is(text, run, wordByte) && cardChecks([]byte(text[start:run])) {
			return run
		}
		return -1
	}
	if run == len(text) || text[run] != ' ' && text[run] != '-' {
		return -1
	}
	for _, groups := range cardGroups {
		var digits []byte
		at := start
		for i, n := range groups {
			if i > 0 {
				if at >= len(text) || text[at] != text[run] {
					break
				}
				at++
			}
			to := runEnd(text, at, digitByte)
			if to-at != n {
				at = -1
				break
			}
			digits, at = append(digits, text[at:to]...), to
		}
		if at > 0 && len(digits) == sum(groups) && !is(text, at, wordByte) && cardChecks(digits) {
			return at
		}
	}
	return -1
}

func sum(ns []int) int {
	total := 0
	for _, n := range ns {
		total += n
	}
	return total
}

// cardChecks reports whether digits are those of a card: right by Luhn's formula, and of the
// prefix and length of Visa, Mastercard, American Express, Discover, JCB or Diners Club.
func cardChecks(digits []byte) bool {
	total := 0
	for i := range digits {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		total += d
	}
	if total%10 != 0 {
		return false
	}
	prefix := 0
	for _, c := range digits[:4] {
		prefix = 10*prefix + int(c-'0')
	}
	switch n := len(digits); {
	case prefix/1000 == 4:
		return n == 13 || n == 16 || n == 19
	case prefix/100 >= 51 && prefix/100 <= 55, prefix >= 2221 && prefix <= 2720,
		prefix == 6011, prefix/100 == 65, prefix/10 >= 644 && prefix/10 <= 649, prefix >= 3528 && prefix <= 3589:
		return n == 16
	case prefix/100 == 34, prefix/100 == 37:
		return n == 15
	case prefix/100 == 36, prefix/100 == 38, prefix/10 >= 300 && prefix/10 <= 305:
		return n == 14
	}
	return false
}

func (p PII) phones(kind PIIKind, dst []PIIMatch, text string) []PIIMatch {
	from := 0 // the end of the match before
	for i := nextDigit(text, 0); i < len(text); i = nextDigit(text, i) {
		start := i
		if start > from && (text[start-1] == '+' || text[start-1] == '(') {
			start--
		}
		end := phoneEnd(text, start)
		if end < 0 && text[start] == '(' {
			start = i
			end = phoneEnd(text, start)
		}
		if end < 0 {
			i = runEnd(text, i, digitByte)
			continue
		}
		dst = append(dst, PIIMatch{start, end, kind})
		i, from = end, end
	}
	return dst
}

// phoneEnd returns where the phone number at start ends, or -1.
func phoneEnd(text string, start int) int {
	if is(text, start-1, wordByte) || start > 0 && text[start-1] == '+' ||
		start > 1 && isSeparator(text[start-1]) && text[start-1] != ' ' && is(text, start-2, digitByte) {
		return -1
	}
	end := -1
	if text[start] == '+' {
		end = internationalEnd(text, start+1)
	} else {
		end = americanEnd(text, start)
	}
	if end < 0 || is(text, end, wordByte) ||
		end+1 < len(text) && isSeparator(text[end]) && text[end] != ' ' && is(text, end+1, digitByte) {
		return -1
	}
	return end
}

// internationalEnd takes as many digits as there can be; separators stand between digits.
func internationalEnd(text string, at int) int {
	most := 15
	if text[at] == '0' {
		return -1
	}
	if text[at] == '1' {
		most = 11
	}
	digits := 0
	for {
		for is(text, at, digitByte) {
			at, digits = at+1, digits+1
		}
		if digits >= most {
			break
		}
		next := at
		if next < len(text) && text[next] == ')' {
			next++
		}
		if next < len(text) && isSeparator(text[next]) {
			next++
		}
		if next < len(text) && text[next] == '(' {
			next++
		}
		if next == at || !is(text, next, digitByte) {
			break
		}
		at = next
	}
	if digits < 8 || digits > most || most == 11 && digits != 11 {
		return -1
	}
	return at
}

// americanEnd reads (AAA) EEE-NNNN or AAA-EEE-NNNN, also behind a 1.
func americanEnd(text string, at int) int {
	var separator, behindOne byte
	one := text[at] == '1'
	if one {
		if at++; at+1 < len(text) && isSeparator(text[at]) {
			behindOne = text[at]
			at++
		}
	}
	bracket := at < len(text) && text[at] == '('
	if bracket {
		at++
	}
	if at = groupEnd(text, at, 3, '2'); at < 0 || at == len(text) {
		return -1
	}
	if bracket {
		if text[at] != ')' {
			return -1
		}
		if at++; at < len(text) && text[at] == ' ' {
			at++
		}
		at = groupEnd(text, at, 3, '2')
	} else {
		separator = text[at]
		if !isSeparator(separator) || one && separator != behindOne {
			return -1
		}
		at = groupEnd(text, at+1, 3, '2')
	}
	if at < 0 || at == len(text) || !isSeparator(text[at]) || !bracket && text[at] != separator {
		return -1
	}
	return groupEnd(text, at+1, 4, '0')
}

// groupEnd returns the end of a run of exactly n digits, the first not below least, or -1.
func groupEnd(text string, at, n int, least byte) int {
	if at >= len(text) || text[at] < least || runEnd(text, at, digitByte)-at != n {
		return -1
	}
	return at + n
}
