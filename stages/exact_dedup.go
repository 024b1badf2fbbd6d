package stages

import (
	"context"
	"encoding/binary"
	"strings"

	"bzdata/dedup"
	"bzdata/pipeline"
	"bzdata/tokenize/words"
)

// ExactDedup is the configuration of the exact_dedup stage.
type ExactDedup struct {
	Compare string `yaml:"compare" enum:"text|words" doc:"What must be equal: the text as it stands, or its words in lower case, whatever stands between them."`
	Keep    string `yaml:"keep" enum:"first|longest" doc:"Which copy stays: the first by source, file and row, or the longest text, ties by the same order."`
}

func exactDedupSpec() pipeline.Spec[ExactDedup] {
	return pipeline.Spec[ExactDedup]{
		Name: "exact_dedup", Version: 1,
		Summary: "Drops documents whose text is equal to that of another.",
		Doc: code(`
Documents are compared by the 128-bit XXH3 hash of their text. Of each group of copies one
stays; the others are dropped as ‹exact_duplicate›, naming it. With ‹compare: words› texts that
differ only in case, punctuation or white space count as copies.`),
		Example: `
exact_dedup:
  compare: text
  keep: first`,
		Takes: documentsOnly, Makes: documentsOnly,
		Default: ExactDedup{Compare: "text", Keep: "first"},
		New:     func(c ExactDedup) (pipeline.Program, error) { return c.program(), nil },
	}
}

func (c ExactDedup) program() pipeline.Program {
	return pipeline.Program{Passes: []pipeline.Pass{
		{Name: "hash", Open: c.openHash, Barrier: &pipeline.Barrier{Parts: partsOf, Reduce: reduceCopies}},
		pipeline.Apply("drop"),
	}}
}

// openHash sends, for each document, its hash as key and rest of the payload behind the
// keep rank: records of one hash sort together, in keep order.
func (c ExactDedup) openHash(context.Context, *pipeline.Task) (pipeline.Mapper, error) {
	var hashes []uint64
	return pipeline.MapFunc(func(d *pipeline.Doc, out *pipeline.Out) error {
		content := []byte(d.Text)
		if c.Compare == "words" {
			hashes = words.AppendHashes(hashes[:0], d.Text)
			content = content[:0]
			for _, h := range hashes {
				content = binary.LittleEndian.AppendUint64(content, h)
			}
		}
		sum := dedup.Hash128(content)
		payload := append(sum[8:16:16], keepRank(c.Keep, d)...)
		out.Send(binary.BigEndian.Uint64(sum[:8]), payload)
		return nil
	}), nil
}

// keepRank is what a keep policy sorts by before the document id, as 8 bytes.
func keepRank(keep string, d *pipeline.Doc) []byte {
	rank := uint64(0)
	if keep == "longest" {
		rank = ^uint64(len(d.Text))
	}
	return binary.BigEndian.AppendUint64(nil, rank)
}

func reduceCopies(_ context.Context, t *pipeline.Task, part *pipeline.Partition) error {
	return part.Groups(func(g []pipeline.Record) error {
		for from := 0; from < len(g); {
			to := from + 1
			for to < len(g) && strings.HasPrefix(string(g[to].Payload), string(g[from].Payload[:8])) {
				to++
			}
			for _, copy := range g[from+1 : to] {
				t.Decide(copy.Ref, pipeline.Verdict{Reason: "exact_duplicate", Value: 1, Matched: &g[from].Ref})
			}
			from = to
		}
		return nil
	})
}
