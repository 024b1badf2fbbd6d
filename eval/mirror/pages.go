package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"bzdata/pipeline/store"
)

// Viewer asks the hub's datasets server about a data set, OWNER/NAME: what is size or rows.
type Viewer interface {
	View(dataset, what string, query url.Values, answer any) error
}

// Split is one of a configuration, with its number of rows.
type Split struct {
	Config string `json:"config"`
	Split  string `json:"split"`
	Rows   int64  `json:"num_rows"`
}

// Pages is the folder of a data set of which single pages of rows are mirrored:
//
//	PATH/pages/splits.json                the list of [Split], of a data set whose pages are drawn by it
//	PATH/pages/CONFIG/SPLIT-OFFSET.jsonl  the rows from one on, each {"row_idx": …, "text": …}
//
// A page appears whole and synced.
type Pages struct {
	FS   store.FS
	Dir  string // of the mirror
	Path string // of the data set, OWNER/NAME
}

// pagesName is the folder of pages, splitsName the file in it with the numbers of rows.
const (
	pagesName  = "pages"
	splitsName = "splits.json"
)

// Folder is where all of it is.
func (p Pages) Folder() string { return filepath.Join(p.Dir, filepath.FromSlash(p.Path)) }

// SplitsFile is where the numbers of rows are.
func (p Pages) SplitsFile() string { return filepath.Join(p.Folder(), pagesName, splitsName) }

// File is where the page of a split from a row on is, or would be.
func (p Pages) File(s Split, offset int64) string {
	return filepath.Join(p.Folder(), pagesName, s.Config, s.Split+"-"+strconv.FormatInt(offset, 10)+".jsonl")
}

// Splits reads the list; [fs.ErrNotExist] says that there is none.
func (p Pages) Splits() ([]Split, error) {
	data, err := store.ReadAll(p.FS, p.SplitsFile())
	if err != nil {
		return nil, err
	}
	var out []Split
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, fmt.Errorf("%s: %w; run bzdata mirror again", p.SplitsFile(), err)
	}
	return out, nil
}

// UpdateSplits asks the hub for the list and keeps it. A configuration called default, which holds all others, is left
// out; of one with several splits the last counts.
func (p Pages) UpdateSplits(hub Viewer) ([]Split, error) {
	var answer struct {
		Size struct {
			Splits []Split `json:"splits"`
		} `json:"size"`
	}
	if err := hub.View(p.Path, "size", url.Values{"dataset": {p.Path}}, &answer); err != nil {
		return nil, err
	}
	var out []Split
	at := map[string]int{}
	for _, s := range answer.Size.Splits {
		switch i, known := at[s.Config]; {
		case s.Config == "default":
		case !filepath.IsLocal(filepath.Join(pagesName, s.Config, s.Split)):
			return nil, fmt.Errorf("%s: the hub tells of a configuration %q, which leads out of the mirror", p.Path, s.Config)
		case known:
			out[i] = s
		default:
			at[s.Config] = len(out)
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: the hub tells no number of rows of it", p.Path)
	}
	data, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		return nil, err
	}
	name := p.SplitsFile()
	return out, errors.Join(p.FS.MkdirAll(filepath.Dir(name)), store.WriteBytes(p.FS, name, append(data, '\n')))
}

// pageRow is a row of a page, in the hub's answer and here.
type pageRow struct {
	Index int64  `json:"row_idx"`
	Text  string `json:"text"`
}

// Fetch makes a page be there, and returns how many bytes have come, 0 if it was there. A row's text is in the column
// text, or else content.
func (p Pages) Fetch(ctx context.Context, hub Viewer, s Split, offset int64, rows int) (bytes int64, err error) {
	name := p.File(s, offset)
	if store.Exists(p.FS, name) {
		return 0, nil
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	var answer struct {
		Rows []struct {
			Index int64 `json:"row_idx"`
			Row   struct{ Text, Content *string }
		} `json:"rows"`
	}
	query := url.Values{"dataset": {p.Path}, "config": {s.Config}, "split": {s.Split},
		"offset": {strconv.FormatInt(offset, 10)}, "length": {strconv.Itoa(rows)}}
	if err := hub.View(p.Path, "rows", query, &answer); err != nil {
		return 0, err
	}
	var out []pageRow
	for _, r := range answer.Rows {
		text := r.Row.Text
		if text == nil {
			text = r.Row.Content
		}
		if text == nil {
			return 0, fmt.Errorf("%s %s: row %d has neither text nor content", p.Path, s.Config, r.Index)
		}
		out = append(out, pageRow{r.Index, *text})
	}
	if err := p.FS.MkdirAll(filepath.Dir(name)); err != nil {
		return 0, err
	}
	err = store.WriteFile(p.FS, name, func(w io.Writer) error {
		e := json.NewEncoder(countingWriter{w, &bytes})
		for _, r := range out {
			if err := e.Encode(r); err != nil {
				return err
			}
		}
		return nil
	})
	return bytes, err
}

// Read reads the texts of a page; [fs.ErrNotExist] says that it is not there.
func (p Pages) Read(s Split, offset int64) ([]string, error) {
	name := p.File(s, offset)
	f, err := p.FS.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []string
	for d := json.NewDecoder(f); ; {
		var row pageRow
		switch err := d.Decode(&row); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w; delete it, and run bzdata mirror again", name, err)
		}
		out = append(out, row.Text)
	}
}

// Local lists files of JSONL or Parquet that somebody has put into the folder, or into that of the configuration below
// it; none if there are only pages.
func (p Pages) Local(config string) ([]string, error) {
	folder := filepath.Join(p.Folder(), config)
	if !store.Exists(p.FS, folder) {
		folder = p.Folder()
	}
	_, files, err := store.Expand(p.FS, folder)
	var none *store.NoMatchError
	if errors.As(err, &none) || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	pages := filepath.Join(p.Folder(), pagesName) + string(filepath.Separator)
	return slices.DeleteFunc(files, func(name string) bool { return strings.HasPrefix(name, pages) }), err
}

type countingWriter struct {
	w io.Writer
	n *int64
}

func (c countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	*c.n += int64(n)
	return n, err
}
