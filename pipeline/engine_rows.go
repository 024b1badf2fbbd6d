package pipeline

import (
	"context"
	"errors"

	"bzdata/pipeline/store"
)

// EachText calls visit with the text of every record of files that are read as in says;
// a malformed record is an error, since such files are small and chosen by hand.
func EachText(ctx context.Context, fsys store.FS, files []string, in Input, visit func(text string) error) error {
	for _, name := range files {
		if err := EachRecord(ctx, fsys, name, in, func(d *Doc) error { return visit(d.Text) }); err != nil {
			return err
		}
	}
	return nil
}

// EachRecord calls visit with every record of a file that is read as in says, in order. Of the
// document's id only the record number is set. A malformed record is an error. The fields are
// valid until visit returns.
func EachRecord(ctx context.Context, fsys store.FS, name string, in Input, visit func(d *Doc) error) error {
	return eachRecord(ctx, fsys, name, in, store.RowOptions{RecordBytesMax: int64(in.RecordBytesMax)}, visit)
}

func eachRecord(ctx context.Context, fsys store.FS, name string, in Input, opts store.RowOptions,
	visit func(d *Doc) error) error {
	rule, _, err := newTextRule(in)
	if err != nil {
		return err
	}
	return store.ReadRows(fsys, name, opts, func(row *store.Row) error {
		if err := errors.Join(ctx.Err(), row.Bad); err != nil {
			return err
		}
		d := &Doc{Ref: Ref{Record: uint64(row.Number)}}
		if err := rule.fill(d, row.Fields); err != nil {
			return err
		}
		return visit(d)
	})
}
