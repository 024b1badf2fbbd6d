package cli

import (
	"cmp"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// filesRead are the files that a run has read. There is none if there is no run, which is for
// the search to say.
func filesRead(workdir string) ([]pipeline.InputRecord, error) {
	rec, err := pipeline.ReadRecord(store.OS(), workdir)
	if err != nil || rec == nil {
		return nil, err
	}
	return slices.Concat(rec.Inputs, rec.HeldOut), nil
}

// namedFiles are the files that a name can stand for: SOURCE:PATH as reports write it, the
// path there, its last part, or a path whose end is that of the file's place. Of these it is
// the ones whose places have most of the name's end.
func namedFiles(files []pipeline.InputRecord, name string) []pipeline.InputRecord {
	var best []pipeline.InputRecord
	most := 0
	for _, in := range files {
		n := likeness(in, name)
		if n > most {
			best, most = nil, n
		}
		if n > 0 && n == most {
			best = append(best, in)
		}
	}
	return best
}

// isRowOf matches the documents of a row of the files.
func isRowOf(files []pipeline.InputRecord, row uint64) func(d *pipeline.Doc) bool {
	return func(d *pipeline.Doc) bool {
		return d.Ref.Record == row && slices.ContainsFunc(files, func(in pipeline.InputRecord) bool {
			return in.Source == d.Source && in.Path == d.Path
		})
	}
}

// likeness is how many of the last parts of a name and of a file's place are the same, or 0 if
// it is another file: one part of longer paths proves nothing.
func likeness(in pipeline.InputRecord, name string) int {
	said, place := pathParts(name), pathParts(cmp.Or(in.Place, in.Path))
	n := 0
	for n < min(len(said), len(place)) && said[len(said)-1-n] == place[len(place)-1-n] {
		n++
	}
	switch {
	case name == in.Source+":"+in.Path:
		return len(place) + 1 // no other is meant
	case n == len(said), n == len(place), n > 1:
		return n
	}
	return 0
}

// pathParts are the parts of a path but those that lead up.
func pathParts(name string) []string {
	parts := strings.Split(path.Clean(filepath.ToSlash(name)), "/")
	return slices.DeleteFunc(parts, func(p string) bool { return p == "" || p == "." || p == ".." })
}
