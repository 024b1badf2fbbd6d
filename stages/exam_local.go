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
	n     int64 // 0 before they are counted
}

// localColumns are the columns that may hold the text, the first one that is there; validators look in the same.
var localColumns = []string{"text", "content"}

// count counts the rows, once.
func (l *localRows) count() (int64, error) {
	if l.n > 0 {
		return l.n, nil
	}
	n := int64(0)
	err := l.each(func(string) bool { n++; return true })
	if err == nil && n == 0 {
		err = &pipeline.DataError{Msg: l.files[0] + " has no row; put text there, or remove it"}
	}
	if err == nil {
		l.n = n
	}
	return n, err
}

// pageRows are the rows of a page: all, where there are few.
func (l *localRows) pageRows() int64 {
	if l.n < 2*network.PageRows {
		return l.n
	}
	return network.PageRows
}

// read returns the texts of pages, all read in one pass over the files.
func (l *localRows) read(pages []network.Page) ([][]string, error) {
	out, last := make([][]string, len(pages)), int64(0)
	at := map[int64][]int{} // pages by the block of rows that their first row is in
	for i, p := range pages {
		at[p.Offset/network.PageRows] = append(at[p.Offset/network.PageRows], i)
		last = max(last, p.Offset+l.pageRows())
	}
	row := int64(0)
	err := l.each(func(text string) bool {
		for block := max(0, (row-l.pageRows())/network.PageRows); block <= row/network.PageRows; block++ {
			for _, i := range at[block] {
				if from := pages[i].Offset; row >= from && row < from+l.pageRows() {
					out[i] = append(out[i], text)
				}
			}
		}
		row++
		return row < last
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
