package cli

import (
	"context"
	"path/filepath"

	"bzdata/eval"
	"bzdata/eval/network"
	"bzdata/pipeline/store"
	"bzdata/stages"
)

// openExam opens the tokens, or makes an exam of the mirror's rows, of which e then has a report.
func (f *evalFlags) openExam(ctx context.Context, p *network.Profile, e *evaluated) (*stages.Exam, error) {
	if f.mix.Mirror == "" {
		return stages.OpenExam(store.OS(), f.tokens, f.part, f.base)
	}
	f.mix.Seeds, f.mix.First = f.seeds, f.seed
	exam, err := stages.OpenMix(ctx, store.OS(), p, f.base, f.mix)
	if err != nil {
		return nil, err
	}
	e.exam = exam
	if f.tokens == "" {
		e.Mix, err = exam.Report(nil)
		return &exam.Exam, err
	}
	trained, err := stages.OpenExam(store.OS(), f.tokens, "train", f.base)
	if err != nil {
		return nil, err
	}
	defer trained.Close()
	e.Mix, err = exam.Report(trained)
	return &exam.Exam, err
}

// wholeOf makes the sequences of an exam of pages count as one document each.
func wholeOf(exam *stages.MixExam, base, candidate *eval.Losses) (b, c *eval.Losses, err error) {
	if b, err = exam.Whole(base); err == nil {
		c, err = exam.Whole(candidate)
	}
	return b, c, err
}

// where names the exam.
func (f *evalFlags) where() string {
	if f.mix.Mirror != "" {
		return filepath.Clean(f.mix.Mirror)
	}
	return filepath.Clean(f.tokens) + " " + f.part
}
