package quality

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func everyPII(public bool) PII {
	p := PII{PublicOnly: public}
	for i := range p.Kinds {
		p.Kinds[i] = true
	}
	return p
}

// found shows what was found in a text, each as its kind and itself.
func found(text string, ms []PIIMatch) string {
	var out []string
	for _, m := range ms {
		out = append(out, PIIKinds[m.Kind]+"="+text[m.Start:m.End])
	}
	return strings.Join(out, ", ")
}

func samePII(t testing.TB, text string) {
	t.Helper()
	for _, p := range []PII{everyPII(true), everyPII(false)} {
		fast, slow := p.Append(nil, text), slowPII(p, text)
		if !slices.Equal(fast, slow) {
			t.Fatalf("in %q are\nfast %s\nslow %s", text, found(text, fast), found(text, slow))
		}
		end := 0
		for _, m := range fast {
			if m.Start < end || m.End <= m.Start {
				t.Fatalf("in %q the matches %v overlap", text, fast)
			}
			end = m.End
		}
	}
}

// piiTexts are texts with what is to be found in them, private addresses left alone.
var piiTexts = map[string]string{
	"Write to John.Doe+x@Mail.Example.co.uk, or <a_b@x-y.org>.":                                          "email=John.Doe+x@Mail.Example.co.uk, email=a_b@x-y.org",
	"mailto=me@x.de 'he@x.de' ..a..b.@x.de a..b@x.de -b@x.de":                                            "email=me@x.de, email=he@x.de, email=b@x.de, email=b@x.de",
	"no@host pkg@1.2.3 @x.de a@.de a@b..de a@b.c a@b.com.2nd":                                            "email=a@b.com",
	strings.Repeat("a", 65) + "@x.de " + strings.Repeat("b", 64) + "@x.de":                               "email=" + strings.Repeat("b", 64) + "@x.de",
	"ping 8.8.8.8, v8.8.8.8 8.8.8.8.8 08.8.8.8 8.8.8.256 (9.9.9.9) 8.8.4.4/24.":                          "ipv4=8.8.8.8, ipv4=9.9.9.9, ipv4=8.8.4.4",
	"10.0.0.1 127.0.0.1 192.168.1.1 192.0.2.7 224.0.0.1 100.64.0.1":                                      "",
	"2606:4700::1111 and [2a00:1450:4001:80b::200e]:443; fe80::1 ::1 2001:db8::1 std::dec a::b 12:30:45": "ipv6=2606:4700::1111, ipv6=2a00:1450:4001:80b::200e",
	"ends in 2606:4700::. And ::ffff:8.8.8.8, ::ffff:10.0.0.1":                                           "ipv6=2606:4700::, ipv6=::ffff:8.8.8.8",
	"Call (202) 555-0143, 202-555-0143 or 202.555.0143; (202-555-0143)":                                  "phone=(202) 555-0143, phone=202-555-0143, phone=202.555.0143, phone=202-555-0143",
	"+49 30 901820, +1 (202) 555-0143. +44 (0)20 7946 0018 +1 202 555 01":                                "phone=+49 30 901820, phone=+1 (202) 555-0143, phone=+44 (0)20 7946 0018",
	"1-202-555-0143-9 102-555-0143 202-555.0143 2 + 2025550143 = 3":                                      "",
	"1-800-555-1234, 1 (415) 555-2671, 1.415.555.2671; (1 415 555 2671) 1(415) 555-2671 1-(415)555.2671": "phone=1-800-555-1234, " +
		"phone=1 (415) 555-2671, phone=1.415.555.2671, phone=1 415 555 2671, phone=1(415) 555-2671, phone=1-(415)555.2671",
	"2-1-800-555-1234 11-800-555-1234 1-1-800-555-1234 1800-555-1234 1-800-555-12345 1.415.555.2671.8 x1-800-555-1234 1-800.555.1234": "",
	"1 800-555-1234, 2 (415) 555-2671 and 1. 415-555-2671 are behind a number":                                                        "phone=800-555-1234, phone=(415) 555-2671, phone=415-555-2671",
	"4111 1111 1111 1111, 4111-1111-1111-1111 4111111111111111 4111 1111 1111 1112 3782 822463 10005": "credit_card=4111 1111 1111 1111, " +
		"credit_card=4111-1111-1111-1111, credit_card=4111111111111111, credit_card=3782 822463 10005",
	"IBAN GB82 WEST 1234 5698 7654 32 or DE89370400440532013000, GB83WEST12345698765432": "iban=GB82 WEST 1234 5698 7654 32, iban=DE89370400440532013000",
	"+4915112345678, whose digits check as a Visa's":                                     "phone=+4915112345678",
	"8.8.8.8@x.de": "email=8.8.8.8@x.de",
	"":             "",
}

func TestPII(t *testing.T) {
	for text, want := range piiTexts {
		if got := found(text, everyPII(true).Append(nil, text)); got != want {
			t.Errorf("in %q are %s\nwant %s", text, got, want)
		}
		samePII(t, text)
	}
	off := PII{}
	if ms := off.Append(nil, "a@b.de 8.8.8.8"); len(ms) > 0 {
		t.Errorf("with no kind on: %v", ms)
	}
}

// TestPIIExhaustive compares the twins on all short texts of small alphabets, each within
// text that makes matches likely.
func TestPIIExhaustive(t *testing.T) {
	for _, c := range []struct {
		pieces, around []string
		length         int
	}{
		{[]string{"a", "1", ".", "@", "-", "_", "é", "bc"}, []string{"", "@b.de", "x@"}, 4},
		{[]string{"1", ".", "a", ":", "_", " ", "::", "2606:"}, []string{"", "8.8.8.", "2606:4700::1"}, 4},
		{[]string{"+", "(", ")", " ", "-", ".", "202", "5", "555-0143"}, []string{"", "202-555-0143", "+49 30 9018"}, 4},
		{[]string{"1", "(", ")", " ", "-", ".", "202", "555"}, []string{"", "202-555-0143", "(202) 555-0143", ".202.555.0143"}, 4},
		{[]string{" ", "-", "4111", "1", "x", "822463", "DE89"}, []string{"", "4111 1111 1111 1111", "370400440532013000", "4111-1111-"}, 4},
	} {
		visit := func(text string) {
			for _, a := range c.around {
				samePII(t, text+a)
				samePII(t, a+text)
			}
		}
		texts := []string{""}
		for range c.length {
			var longer []string
			for _, text := range texts {
				visit(text)
				for _, p := range c.pieces {
					longer = append(longer, text+p)
				}
			}
			texts = longer
		}
	}
}

// TestPIIIsLinear looks through texts that would take a search with look back hours.
func TestPIIIsLinear(t *testing.T) {
	for _, piece := range []string{"a", "@", "a@", "a.", "1", "1.", ":", "a:", "+1", "(1", "1 ", "4111 ", "-", "a@b.", "DE89"} {
		text := strings.Repeat(piece, 2<<20/len(piece))
		everyPII(false).Append(nil, text)
	}
}

func FuzzPII(f *testing.F) {
	for text := range piiTexts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) < 2000 {
			samePII(t, text)
		}
	})
}

func BenchmarkPII(b *testing.B) {
	text := strings.Repeat("The quick brown fox of 2024 jumps over 13 lazy dogs: all of them were asleep, (except one). ", 5000)
	text += strings.Join(slices.Collect(func(yield func(string) bool) {
		for text := range piiTexts {
			if !yield(text) {
				return
			}
		}
	}), " ")
	for _, kinds := range [][]PIIKind{{Email, IPv6, IPv4}, {Email, IBAN, CreditCard, IPv6, IPv4, Phone}} {
		b.Run(fmt.Sprintf("kinds=%d", len(kinds)), func(b *testing.B) {
			p := PII{PublicOnly: true}
			for _, k := range kinds {
				p.Kinds[k] = true
			}
			var ms []PIIMatch
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				ms = p.Append(ms[:0], text)
			}
		})
	}
}
