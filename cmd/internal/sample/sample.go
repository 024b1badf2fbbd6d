package sample

import (
	"context"
	"embed"
	"path/filepath"

	"bzdata/pipeline/store"
)

// Options say what [Write] writes. Documents and Seed alone decide the corpus; Kernels
// decides the last bits of the base model's weights too.
type Options struct {
	// Documents is the number of rows of the corpus: 20,000 if 0, at least 100.
	Documents int
	Seed      uint64
	// Workers is how many goroutines work at a time, 1 if 0. It changes no byte.
	Workers int
	// Kernels is a kernel set of package tensor; "auto" if empty.
	Kernels string
	// NoModel leaves out base/ and expert_groups/, without which only data.yaml's stages up to
	// export can run.
	NoModel bool
	// Progress is told how far each stage ("corpus", "base model") is. It is called from
	// several goroutines.
	Progress func(stage string, done, total float64)
}

const documentsDefault = 20_000

func (o Options) kernels() string {
	if o.Kernels == "" {
		return "auto"
	}
	return o.Kernels
}

func (o Options) progress(stage string, done, total float64) {
	if o.Progress != nil {
		o.Progress(stage, done, total)
	}
}

// Summary says what was written.
type Summary struct {
	Documents int64          `json:"documents"`
	Kinds     map[Kind]int64 `json:"kinds"`
	HeldOut   int64          `json:"held_out"`
	Reference int64          `json:"reference"`
	Files     []string       `json:"files"` // of the corpus, below data/
	// The base model; zero without one.
	Parameters    int     `json:"parameters,omitempty"`
	TrainingSteps int     `json:"training_steps,omitempty"`
	LossNats      float64 `json:"loss_nats,omitempty"` // for each token of general text, at the end
}

// The folders of the model side.
const (
	baseDir   = "base"
	groupsDir = "expert_groups"
)

// plans holds the plans and README.txt as they are written.
//
//go:embed plans
var plans embed.FS

// Write writes a sample into dir, which is made if it is not there. Files of an earlier
// sample are replaced one by one; others are left alone. An interrupted call leaves whole
// files only, and is made good by calling again.
func Write(ctx context.Context, fsys store.FS, dir string, opt Options) (Summary, error) {
	if opt.Documents == 0 {
		opt.Documents = documentsDefault
	}
	c, err := newCorpus(int64(opt.Documents), opt.Seed)
	if err != nil {
		return Summary{}, err
	}
	all := float64(c.documents + c.heldOut + c.reference)
	w := &writer{c: c, fsys: fsys, dir: dir, progress: func(n int64) { opt.progress("corpus", float64(n), all) }}
	if err := w.corpusFiles(ctx, opt.Workers); err != nil {
		return Summary{}, err
	}
	if err := w.texts(); err != nil {
		return Summary{}, err
	}
	sum := w.summary()
	if opt.NoModel {
		return sum, nil
	}
	base, err := w.baseFiles(ctx, opt, stepsMax)
	if err != nil {
		return Summary{}, err
	}
	sum.Parameters, sum.TrainingSteps, sum.LossNats = base.parameters, base.steps, base.loss
	return sum, w.groupFolders(base.groups)
}

// summary counts the rows by kind.
func (w *writer) summary() Summary {
	s := Summary{Documents: w.c.documents, Kinds: map[Kind]int64{}, HeldOut: w.c.heldOut, Reference: w.c.reference}
	for i := range w.c.documents {
		s.Kinds[w.c.kind(i)]++
	}
	for _, f := range w.c.files {
		s.Files = append(s.Files, f.name)
	}
	return s
}

// texts writes the plans and README.txt.
func (w *writer) texts() error {
	entries, err := plans.ReadDir("plans")
	if err != nil {
		return err
	}
	for _, e := range entries {
		data, err := plans.ReadFile("plans/" + e.Name())
		if err != nil {
			return err
		}
		if err := store.WriteBytes(w.fsys, filepath.Join(w.dir, e.Name()), data); err != nil {
			return err
		}
	}
	return nil
}
