package stages

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"bzdata/eval"
	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/tokenize"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
)

// Exam is one part of the tokens that a run has made, for [eval.NewEvaluator].
type Exam struct {
	eval.Data
	Sources []string // names by number
	Key     string   // names the data
	close   func()
}

// OpenExam opens a part of a tokens folder, such as a run's out/tokens: judge, select or train. With a base's
// folder, which may be empty, tokens of another tokenizer than its own are an error.
func OpenExam(fsys store.FS, dir, part, base string) (*Exam, error) {
	data, closeData, err := openTokensDir(fsys, fsys, dir, part)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &pipeline.UsageError{Msg: fmt.Sprintf("%s holds no tokens; name a run's out/tokens", dir), Err: err}
	case err != nil:
		return nil, &pipeline.DataError{Msg: err.Error()}
	}
	exam := &Exam{Data: data, Sources: data.sources, Key: data.part.DataKey, close: closeData}
	if data.Sequences() == 0 {
		exam.Close()
		return nil, &pipeline.DataError{Msg: fmt.Sprintf("%s has no sequence for %s; hold documents out", dir, part)}
	}
	file := filepath.Join(base, "tokenizer.json")
	if base == "" || !store.Exists(fsys, file) {
		return exam, nil
	}
	tok, err := tokenize.Load(fsys, file)
	if err == nil && tok.Hash() != data.tokenizer {
		err = &pipeline.DataError{Msg: fmt.Sprintf("%s was made with another tokenizer than %s; tokenize again", dir, file)}
	}
	if err != nil {
		exam.Close()
		return nil, err
	}
	return exam, nil
}

// Close closes the files of tokens.
func (e *Exam) Close() { e.close() }

// Candidate is an update, or a whole model, under the base's own names.
type Candidate struct {
	checkpoint.Source
	What  string // how it was read
	close func() error
}

// Close closes its files.
func (c *Candidate) Close() error { return c.close() }

// OpenCandidate opens what a validator would put in place of the base's tensors: a run's out/update, a bundle, a
// folder of a whole model, or files model*.pt and model*.safetensors, or one of them, as the profile names
// tensors; for tensors of an expert group the file's name says which of groups.
func OpenCandidate(fsys store.FS, path string, naming checkpoint.Naming, groups []*checkpoint.Group) (*Candidate, error) {
	info, err := fsys.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &pipeline.UsageError{Msg: fmt.Sprintf("candidate %s is not there", path), Err: err}
	case err != nil:
		return nil, err
	case !info.IsDir():
		files, err := checkpoint.OpenFiles(fsys, []string{path}, naming, groups)
		return candidate(files, "file", err)
	case store.Exists(fsys, filepath.Join(path, updateJSON)):
		update, err := OpenUpdate(fsys, path)
		return candidate(update, "update of a run", err)
	case IsBundle(fsys, path):
		return openBundle(fsys, path)
	case store.Exists(fsys, filepath.Join(path, model.ConfigFile)):
		dir, err := checkpoint.OpenDir(fsys, path)
		return candidate(dir, "model folder", err)
	}
	files, err := checkpoint.OpenGroupFiles(fsys, path, naming, groups)
	return candidate(files, "files of a checkpoint", err)
}

// closingSource is a source of files.
type closingSource interface {
	checkpoint.Source
	Close() error
}

func candidate[S closingSource](src S, what string, err error) (*Candidate, error) {
	if err != nil {
		return nil, &pipeline.DataError{Msg: "candidate: " + err.Error()}
	}
	return &Candidate{Source: src, What: what, close: src.Close}, nil
}

// openBundle reads a bundle's first file of weights by its manifest.
func openBundle(fsys store.FS, dir string) (*Candidate, error) {
	data, err := store.ReadAll(fsys, filepath.Join(dir, manifestName))
	if err != nil {
		return nil, err
	}
	m, err := network.ParseBundleManifest(data)
	if err != nil {
		return nil, &pipeline.DataError{Msg: fmt.Sprintf("candidate: %s: %v", dir, err)}
	}
	for _, f := range m.Files {
		if f.Role == "config" {
			continue
		}
		file, err := checkpoint.OpenAny(fsys, filepath.Join(dir, m.Directory, f.Name))
		c, err := candidate(file, "bundle of "+m.Profile, err)
		if err != nil || f.Role == "model" || m.Assignment == nil {
			return c, err
		}
		naming, err := checkpoint.ParseNaming(m.Naming)
		if err == nil {
			c.Source, err = checkpoint.FromProfile(file, naming, m.Assignment)
		}
		if err != nil {
			return nil, errors.Join(&pipeline.DataError{Msg: fmt.Sprintf("candidate: %s: %v", f.Name, err)}, c.Close())
		}
		return c, nil
	}
	return nil, &pipeline.DataError{Msg: fmt.Sprintf("candidate: %s has no file of weights", dir)}
}
