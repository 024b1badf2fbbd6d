package sample

import (
	"context"
	"embed"
	"fmt"
	"path/filepath"

	"bzdata/pipeline/store"
	"bzdata/train/checkpoint"
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
	// NoModel leaves out base/, without which the plan can only be checked.
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
	baseDir        = "base"
	groupsDir      = "expert_groups"
	expertsOfLayer = 8
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
	sum := w.summary()
	if err := w.groups(); err != nil {
		return Summary{}, err
	}
	if err := w.texts(); err != nil {
		return Summary{}, err
	}
	if opt.NoModel {
		return sum, nil
	}
	base, err := w.baseFiles(ctx, opt)
	if err != nil {
		return Summary{}, err
	}
	sum.Parameters, sum.TrainingSteps, sum.LossNats = base.parameters, base.steps, base.loss
	return sum, nil
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

// groups writes two expert groups: the even and the odd experts of every layer that has
// any. Running ids follow one another, as in the networks' own groups.
func (w *writer) groups() error {
	for id, name := range []string{"exp_problems", "exp_prose"} {
		g := &checkpoint.Group{Name: name, Assignment: checkpoint.Assignment{}}
		g.Config = checkpoint.GroupConfig{GroupID: id, ExpertGroupName: name, Data: checkpoint.GroupData{
			DatasetSources: []checkpoint.DatasetSource{{Path: "data", Weight: 1,
				TextTemplate: "{{question}}\n{{answer}}", Split: "train"}},
			BatchSize: 8, SequenceLength: sequenceLength, WorldSize: 10, ValiFraction: 0.1}}
		for layer := 1; layer < 4; layer++ {
			for k := range expertsOfLayer / 2 {
				g.Assignment[layer] = append(g.Assignment[layer],
					checkpoint.Pair{My: id*expertsOfLayer/2 + k, Org: 2*k + id})
			}
		}
		root := filepath.Join(w.dir, groupsDir)
		if err := w.fsys.MkdirAll(root); err != nil {
			return err
		}
		if err := g.Write(w.fsys, root); err != nil {
			return fmt.Errorf("expert groups: %w", err)
		}
	}
	return nil
}
