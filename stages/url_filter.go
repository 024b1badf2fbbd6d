package stages

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages/quality"
)

// URLFilter is the configuration of the url_filter stage.
type URLFilter struct {
	Field        string         `yaml:"field" doc:"Field of the records that holds the URL."`
	Domains      pipeline.Paths `yaml:"domains" doc:"Lists of domains: documents of one, or of a domain below it, are dropped."`
	URLs         pipeline.Paths `yaml:"urls" doc:"Lists of URLs: documents of one are dropped, with or without scheme and www."`
	HardWords    pipeline.Paths `yaml:"hard_words" doc:"Lists of words of which one in the URL is enough."`
	SoftWords    pipeline.Paths `yaml:"soft_words" doc:"Lists of words of which soft_words_min different ones must be in the URL."`
	SoftWordsMin int            `yaml:"soft_words_min" min:"1" doc:"How many soft words drop a document."`
	Substrings   pipeline.Paths `yaml:"substrings" doc:"Lists of texts that may stand anywhere among the letters and digits of the URL."`
	AllowDomains pipeline.Paths `yaml:"allow_domains" doc:"Lists of domains whose documents stay, whatever the other lists say."`
	Missing      string         `yaml:"missing" enum:"keep|drop" doc:"What becomes of documents without a URL, or with none that has a host."`
	Unlisted     string         `yaml:"unlisted" enum:"keep|drop" doc:"What becomes of documents that no list names; drop keeps only what allow_domains names."`
}

func urlFilterSpec() pipeline.Spec[URLFilter] {
	return pipeline.Spec[URLFilter]{
		Name: "url_filter", Version: 2,
		Summary: "Drops documents by lists of domains, URLs and words in URLs.",
		Doc: code(`
The reason is ‹blocked_domain›, ‹blocked_url›, ‹hard_word›, ‹soft_words›, ‹substring›, ‹unlisted› or ‹no_url›; the
drop log names list and entry. Lists have one entry a line, also compressed; # starts a remark, and
hosts files (‹0.0.0.0 domain›) are read as they are. A folder stands for its files. A listed domain holds for
the host, and for all below it unless it is a public suffix such as co.uk. Everything is compared in
lower case, hosts of other scripts as DNS spells them (‹xn--…›), words as runs of ASCII letters and digits. Lists are
held beside ‹--memory›, at about 100 bytes an entry.

RefinedWeb and FineWeb use the domains and urls of the UT1 lists with words of their own, two soft words
(datatrove's URLFilter). Unlike that, capital letters in a URL hide no word, and a listed domain also
holds between registered domain and host.`),
		Example: `
url_filter:
  domains: lists/adult/domains
  urls: lists/adult/urls
  soft_words: lists/soft.txt
  soft_words_min: 2`,
		Takes: documentsOnly, Makes: documentsOnly,
		Default: URLFilter{Field: "url", SoftWordsMin: 2, Missing: "keep", Unlisted: "keep"},
		New:     func(c URLFilter) (pipeline.Program, error) { return c.program(), nil },
	}
}

// lists are the kinds of list, by key.
func (c URLFilter) lists() map[string]pipeline.Paths {
	return map[string]pipeline.Paths{"domains": c.Domains, "urls": c.URLs, "hard_words": c.HardWords,
		"soft_words": c.SoftWords, "substrings": c.Substrings, "allow_domains": c.AllowDomains}
}

// Check asks for a list.
func (c *URLFilter) Check(at *pipeline.Fields) {
	n := 0
	for _, paths := range c.lists() {
		n += len(paths)
	}
	if n == 0 {
		at.Errorf("", "names no list; add domains, urls, hard_words, soft_words, substrings or allow_domains")
	}
	if c.Unlisted == "drop" && len(c.AllowDomains) == 0 {
		at.Errorf("unlisted", "drops every document; add allow_domains")
	}
}

func (c URLFilter) program() pipeline.Program {
	f := &urlFilter{config: c}
	return pipeline.Program{
		Reads: func(*pipeline.Plan) []pipeline.Read {
			var reads []pipeline.Read
			for _, key := range []string{"domains", "urls", "hard_words", "soft_words", "substrings", "allow_domains"} {
				reads = append(reads, pipeline.Read{Name: key, Paths: c.lists()[key]})
			}
			return reads
		},
		Passes: []pipeline.Pass{{Open: func(_ context.Context, t *pipeline.Task) (pipeline.Mapper, error) {
			f.once.Do(func() { f.err = f.load(t) })
			return pipeline.MapFunc(f.judge), f.err
		}}},
	}
}

// urlFilter holds the lists, which the tasks of all shards share.
type urlFilter struct {
	config  URLFilter
	once    sync.Once
	err     error
	files   []string // names of the lists, by number
	lists   map[string]quality.URLList
	lengths []int // of the substrings, ascending
}

func (f *urlFilter) load(t *pipeline.Task) error {
	f.lists = map[string]quality.URLList{}
	for key := range f.config.lists() {
		f.lists[key] = quality.URLList{}
	}
	for _, key := range []string{"domains", "urls", "hard_words", "soft_words", "substrings", "allow_domains"} {
		for _, name := range t.Files(key) {
			f.files = append(f.files, filepath.Base(name))
			before := len(f.lists[key])
			if err := f.read(t.Inputs, key, name); err != nil {
				return err
			}
			if len(f.lists[key]) == before {
				t.Note("%s: %s adds no entry", key, name)
			}
		}
	}
	for entry := range f.lists["substrings"] {
		f.lengths = append(f.lengths, len(entry))
	}
	slices.Sort(f.lengths)
	f.lengths = slices.Compact(f.lengths)
	return nil
}

func (f *urlFilter) read(fsys store.FS, key, name string) error {
	r, err := store.OpenReader(fsys, name)
	if err != nil {
		return err
	}
	defer r.Close()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(" "+lines.Text(), " #")
		for _, entry := range listed(strings.TrimPrefix(strings.TrimSpace(line), "\ufeff")) {
			form, ok := entryForm(key, entry)
			if !ok {
				return fmt.Errorf("%s:%d: %q is no entry for a list of %s", name, n, entry, key)
			}
			if _, there := f.lists[key][form]; !there {
				f.lists[key][form] = len(f.files) - 1
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// listed returns the entries of a line: one, or those of a line of a hosts file.
func listed(line string) []string {
	if line == "" || line[0] == '#' {
		return nil
	}
	fields := strings.Fields(line)
	if _, err := netip.ParseAddr(fields[0]); err == nil && len(fields) > 1 {
		return fields[1:]
	}
	return []string{line}
}

// entryForm returns an entry in the form in which it is looked up.
func entryForm(key, entry string) (string, bool) {
	switch key {
	case "domains", "allow_domains":
		host, rest, ok := quality.SplitURL(strings.TrimPrefix(strings.TrimPrefix(entry, "*"), "."))
		return host, ok && strings.Trim(rest, "/") == ""
	case "urls":
		host, rest, ok := quality.SplitURL(entry)
		return quality.URLKey(host, rest), ok
	}
	plain := strings.ToLower(entry)
	if key == "substrings" {
		plain = quality.PlainURL(entry)
	}
	return plain, plain != "" && plain == quality.PlainURL(plain)
}

// judge decides about one document.
func (f *urlFilter) judge(d *pipeline.Doc, out *pipeline.Out) error {
	url := ""
	if value, ok := d.FieldValue(f.config.Field); ok {
		text, err := store.Unquote(nil, value)
		if err == nil { // a value that is no text has no host
			url = string(text)
		}
	}
	host, rest, ok := quality.SplitURL(url)
	if !ok {
		if f.config.Missing == "drop" {
			out.Detail("%.200q has no host", url)
			out.Drop("no_url", 1)
		}
		return nil
	}
	if _, _, ok := f.lists["allow_domains"].MatchDomain(host); ok {
		return nil
	}
	f.block(url, host, rest, out)
	return nil
}

func (f *urlFilter) block(url, host, rest string, out *pipeline.Out) {
	drop := func(reason string, value float64, list int, entry string) {
		out.Detail("%s lists %s", f.files[list], entry)
		out.Drop(reason, value)
	}
	key := quality.URLKey(host, rest)
	if entry, list, ok := f.lists["domains"].MatchDomain(host); ok {
		drop("blocked_domain", 1, list, entry)
	} else if list, ok := f.lists["urls"][key]; ok {
		drop("blocked_url", 1, list, key)
	} else if entry, list, n := f.lists["hard_words"].MatchWords(url); n > 0 {
		drop("hard_word", float64(n), list, entry)
	} else if entry, list, n := f.lists["soft_words"].MatchWords(url); n >= f.config.SoftWordsMin {
		drop("soft_words", float64(n), list, entry)
	} else if entry, list, ok := f.lists["substrings"].MatchSubstring(url, f.lengths); ok {
		drop("substring", 1, list, entry)
	} else if f.config.Unlisted == "drop" {
		out.Drop("unlisted", 1)
	}
}
