package pipeline

import (
	"errors"
	"strings"

	"bzdata/pipeline/store"
)

// columnsRead returns the fields that an entry asks for, those that make the text among
// them, and what that adds to the name of its text rule in keys. None stands for all.
func (in *Input) columnsRead(rule textRule) (columns []string, name string) {
	if len(in.Columns) == 0 {
		return nil, ""
	}
	seen := map[string]bool{}
	for _, c := range append(rule.fields(), in.Columns...) {
		if !seen[c] {
			seen[c] = true
			columns = append(columns, c)
		}
	}
	return columns, "\x00columns:" + strings.Join(columns, "\x00")
}

// fields are the fields that the text is made of.
func (r textRule) fields() []string {
	var names []string
	for _, p := range r.template {
		if p.field != "" {
			names = append(names, p.field)
		}
	}
	for _, name := range []string{r.field, r.messages} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// rowOptions says how the file's records are read.
func (f *inputFile) rowOptions() store.RowOptions {
	return store.RowOptions{RecordBytesMax: f.recordBytesMax, Columns: f.columns}
}

// partError tells a mistake of the plan, such as a column that is not there, from a
// damaged file.
func partError(err error) error {
	var part *store.PartError
	if errors.As(err, &part) {
		return &UsageError{Msg: part.Msg, Err: err}
	}
	return err
}
