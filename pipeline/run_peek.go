package pipeline

import (
	"fmt"
	"io"

	"bzdata/pipeline/store"
)

// peekRecords is how many records of an input [Peek] looks at.
const peekRecords = 20

// Peek looks at the first records of each input's first file. It is a mistake of the plan
// if well-formed ones are there and none of them gives a text: most often the field's name
// is wrong. The error is a [*UsageError]. Peek writes nothing.
func Peek(plan *Plan, opt Options) error {
	for i, in := range plan.Input {
		files, err := entryFiles(plan, i, in, opt)
		if err != nil {
			return err
		}
		if len(files) == 0 {
			continue
		}
		if err := files[0].peek(opt.Inputs); err != nil {
			return fmt.Errorf("input[%d]: %w", i, err)
		}
	}
	return nil
}

// peek tries the text rule.
func (f *inputFile) peek(fsys store.FS) error {
	rows, err := store.OpenRows(fsys, f.full, store.RowOptions{RecordBytesMax: f.recordBytesMax})
	if err != nil {
		return err
	}
	defer rows.Close()
	var row store.Row
	var first error
	for range peekRecords {
		err := rows.Next(&row)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if row.Bad != nil {
			continue
		}
		fault := f.text.fill(&Doc{}, row.Fields)
		if fault == nil {
			return nil
		}
		if first == nil {
			first = fmt.Errorf("row %d: %w", row.Number, fault)
		}
	}
	if first == nil {
		return nil // nothing to judge by
	}
	return &UsageError{Msg: fmt.Sprintf("%s: %s, and the rows behind it are alike; say under input where the text is, "+
		"by text, template or messages", f.full, first), Err: first}
}
