package stages

import (
	"cmp"
	"errors"
	"fmt"
	"io"

	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// localRows are rows of files that somebody has put into a mirror, numbered one after another.
type localRows struct {
	fsys  store.FS
	files []string
	n     int64
}

// localColumns are the columns that may hold the text, the first one that is there; validators look in the same.
var localColumns = []string{"text", "content"}

// openLocalRows counts the rows.
func openLocalRows(fsys store.FS, files []string) (*localRows, error) {
	l := &localRows{fsys: fsys, files: files}
	err := l.each(func(string) bool { l.n++; return true })
	if err == nil && l.n == 0 {
		err = &pipeline.DataError{Msg: files[0] + " has no row; put text there, or remove it"}
	}
	return l, err
}

// pageRows are the rows of a page: all, where there are few.
func (l *localRows) pageRows() int64 {
	if l.n < 2*network.PageRows {
		return l.n
	}
	return network.PageRows
}

// read returns the texts of rows from one on.
func (l *localRows) read(from, rows int64) (out []string, err error) {
	at := int64(0)
	err = l.each(func(text string) bool {
		if at >= from {
			out = append(out, text)
		}
		at++
		return at < from+rows
	})
	return out, err
}

// each visits the text of each row until visit returns false.
func (l *localRows) each(visit func(text string) bool) error {
	for _, name := range l.files {
		if goOn, err := l.file(name, visit); err != nil || !goOn {
			return err
		}
	}
	return nil
}

func (l *localRows) file(name string, visit func(text string) bool) (goOn bool, err error) {
	rows, err := openTextRows(l.fsys, name)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var row store.Row
	for {
		switch err := rows.Next(&row); {
		case err == io.EOF:
			return true, nil
		case err != nil:
			return false, err
		case row.Bad != nil:
			return false, &pipeline.DataError{Msg: fmt.Sprintf("%s:%d: %v", name, row.Number, row.Bad)}
		}
		text, err := textOf(row)
		if err != nil {
			return false, &pipeline.DataError{Msg: fmt.Sprintf("%s:%d: %v", name, row.Number, err)}
		}
		if !visit(text) {
			return false, nil
		}
	}
}

// openTextRows opens a file by those columns of text that it has: of Parquet, all that are named must be there.
func openTextRows(fsys store.FS, name string) (*store.Rows, error) {
	rows, first := store.OpenRows(fsys, name, store.RowOptions{Columns: localColumns})
	for _, column := range localColumns {
		if first == nil {
			return rows, nil
		}
		if rows, err := store.OpenRows(fsys, name, store.RowOptions{Columns: []string{column}}); err == nil {
			return rows, nil
		}
	}
	return rows, first
}

func textOf(row store.Row) (string, error) {
	var found *store.Field
	for _, column := range localColumns {
		for i, f := range row.Fields {
			if f.Key == column {
				found = cmp.Or(found, &row.Fields[i])
			}
		}
	}
	if found == nil {
		return "", errors.New("the row has neither text nor content")
	}
	text, err := store.Unquote(nil, found.Value)
	if err != nil {
		return "", fmt.Errorf("%s is no text", found.Key)
	}
	return string(text), nil
}
