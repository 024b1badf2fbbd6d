package pipeline

import (
	"reflect"
	"slices"

	"bzdata/pipeline/store"
)

// KeepPolicy says which of several copies stays: a word, or a mapping of one key.
type KeepPolicy struct {
	// Word is first or longest, or empty if one of the keys is set.
	Word     string   `yaml:"word" hidden:"true" doc:"The first by source, file and row, or the longest text."`
	Score    string   `yaml:"score" doc:"The document with the highest number in this field."`
	Newest   string   `yaml:"newest" doc:"The document with the latest date (RFC 3339, or the start of one down to the month) or highest number, which a year alone is, in this field."`
	Priority []string `yaml:"priority" doc:"The document of the source that comes first in this list; sources that are not in it come last."`
}

// NoKeepValue is the count, among a stage's edits, of documents that rank last since the field
// that its policy goes by is missing or cannot be read.
const NoKeepValue = "no_keep_value"

// keepWords are the policies that need no more than a name.
var keepWords = []string{"first", "longest"}

// keepForms are those that need more, as a plan writes them.
var keepForms = map[string]string{
	"score": "{score: COLUMN}", "newest": "{newest: COLUMN}", "priority": "{priority: [SOURCE, SOURCE]}",
}

func (k *KeepPolicy) decodePlan(d *decoder, n *store.YAMLNode, path string, f field) {
	if form := keepForms[n.Text]; n.Kind == store.YAMLScalar && form != "" {
		d.report(n, path, "write "+form, "%s goes by a value, and none is named", n.Text)
		return
	}
	if n.Kind == store.YAMLScalar {
		f.enum, f.typ = keepWords, reflect.TypeFor[string]()
		d.value(n, path, f, reflect.ValueOf(&k.Word).Elem())
		return
	}
	*k = KeepPolicy{}
	d.structure(n, path, reflect.ValueOf(k).Elem())
}

// Check asks for one policy, by sources that there are.
func (k *KeepPolicy) Check(at *Fields) {
	set := 0
	for _, is := range []bool{k.Score != "", k.Newest != "", len(k.Priority) > 0} {
		if is {
			set++
		}
	}
	if set != 1 {
		at.Errorf("", "write first, longest, or a mapping with one of score, newest and priority")
	}
	known := at.Plan().Sources()
	for i, s := range k.Priority {
		if len(known) > 0 && !slices.Contains(known, s) {
			at.Unknown(indexed("priority", i), s, known)
		}
	}
}
