package stages

import (
	"context"
	"sync"

	"bzdata/dedup"
	"bzdata/pipeline"
	"bzdata/tokenize/words"
)

// Decontaminate is the configuration of the decontaminate stage.
type Decontaminate struct {
	Against []string `yaml:"against" enum:"held_out" doc:"What training text must not overlap with."`
	Ngram   int      `yaml:"ngram_words" min:"2" max:"64" doc:"A document that shares a run of so many words with held-out text is dropped."`
}

func decontaminateSpec() pipeline.Spec[Decontaminate] {
	return pipeline.Spec[Decontaminate]{
		Name: "decontaminate", Version: 2,
		Summary: "Drops documents that overlap with held-out text.",
		Doc: code(`
A document is dropped as ‹held_out_overlap› if it shares a run of ‹ngram_words› words with a held-out
document (13 words: Brown et al. 2020, appendix C), and as ‹held_out_copy› if its words are those of a
held-out document, which also finds documents shorter than such a run. Words are runs of letters and
digits in lower case; both sides are compared as ‹normalize› with all its edits would write them. The
drop log names the held-out document.`),
		Example: `
decontaminate:
  against: [held_out]`,
		Takes: documentsOnly, Makes: documentsOnly,
		Default: Decontaminate{Against: []string{"held_out"}, Ngram: 13},
		New:     func(c Decontaminate) (pipeline.Program, error) { return c.program(), nil },
	}
}

func (c Decontaminate) program() pipeline.Program {
	index := &heldOutIndex{ngram: c.Ngram}
	return pipeline.Program{
		Reads:  func(*pipeline.Plan) []pipeline.Read { return []pipeline.Read{{Name: "held_out", HeldOut: true}} },
		Passes: []pipeline.Pass{{Open: index.open}},
	}
}

// heldOutIndex is built once and shared by the tasks of all shards.
type heldOutIndex struct {
	ngram int
	once  sync.Once
	err   error
	index *dedup.OverlapIndex
	names []string
}

func (h *heldOutIndex) build(ctx context.Context, t *pipeline.Task) error {
	index, err := dedup.NewOverlapIndex(h.ngram)
	if err != nil {
		return err
	}
	h.index = index
	var hashes []uint64
	var compare comparer
	return t.HeldOut(ctx, func(d *pipeline.Doc) error {
		hashes = words.AppendHashes(hashes[:0], compare.normal(d.Text))
		index.Add(hashes)
		h.names = append(h.names, d.Name())
		return nil
	})
}

func (h *heldOutIndex) open(ctx context.Context, t *pipeline.Task) (pipeline.Mapper, error) {
	h.once.Do(func() { h.err = h.build(ctx, t) })
	if h.err != nil {
		return nil, h.err
	}
	var hashes []uint64
	var compare comparer
	return pipeline.MapFunc(func(d *pipeline.Doc, out *pipeline.Out) error {
		hashes = words.AppendHashes(hashes[:0], compare.normal(d.Text))
		o, hit := h.index.Check(hashes)
		if !hit {
			return nil
		}
		out.Matched(h.names[o.Ref])
		if o.Equal {
			out.Drop("held_out_copy", 1)
			return nil
		}
		out.Detail("first at word %d", o.Position)
		out.Drop("held_out_overlap", float64(o.Runs))
		return nil
	}), nil
}
