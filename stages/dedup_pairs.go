package stages

import (
	"context"
	"errors"
	"io"
	"strconv"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// pairsName is the file of the pairs.
const pairsName = "pairs.parquet"

// pairColumns are the ids of the dropped document and of its match, and their similarity: 1, or
// the Jaccard similarity. A match that is none of this run has no id, but matched names any one as
// the drop log does.
var pairColumns = []store.Column{
	{Name: "source", Type: store.TypeString, Required: true},
	{Name: "file", Type: store.TypeString, Required: true},
	{Name: "row", Type: store.TypeInt64, Required: true},
	{Name: "matched_source", Type: store.TypeString},
	{Name: "matched_file", Type: store.TypeString},
	{Name: "matched_row", Type: store.TypeInt64},
	{Name: "matched", Type: store.TypeString, Required: true},
	{Name: "similarity", Type: store.TypeDouble, Required: true},
}

func pairLinks(pairs bool) func(label string) []pipeline.Link {
	if !pairs {
		return nil
	}
	return func(label string) []pipeline.Link {
		return []pipeline.Link{{Name: "out/pairs-" + label + ".parquet", From: pairsName}}
	}
}

// withPairs lets the last task of a barrier write the pairs, too.
func withPairs(pairs bool, global func(context.Context, *pipeline.Task) error) func(context.Context, *pipeline.Task) error {
	if !pairs {
		return global
	}
	return func(ctx context.Context, t *pipeline.Task) error {
		if err := writePairs(ctx, t); err != nil || global == nil {
			return err
		}
		return global(ctx, t)
	}
}

// writePairs writes what was decided, in order of the dropped documents.
func writePairs(ctx context.Context, t *pipeline.Task) error {
	return t.WriteFile(pairsName, func(w io.Writer) error {
		out, err := store.NewParquetWriter(w, pairColumns)
		if err != nil {
			return err
		}
		err = t.EachDecision(func(doc pipeline.Ref, v pipeline.Verdict) error {
			if v.Reason == "" {
				return ctx.Err() // it stays
			}
			return errors.Join(ctx.Err(), out.Write(pairFields(t, doc, v)))
		})
		return errors.Join(err, out.Close())
	})
}

func pairFields(t *pipeline.Task, doc pipeline.Ref, v pipeline.Verdict) []store.Field {
	name := v.MatchedName
	fields := idFields(t, "", doc)
	if v.Matched != nil {
		name, fields = t.DocName(*v.Matched), append(fields, idFields(t, "matched_", *v.Matched)...)
	}
	return append(fields, store.Field{Key: "matched", Value: store.AppendQuote(nil, name)},
		store.Field{Key: "similarity", Value: strconv.AppendFloat(nil, v.Value, 'g', -1, 64)})
}

func idFields(t *pipeline.Task, prefix string, doc pipeline.Ref) []store.Field {
	source, path, row := t.DocID(doc)
	return []store.Field{{Key: prefix + "source", Value: store.AppendQuote(nil, source)},
		{Key: prefix + "file", Value: store.AppendQuote(nil, path)},
		{Key: prefix + "row", Value: strconv.AppendUint(nil, row, 10)}}
}
