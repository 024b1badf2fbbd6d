package quality

import (
	"net/url"
	"strings"
	"testing"
	"unicode"
)

// FuzzSplitURL compares hosts with those of net/url where that reads the URL.
func FuzzSplitURL(f *testing.F) {
	for _, s := range []string{"http://A.b:80/c?d#e", "https://u:p@[2001:db8::1]:1/x", "ftp://h", "//h/x", "http://a@b@c/", "x.de/y", "http://h.?q"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		host, rest, ok := SplitURL(raw)
		if ok && (host == "" || host != strings.ToLower(host) || strings.ContainsAny(rest, "#")) {
			t.Fatalf("%q gives the host %q and %q", raw, host, rest)
		}
		u, err := url.Parse(raw)
		if err != nil || !ok || u.Scheme == "" || u.Host == "" || strings.ContainsAny(raw, "%\\") || strings.TrimSpace(raw) != raw {
			return
		}
		if want := strings.TrimSuffix(strings.ToLower(u.Hostname()), "."); host != want && asciiOnly(want) {
			t.Fatalf("%q has the host %q, not %q", raw, want, host)
		}
	})
}

func asciiOnly(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > unicode.MaxASCII }) < 0
}

// TestHostsOfOtherScripts takes the examples of UTS 46 and of RFC 3492, and what is no name.
func TestHostsOfOtherScripts(t *testing.T) {
	for raw, want := range map[string]string{"https://Bücher.example/a": "xn--bcher-kva.example", "ليهمابتكلموشعربي؟.com": "xn--egbpdaj6bu4bxfgehfvwxn.com",
		"http://президент.рф./": "xn--d1abbgf6aiiy.xn--p1ai", "ＥＸＡＭＰＬＥ。com:80": "example.com", "xn--bcher-kva.example": "xn--bcher-kva.example",
		"a_ü.example": "a_ü.example"} {
		if host, _, ok := SplitURL(raw); !ok || host != want {
			t.Errorf("%s has the host %s, %v, want %s", raw, host, ok, want)
		}
	}
	if got := registeredDomain("www.xn--d1abbgf6aiiy.xn--p1ai"); got != "xn--d1abbgf6aiiy.xn--p1ai" {
		t.Error(got)
	}
}

func TestRegisteredDomain(t *testing.T) {
	for host, want := range map[string]string{"a.b.example.co.uk": "example.co.uk", "co.uk": "co.uk", "x.blogspot.com": "blogspot.com",
		"example.com": "example.com", "com": "com", "192.0.2.1": "192.0.2.1", "localhost": "localhost", "a.b.nosuchsuffix": "b.nosuchsuffix"} {
		if got := registeredDomain(host); got != want {
			t.Errorf("the registered domain of %s is %s, want %s", host, got, want)
		}
	}
}
