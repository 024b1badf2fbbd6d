package store

import (
	"strings"
	"testing"
)

func TestLocations(t *testing.T) {
	for name, want := range map[string]Location{
		"s3://bucket/a/b.jsonl":                      {"s3", "bucket", "", "a/b.jsonl"},
		"s3://bucket":                                {"s3", "bucket", "", ""},
		"s3://bucket/a/part-?.jsonl":                 {"s3", "bucket", "", "a/part-?.jsonl"},
		"hf://datasets/o/n/x.parquet":                {"hf", "o/n", "main", "x.parquet"},
		"hf://datasets/o/n@v1.0/d/*.parquet":         {"hf", "o/n", "v1.0", "d/*.parquet"},
		"hf://datasets/o/n@refs/convert/parquet/d/x": {"hf", "o/n", "refs/convert/parquet", "d/x"},
		"hf://datasets/o/n@refs/pr/1":                {"hf", "o/n", "refs/pr/1", ""},
		"hf://datasets/o/n@my%2Fbranch/x":            {"hf", "o/n", "my/branch", "x"},
		"https://host:8443/a%20b/c.jsonl.gz":         {"https", "host:8443", "", "a%20b/c.jsonl.gz"},
		"http://127.0.0.1:80/c.jsonl":                {"http", "127.0.0.1:80", "", "c.jsonl"},
		"http://[::1]:80/c.jsonl":                    {"http", "[::1]:80", "", "c.jsonl"},
	} {
		l, err := ParseLocation(name)
		if err != nil || l != want {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
		if again, err := ParseLocation(l.String()); err != nil || again != l {
			t.Errorf("%s: %s becomes %+v, %v", name, l, again, err)
		}
	}
	for name, want := range map[string]string{
		"gs://bucket/x":                 "unknown scheme",
		"s3:///x":                       "names no bucket",
		"s3://key:secret@bucket/x":      "AWS_ACCESS_KEY_ID",
		"s3://bucket/x?X-Amz-Date=1":    "has no query",
		"s3://bucket/a//b":              "no empty part",
		"s3://bucket/a/../b":            "no empty part",
		"hf://o/n/x":                    "hf://datasets/OWNER/NAME@REVISION/PATH",
		"hf://datasets/n":               "hf://datasets/OWNER/NAME@REVISION/PATH",
		"hf://datasets/o/n@/x":          "hf://datasets/OWNER/NAME@REVISION/PATH",
		"hf://datasets/o/n@a%2F..%2Fb/": "is no branch, tag or commit",
		"hf://user:hf_token@host/o/n":   "HF_TOKEN",
		"https://user:pw@host/x":        "user info",
		"https://host/x#part":           "query or fragment",
		"https:///x":                    "names no host",
		"https://ho st/x":               "names no host",
	} {
		_, err := ParseLocation(name)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") ||
			strings.Contains(err.Error(), "pw") || strings.Contains(err.Error(), "hf_token") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRedactText(t *testing.T) {
	for text, want := range map[string]string{
		"nothing here: a?b=c":                          "nothing here: a?b=c",
		"get https://h/x?sig=1 failed":                 "get https://h/x?*** failed",
		`path: "https://h/x.jsonl?a=1&b=2", x: 1`:      `path: "https://h/x.jsonl?***", x: 1`,
		"[https://h/x?a, https://u:p@h/y?b]":           "[https://h/x?***, https://***@h/y?***]",
		"s3://key:sec@bucket/x":                        "s3://***@bucket/x",
		"s3://bucket/part-?.jsonl":                     "s3://bucket/part-?.jsonl",
		"s3://bucket/x?X-Amz-Signature=1":              "s3://bucket/x?***",
		"hf://datasets/o/n@main/x":                     "hf://datasets/o/n@main/x",
		"hf://user:tok@h/x":                            "hf://***@h/x",
		"HTTPS://u@h?q":                                "HTTPS://***@h?***",
		"https://a/?u=https://b:c@d/?e":                "https://a/?***",
		"https://a/https://b:c@d/e":                    "https://a/https://***@d/e",
		"see https://h/x?a=1; then https://h/y?b=2.":   "see https://h/x?***; then https://h/y?***.",
		"ftp://u:p@h/x?a=b ://?x ://a:b@c https://h/?": "ftp://***@h/x?*** ://?x ://***@c https://h/?***",
	} {
		if got := RedactText(text); got != want {
			t.Errorf("%s\n gives %s\nwant   %s", text, got, want)
		}
	}
}

// FuzzLocation: names come back as they went in, and errors tell nothing of them.
func FuzzLocation(f *testing.F) {
	for _, s := range []string{"s3://b/k", "hf://datasets/o/n@main/p", "hf://datasets/o/n@refs/pr/1/x", "https://h:1/a%2fb", "s3://a:b@c/d",
		"http://[::1]/x", "hf://datasets/o/n@a%2Fb/c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		l, err := ParseLocation(name)
		if err != nil {
			return
		}
		again, err := ParseLocation(l.String())
		if err != nil || again != l {
			t.Fatalf("%q is %+v; %q is %+v, %v", name, l, l.String(), again, err)
		}
		if clean := RedactText(l.String()); clean != l.String() && !strings.ContainsAny(l.Path, "?") && !strings.Contains(l.Path, "://") {
			t.Fatalf("%q holds a secret: %q", l.String(), clean)
		}
		if base := Join(l.String(), "x"); Dir(base) != l.String() {
			t.Fatalf("Dir(%q) is %q", base, Dir(base))
		}
	})
}

// FuzzRedactText puts secrets into text and looks for them behind.
func FuzzRedactText(f *testing.F) {
	f.Add("get ", " failed: [", "h", "x.jsonl")
	f.Add("path: \"", "\"", "u.example:80", "a/b?c")
	f.Fuzz(func(t *testing.T, before, after, host, path string) {
		if strings.ContainsAny(host+path, " \t\r\n\"'`<>|\x00") || strings.Contains(host, "/") {
			return // it would be no address
		}
		const secret = "Zq7SECRETqZ"
		if strings.Contains(before+after+host+path, secret) {
			return
		}
		for _, address := range []string{
			"https://" + host + "/" + path + "?X-Amz-Signature=" + secret + "&x",
			"http://" + secret + ":" + secret + "@" + host + "/" + path,
			"s3://" + secret + "@" + host + "/" + path,
			"s3://" + host + "/" + path + "?sig=" + secret,
		} {
			clean := RedactText(before + address + " " + after)
			if strings.Contains(clean, secret) {
				t.Fatalf("%q keeps the secret: %q", address, clean)
			}
			if again := RedactText(clean); again != clean {
				t.Fatalf("%q becomes %q", clean, again)
			}
		}
	})
}
