package stages_test

import (
	"path/filepath"
	"testing"

	"bzdata/pipeline"
)

const urlPlan = "name: p\ninput: [{path: data}]\nstages:\n  - url_filter: {domains: lists/d, urls: lists/urls.gz, hard_words: lists/hard, " +
	"soft_words: lists/soft, substrings: lists/sub, allow_domains: lists/allow, missing: drop}\n  - export: {format: jsonl}\n"

func TestURLFilter(t *testing.T) {
	dir := t.TempDir()
	want := []struct{ url, reason, detail string }{
		{`"https://Bad.Example.com:443/x"`, "blocked_domain", "hosts lists bad.example.com"},
		{`"http://a.b.bad.example.com"`, "blocked_domain", "hosts lists bad.example.com"},
		{`"http://user@listed.org/#x"`, "blocked_domain", "plain lists listed.org"},
		{`"http://notlisted.org/"`, "", ""},
		{`"http://shop.co.uk/a"`, "", ""},
		{`"http://good.listed.org/casino"`, "", ""},
		{`"http://www.site.net/Page/?q=1"`, "blocked_url", "urls.gz lists site.net/Page/?q=1"},
		{`"http://site.net/Page/?q=2"`, "", ""},
		{`"http://x.net/CASINO-games"`, "hard_word", "hard lists casino"},
		{`"http://x.net/casinos"`, "", ""},
		{`"http://x.net/free/poker"`, "soft_words", "soft lists free"},
		{`"http://x.net/free/free"`, "", ""},
		{`"http://x.net/my-pills-4u"`, "substring", "sub lists lls4u"},
		{`"nothing here"`, "no_url", `"nothing here" has no host`},
		{`null`, "no_url", `"" has no host`},
		{`5`, "no_url", `"" has no host`},
	}
	lines := ""
	for _, w := range want {
		lines += `{"text":"some text","url":` + w.url + "}\n"
	}
	write(t, filepath.Join(dir, "data", "a.jsonl"), lines)
	write(t, filepath.Join(dir, "lists", "d", "hosts"), "# remark\n0.0.0.0 BAD.example.com # more\n::1 localhost\n")
	write(t, filepath.Join(dir, "lists", "d", "plain"), "*.listed.org\nco.uk\n\n")
	compressed(t, filepath.Join(dir, "lists", "urls.gz"), []byte("https://site.net/Page/?q=1\n"))
	write(t, filepath.Join(dir, "lists", "hard"), "Casino\n")
	write(t, filepath.Join(dir, "lists", "soft"), "free\npoker\n")
	write(t, filepath.Join(dir, "lists", "sub"), "LLS-4u\n")
	write(t, filepath.Join(dir, "lists", "allow"), "good.listed.org\n")
	opt := options(dir)
	run(t, dir, urlPlan, opt)
	got := map[string][2]string{}
	eachGathered(t, opt.FS, filepath.Join(opt.Workdir, pipeline.DropsName), func(f map[string]string) {
		got[f["row"]] = [2]string{f["reason"], f["detail"]}
	})
	for i, w := range want {
		if row := got[string(rune('0'+i/10))+string(rune('0'+i%10))]; i >= 10 && row != [2]string{w.reason, w.detail} {
			t.Errorf("%s was dropped as %q, want %q, %q", w.url, row, w.reason, w.detail)
		}
		if row := got[string(rune('0'+i%10))]; i < 10 && row != [2]string{w.reason, w.detail} {
			t.Errorf("%s was dropped as %q, want %q, %q", w.url, row, w.reason, w.detail)
		}
	}
	write(t, filepath.Join(dir, "lists", "hard"), "fine\ntwo words\n")
	fails(t, dir, urlPlan, opt, "lists/hard:2", `"two words"`)
	mistake(t, "name: p\ninput: [{path: data}]\nstages:\n  - url_filter: {}\n", "names no list")
	mistake(t, "name: p\ninput: [{path: data}]\nstages:\n  - url_filter: {domains: d, unlisted: drop}\n", "allow_domains")
}
