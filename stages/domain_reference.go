package stages

import (
	"context"
	"sync"

	"bzdata/pipeline"
)

// referenceTexts are the rows of the reference, read once and shared by all tasks.
type referenceTexts struct {
	config Domain
	once   sync.Once
	err    error
	texts  []string // each once, in the order of files and rows, in comparer's form
	hashes map[uint64]bool
}

// input says how a reference row becomes text.
func (r *referenceTexts) input(p *pipeline.Plan) pipeline.Input {
	in := p.Input[0]
	if r.config.Text != "" || r.config.Template != "" || r.config.Messages != "" {
		in.Text, in.Template, in.Messages = r.config.Text, r.config.Template, r.config.Messages
	}
	return pipeline.Input{Text: in.Text, Template: in.Template, Messages: in.Messages,
		RecordBytesMax: in.RecordBytesMax, Source: "reference"}
}

func (r *referenceTexts) load(ctx context.Context, t *pipeline.Task) error {
	r.once.Do(func() { r.err = r.read(ctx, t) })
	return r.err
}

func (r *referenceTexts) read(ctx context.Context, t *pipeline.Task) error {
	r.hashes = map[uint64]bool{}
	var compare comparer
	return pipeline.EachText(ctx, t.Inputs, t.Files("reference"), r.input(t.Plan), func(text string) error {
		if hash := pipeline.ContentHash(text); !r.hashes[hash] {
			r.hashes[hash] = true
			r.texts = append(r.texts, string(compare.normal(text)))
		}
		return nil
	})
}
