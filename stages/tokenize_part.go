package stages

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"bzdata/pipeline"
	"bzdata/tokenize"
)

// shardBytesMax is where a token shard ends and the next begins: it is held in memory.
const shardBytesMax = 64 << 20

// partWriter writes the shards of one part: train, select or judge.
type partWriter struct {
	*tokenWriter
	name  string
	info  tokensPart
	shard *tokenize.ShardWriter
	stats tokenize.PackStats
	audit tokenize.AuditReport
}

// part packs documents, writes their shards and what is asked for beside them.
func (w *tokenWriter) part(name string, docs documents, meta *tokensMeta) error {
	p := &partWriter{tokenWriter: w, name: name}
	w.parts = append(w.parts, p)
	var err error
	if p.info.DataKey, err = dataKey(w.Tokenize, w.tok, docs); err != nil {
		return err
	}
	if p.shard, err = tokenize.NewShardWriter(p.meta()); err != nil {
		return err
	}
	if err := p.write(docs); err != nil {
		return err
	}
	p.info.Documents, p.info.Sequences, p.info.Tokens = p.stats.Documents, p.stats.Sequences, p.stats.PlacedTokens
	meta.Parts[name] = p.info
	return p.others(docs)
}

// write packs the documents and writes the shards, train's in a seeded order if that is asked for.
func (p *partWriter) write(docs documents) (err error) {
	emit := p.add
	var shuffled *shuffledSequences
	if p.name == "train" && p.Shuffle == "sequences" {
		shuffled = p.newShuffled()
		defer func() { err = errors.Join(err, shuffled.close()) }()
		emit = shuffled.add
	}
	if err := p.pack(docs, emit); err != nil {
		return err
	}
	if shuffled != nil {
		if err := shuffled.each(p.add); err != nil {
			return err
		}
	}
	return p.flush()
}

func (p *partWriter) pack(docs documents, emit func(*tokenize.Sequence) error) error {
	options := p.options(p.tok)
	options.Seed = p.t.Seed("concat " + p.name)
	packer, err := tokenize.NewPacker(options, emit)
	if err != nil {
		return err
	}
	ordinal := uint64(0)
	err = docs(func(d *tokenized) error {
		d.doc.Ordinal = ordinal
		ordinal++
		p.compared(d)
		return packer.Add(d.doc)
	})
	if err != nil {
		return err
	}
	p.stats, err = packer.Close()
	return err
}

// compared counts a document whose text was compared with its tokens.
func (p *partWriter) compared(d *tokenized) {
	p.audit.Compared++
	if d.differs {
		if p.audit.Different == 0 {
			p.audit.FirstDifferent = d.doc.ID
		}
		p.audit.Different++
	}
}

// dataKey names the data of a part by its texts, in order, and how they were packed.
func dataKey(c Tokenize, tok *tokenize.Tokenizer, docs documents) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s %d %s %t %s", tok.Hash(), c.SequenceLength, c.Packing, c.SpecialTokens, c.LongDocuments)
	if c.Packing == string(tokenize.PackESFT) || c.LossOn != "all" || c.Shuffle != "documents" {
		fmt.Fprintf(h, " %g %s %s", c.ConcatRatio, c.LossOn, c.Shuffle)
	}
	err := docs(func(d *tokenized) error { h.Write(d.sum[:]); return nil })
	return hex.EncodeToString(h.Sum(nil)[:16]), err
}

func (p *partWriter) meta() tokenize.ShardMeta {
	o := p.options(p.tok)
	bos, ok := p.tok.BOS()
	if !ok {
		bos = -1
	}
	return tokenize.ShardMeta{SequenceLength: p.SequenceLength, VocabSize: p.tok.VocabSize(), TokenBytes: p.width,
		Tokenizer: p.tok.Hash(), Packing: o.Packing, DataKey: p.info.DataKey, BOS: bos, EOS: o.EOS, Pad: o.Pad, Sources: p.names}
}

func (p *partWriter) add(s *tokenize.Sequence) error {
	if p.shard.Size() >= shardBytesMax {
		if err := p.flush(); err != nil {
			return err
		}
	}
	return p.shard.Add(s)
}

// flush writes the shard that is being filled, also an empty one if it is the first, and reads
// it back for the audit.
func (p *partWriter) flush() error {
	if p.shard.Sequences() == 0 && len(p.info.Files) > 0 {
		return nil
	}
	name := fmt.Sprintf("%s-%05d.tokens", p.name, len(p.info.Files))
	p.info.Files = append(p.info.Files, name)
	err := p.t.WriteFile("tokens/"+name, func(w io.Writer) error { _, err := p.shard.WriteTo(w); return err })
	p.shard.Reset()
	if err != nil {
		return err
	}
	shard, err := tokenize.OpenShardFile(p.t.FS, filepath.Join(p.t.OutputDir(), "tokens", name))
	if err != nil {
		return err
	}
	report, err := tokenize.Audit(p.tok, shard, nil)
	p.audit.Add(report)
	return errors.Join(err, shard.Close())
}

// report tells what became of the documents, and what the audit found.
func (w *tokenWriter) report() {
	packed := &pipeline.Table{Columns: []string{"part", "documents", "sequences", "tokens", "targets", "padding", "waste",
		"separators", "split documents", "truncated documents", "truncated tokens", "dropped tokens"}}
	audit := &pipeline.Table{Columns: []string{"part", "begin with BOS", "end with EOS", "EOS learnt", "special inside",
		"unused ids", "whole", "not UTF-8", "compared", "differ"}}
	for _, p := range w.parts {
		s, a := p.stats, p.audit
		places := s.PlacedTokens + s.PaddingTokens
		waste := 0.0
		if places > 0 {
			waste = float64(s.PaddingTokens) / float64(places)
		}
		packed.Rows = append(packed.Rows, cells(p.name, s.Documents, s.Sequences, s.PlacedTokens, s.TargetTokens,
			s.PaddingTokens, fmt.Sprintf("%.2f %%", 100*waste), s.SeparatorTokens, s.Split, s.Truncated, s.TruncatedTokens,
			s.DroppedTokens+s.HeadTokens))
		audit.Rows = append(audit.Rows, cells(p.name, share(a.StartsWithBOS, a.Starts), share(a.EndsWithEOS, a.Ends),
			share(a.EOSTargets, a.EndsWithEOS), a.SpecialInside, a.UnusedIDs, a.Whole, a.BrokenUTF8, a.Compared, a.Different))
		p.values(waste)
		if s.Documents == 0 {
			continue
		}
		for _, problem := range a.Problems() {
			w.t.Note("tokens, %s: %s", p.name, problem)
		}
	}
	w.t.Panel(pipeline.Panel{Title: "Tokens", Table: packed, Note: "Waste is the padding's share of all places. Split " +
		"documents lie in several sequences. Dropped are sequences without a target, and the first tokens that esft takes off."})
	w.t.Panel(pipeline.Panel{Title: "Audit of the tokens", Table: audit, Note: "Read back from the shards. Shares are of the " +
		"documents whose first, or last, token was kept."})
}

func cells(values ...any) (out []string) {
	for _, v := range values {
		out = append(out, fmt.Sprint(v))
	}
	return out
}

func share(n, of int64) string { return fmt.Sprintf("%d of %d", n, of) }

// values are the figures of a part for other programs, and its line in the summary.
func (p *partWriter) values(waste float64) {
	s := p.stats
	for figure, v := range map[string]int64{"documents": s.Documents, "sequences": s.Sequences, "tokens": s.PlacedTokens,
		"targets": s.TargetTokens, "padding": s.PaddingTokens, "separators": s.SeparatorTokens, "split_documents": s.Split,
		"truncated_documents": s.Truncated, "truncated_tokens": s.TruncatedTokens,
		"dropped_tokens": s.DroppedTokens + s.HeadTokens, "differing_documents": p.audit.Different} {
		p.t.Value(p.name+"_"+figure, float64(v))
	}
	p.t.Value(p.name+"_waste", waste)
	p.t.Figure("tokens, "+p.name, "%d documents, %d sequences, %d tokens", s.Documents, s.Sequences, s.PlacedTokens)
}
