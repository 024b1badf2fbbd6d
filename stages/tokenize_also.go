package stages

import (
	"fmt"
	"io"

	"bzdata/pipeline"
	"bzdata/tokenize"
)

// others writes the documents of a part in the formats of other programs.
func (p *partWriter) others(docs documents) error {
	options := p.options(p.tok)
	foreign := tokenize.ForeignOptions{TokenBytes: p.width, VocabSize: p.tok.VocabSize(), EOS: options.EOS}
	kept := func(visit func(d *tokenize.Document) error) error {
		return docs(func(d *tokenized) error {
			whole := d.doc
			if options.Window == tokenize.WindowHash {
				end := min(len(whole.Tokens), whole.Start+p.SequenceLength)
				whole.Tokens = whole.Tokens[:end:end]
			}
			return visit(&whole)
		})
	}
	for _, format := range p.Also {
		write := p.datatrove
		if format == "megatron" {
			write = p.megatron
		}
		if err := write(foreign, kept); err != nil {
			return err
		}
	}
	return nil
}

// checkAlso is the mistake of a width that a format cannot have.
func (c Tokenize) checkAlso(o tokenize.ForeignOptions) error {
	for _, format := range c.Also {
		width := tokenize.Datatrove{ForeignOptions: o}.Width
		if format == "megatron" {
			width = tokenize.Megatron{ForeignOptions: o}.Width
		}
		if _, err := width(); err != nil {
			return &pipeline.UsageError{Err: err,
				Msg: fmt.Sprintf("tokenize.also: %s: %v; write token_width: auto or uint32", format, err)}
		}
	}
	return nil
}

// datatrove writes PART_00000_doc_shuffled.ds and what belongs to it.
func (p *partWriter) datatrove(o tokenize.ForeignOptions, docs tokenize.Documents) error {
	f := tokenize.Datatrove{ForeignOptions: o, Tokenizer: "sha256:" + p.tok.Hash()}
	name := "tokens/datatrove/" + p.name + "_00000_doc_shuffled.ds"
	var lengths []int64
	err := p.t.WriteFile(name, func(w io.Writer) (err error) {
		lengths, err = f.WriteTokens(w, docs)
		return err
	})
	for _, part := range []struct {
		suffix string
		write  func(w io.Writer) error
	}{
		{".loss", func(w io.Writer) error { return f.WriteLoss(w, docs) }},
		{".index", func(w io.Writer) error { return f.WriteIndex(w, lengths) }},
		{".metadata", func(w io.Writer) error { return f.WriteMetadata(w, lengths) }},
	} {
		if err != nil {
			return err
		}
		err = p.t.WriteFile(name+part.suffix, part.write)
	}
	return err
}

// megatron writes PART.bin and PART.idx.
func (p *partWriter) megatron(o tokenize.ForeignOptions, docs tokenize.Documents) error {
	f := tokenize.Megatron{ForeignOptions: o}
	name := "tokens/megatron/" + p.name
	var lengths []int64
	err := p.t.WriteFile(name+".bin", func(w io.Writer) (err error) {
		lengths, err = f.WriteTokens(w, docs)
		return err
	})
	if err != nil {
		return err
	}
	return p.t.WriteFile(name+".idx", func(w io.Writer) error { return f.WriteIndex(w, lengths) })
}
