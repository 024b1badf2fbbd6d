package mirror

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// splitWords are the words by which names tell splits; each split's own name is among its words.
var splitWords = []struct {
	split string
	words []string
}{
	{"train", []string{"train", "training"}},
	{"validation", []string{"validation", "valid", "dev", "val"}},
	{"test", []string{"test", "testing", "eval", "evaluation"}},
}

// separators stand beside a word in a name.
const separators = "-._ 0123456789"

// sharded is the form of names that datasets itself writes.
var sharded = regexp.MustCompile(`^data/(.+)-\d{5}-of-\d{5}[^/]*\.[^/]*$`)

// noData are files that are never data.
var noData = []string{"README.md", "config.json", "dataset_info.json", "dataset_infos.json", "dummy_data.zip",
	"dataset_dict.json"}

// SplitFiles picks the files of a split from all files of a data set, by their paths below its folder: by the
// form data/SPLIT-00000-of-00001.EXT if any file has it; else by folders whose name has a split's word; else by
// files whose name has one; else every file is of train.
func SplitFiles(names []string, split string) ([]string, error) {
	var files []string
	for _, name := range names {
		if !passedOver(name) {
			files = append(files, name)
		}
	}
	for _, rule := range []func(name string) []string{shardedSplits, folderSplits, fileSplits} {
		bySplit := map[string][]string{}
		for _, name := range files {
			for _, s := range rule(name) {
				bySplit[s] = append(bySplit[s], name)
			}
		}
		if len(bySplit) > 0 {
			return pick(bySplit, split)
		}
	}
	return pick(map[string][]string{"train": files}, split)
}

// pick takes one split.
func pick(bySplit map[string][]string, split string) ([]string, error) {
	files := bySplit[split]
	if len(files) == 0 {
		return nil, fmt.Errorf("has no file of the split %s; it has %s", split, list(slices.Sorted(maps.Keys(bySplit))))
	}
	slices.Sort(files)
	return files, nil
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	const most = 12
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// passedOver reports whether datasets looks at no file of that path.
func passedOver(name string) bool {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		if strings.HasPrefix(part, ".") || i < len(parts)-1 && strings.HasPrefix(part, "__") {
			return true
		}
	}
	return slices.Contains(noData, path.Base(name))
}

func shardedSplits(name string) []string {
	if m := sharded.FindStringSubmatch(name); m != nil {
		return m[1:]
	}
	return nil
}

// folderSplits are the splits of whose words a folder is called: WORD, WORD-…, …-WORD or …-WORD-….
func folderSplits(name string) []string {
	dirs := strings.Split(name, "/")
	dirs = dirs[:len(dirs)-1]
	return splitsBy(func(word string) bool {
		return slices.ContainsFunc(dirs, func(d string) bool {
			return hasWord(d, word, func(before, after byte) bool {
				return separates(before, true) && separates(after, true)
			})
		})
	})
}

// fileSplits are the splits of whose words a file is called: WORD-… or …-WORD-….
func fileSplits(name string) []string {
	return splitsBy(func(word string) bool {
		return hasWord(path.Base(name), word, func(before, after byte) bool {
			return separates(before, true) && separates(after, false)
		})
	})
}

func splitsBy(is func(word string) bool) []string {
	var out []string
	for _, s := range splitWords {
		if slices.ContainsFunc(s.words, is) {
			out = append(out, s.split)
		}
	}
	return out
}

// hasWord reports whether a word stands in a name where fits says so of the characters around it; 0 is the
// name's end.
func hasWord(name, word string, fits func(before, after byte) bool) bool {
	for from := 0; ; {
		at := strings.Index(name[from:], word)
		if at < 0 {
			return false
		}
		at += from
		before, after := byte(0), byte(0)
		if at > 0 {
			before = name[at-1]
		}
		if end := at + len(word); end < len(name) {
			after = name[end]
		}
		if fits(before, after) {
			return true
		}
		from = at + 1
	}
}

func separates(c byte, end bool) bool {
	if c == 0 {
		return end
	}
	return strings.IndexByte(separators, c) >= 0
}

// ofOneKind keeps the files of the most frequent kind, JSONL or Parquet, since datasets reads a data set with one
// reader; of equally many, the kind of the first file.
func ofOneKind(names []string) []string {
	parquet := func(name string) bool { return strings.HasSuffix(strings.ToLower(name), ".parquet") }
	count := map[bool]int{}
	for _, name := range names {
		count[parquet(name)]++
	}
	if len(names) == 0 || count[true] == 0 || count[false] == 0 {
		return names
	}
	kind := count[true] > count[false] || count[true] == count[false] && parquet(names[0])
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return parquet(name) != kind })
}
