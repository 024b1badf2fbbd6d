package mirror

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"bzdata/train/checkpoint"
)

// Source names a data set, and what of it is read.
type Source struct {
	Path     string `json:"path"`               // OWNER/NAME
	Name     string `json:"name,omitempty"`     // of the configuration
	Split    string `json:"split"`              // train unless the network says otherwise
	DataDir  string `json:"data_dir,omitempty"` // below which its files are
	Revision string `json:"revision"`           // main unless the network says otherwise
}

// Weighted is a source with its part in a mix.
type Weighted struct {
	Source
	Weight float64
	Column string // of the text
	// Label names the source among the others.
	Label string
}

// SourcesOf lists the data sets of a group, in the order in which they are interleaved.
func SourcesOf(data checkpoint.GroupData) ([]Weighted, error) {
	sets := data.DatasetSources
	if len(sets) == 0 && data.DatasetName != "" {
		sets = []checkpoint.DatasetSource{{Path: data.DatasetName, DataDir: data.DataDir, Weight: 1}}
	}
	if len(sets) == 0 {
		return nil, errors.New("the group's config.yaml names no data set")
	}
	count := map[string]int{}
	var out []Weighted
	for _, s := range sets {
		if s.TextTemplate != "" {
			return nil, fmt.Errorf("%s has a text_template, of which the network's form is not known; "+
				"mirror it with a column of text", s.Path)
		}
		w := Weighted{Source{s.Path, s.Name, orElse(s.Split, "train"), s.DataDir, orElse(s.Revision, "main")}, s.Weight,
			orElse(s.TextColumn, "text"), s.Path}
		if !filepath.IsLocal(w.folder()) {
			return nil, fmt.Errorf("%s: its path or name leads out of the mirror", s.Path)
		}
		count[s.Path]++
		out = append(out, w)
	}
	for i, w := range out {
		if count[w.Path] > 1 {
			out[i].Label = strings.TrimRight(strings.Join([]string{w.Path, w.Name, w.DataDir}, "/"), "/")
		}
	}
	return out, nil
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// String names the source for people: OWNER/NAME, and what of it.
func (s Source) String() string {
	out := s.Path
	for _, part := range []string{s.Name, s.DataDir} {
		if part != "" {
			out += " " + part
		}
	}
	return out + ", split " + s.Split
}

// folder is where the copies are, below the mirror.
func (s Source) folder() string {
	return filepath.Join(filepath.FromSlash(s.Path), filepath.FromSlash(orElse(s.Name, s.DataDir)))
}
