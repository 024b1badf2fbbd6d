package stages

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"bzdata/pipeline"
	"bzdata/tokenize"
	"bzdata/train/checkpoint"
)

// KeepForGroup is the configuration of the keep_for_group stage.
type KeepForGroup struct {
	TokensMax    int      `yaml:"document_tokens_max" min:"8" doc:"Tokens of a document that are routed: its first ones. The cost is in proportion to it."`
	Score        string   `yaml:"score" enum:"token|gate" doc:"What a document's activation is: its choices of experts, or their gate weights."`
	LiftMin      *float64 `yaml:"lift_min" min:"0" doc:"Keeps documents whose share on the group's experts is at least this many times an even share."`
	ShareMin     *float64 `yaml:"share_min" min:"0" max:"1" doc:"Keeps documents with at least this share of their activation on the group's experts."`
	KeepFraction *float64 `yaml:"keep_fraction" min:"0" max:"1" doc:"Keeps this share of the documents, those with the largest share, or more where shares are equal; copies that mix has made count."`
}

func keepForGroupSpec() pipeline.Spec[KeepForGroup] {
	return pipeline.Spec[KeepForGroup]{
		Name: "keep_for_group", Version: 2,
		Summary: "Drops documents that route past the experts of the own group.",
		Doc: code(`
Every document runs through the base model, and is kept if enough of its activation falls on the experts that will be
trained: those of ‹network.expert_group›, or, without one, those that a ‹route› stage before has chosen. What does
not reach them teaches them little. One of ‹lift_min›, ‹share_min› and ‹keep_fraction› sets the threshold; the default
is ‹lift_min: 1›, as much as by chance. Others are dropped as ‹off_group› with their share, or with their lift where
‹lift_min› sets the threshold; documents without a token as ‹no_tokens›. Documents of equal share stay or go together.
The held-out documents are not filtered, so that the exam stays what it was.

This is the most costly stage that curates documents: a forward pass over all of them, so let it be the last. A token
costs about two operations for each weight that is active for it: with DeepSeek-V2-Lite, of which 2.4 billion are, a
document of 256 tokens costs 1.2e12 operations, and 10,000 documents 34 hours at 100 GFLOP/s. Halving
‹document_tokens_max› halves that, at the price of a noisier share. Memory need not hold the model: as many
documents as half of the budget has room for go through it together, layer by layer, and the weights are read from
disk once for each such wave. An interrupted run goes on behind the last wave.`),
		Example: `
keep_for_group:
  document_tokens_max: 128
  lift_min: 1.2`,
		Takes: documentsOnly, Makes: documentsOnly,
		Default: KeepForGroup{TokensMax: 256, Score: "token"},
		New:     func(c KeepForGroup) (pipeline.Program, error) { return c.program(), nil },
	}
}

// Check asks for a base model and one threshold.
func (c *KeepForGroup) Check(at *pipeline.Fields) {
	p := at.Plan()
	if p.Network.Base.Model == "" {
		at.Errorf("document_tokens_max", "the plan names no base model; set network.base.model")
	}
	if p.Network.ExpertGroup != nil && !p.AutoGroup() && p.Network.ExpertGroups == "" {
		at.Errorf("lift_min", "network.expert_group needs the folder of groups; set network.expert_groups")
	}
	if c.KeepFraction != nil && *c.KeepFraction == 0 {
		at.Errorf("keep_fraction", "keeps nothing; write a number above 0")
	}
	first := ""
	for _, key := range []string{"lift_min", "share_min", "keep_fraction"} {
		switch {
		case !at.IsSet(key):
		case first == "":
			first = key
		default:
			at.Errorf(key, "%s sets the threshold already; keep one of them", first)
		}
	}
}

// Note says what the stage costs.
func (c KeepForGroup) Note() string {
	return fmt.Sprintf("runs up to %d tokens of every document through the whole model; let stages that drop for less stand "+
		"before it", c.TokensMax)
}

func (c KeepForGroup) program() pipeline.Program {
	tok := &sharedTokenizer{}
	tokens := func() any { return c.TokensMax }
	return pipeline.Program{
		Reads: func(p *pipeline.Plan) []pipeline.Read {
			reads := append(readBase(p), readTokenizer(p), readGroups(p), readGroup(p))
			return append(reads, chatLayoutOf(p).reads(p)...)
		},
		Passes: []pipeline.Pass{
			{Name: "tokenize", Config: tokens, RecordBytes: 4 * c.TokensMax, Barrier: &pipeline.Barrier{Reduce: c.decide},
				Open: func(_ context.Context, t *pipeline.Task) (pipeline.Mapper, error) { return c.openTokens(t, tok) }},
			pipeline.Apply("drop"),
		},
		Uses: func(p *pipeline.Plan) []pipeline.Data {
			if usesRouting(p) {
				return []pipeline.Data{pipeline.Routing}
			}
			return nil
		},
		Kernels: true,
	}
}

// sharedTokenizer is the base model's tokenizer, loaded once for all tasks.
type sharedTokenizer struct {
	once sync.Once
	tok  *tokenize.Tokenizer
	err  error
}

func (s *sharedTokenizer) load(t *pipeline.Task) (*tokenize.Tokenizer, error) {
	s.once.Do(func() { s.tok, s.err = tokenize.Load(t.Inputs, t.Files("tokenizer")[0]) })
	return s.tok, s.err
}

// openTokens sends each document's first tokens, as uvarints, behind its copies.
func (c KeepForGroup) openTokens(t *pipeline.Task, shared *sharedTokenizer) (pipeline.Mapper, error) {
	tok, err := shared.load(t)
	if err != nil {
		return nil, err
	}
	conv, err := chatLayoutOf(t.Plan).open(t, tok)
	if err != nil {
		return nil, err
	}
	var ids []int32
	var payload []byte
	return pipeline.MapFunc(func(d *pipeline.Doc, out *pipeline.Out) error {
		if ids, err = conv.encode(ids[:0], d); err != nil {
			return err
		}
		payload = binary.AppendUvarint(payload[:0], uint64(d.Copies))
		for _, id := range ids[:min(len(ids), c.TokensMax)] {
			payload = binary.AppendUvarint(payload, uint64(id))
		}
		out.Send(0, payload)
		return nil
	}), nil
}

// tokensOf reads what openTokens has sent.
func tokensOf(payload []byte) (copies int, ids []int32, err error) {
	next := func() uint64 {
		v, n := binary.Uvarint(payload)
		if n <= 0 {
			err, n = errors.New("a document's tokens are cut off"), len(payload)
		}
		payload = payload[n:]
		return v
	}
	copies = int(next())
	for len(payload) > 0 {
		ids = append(ids, int32(next()))
	}
	return copies, ids, err
}

// documentShare is how much of a document's activation falls on the experts; NaN without a token.
type documentShare struct {
	ref    pipeline.Ref
	copies int
	share  float64
}

// decide measures all documents and drops those below the threshold.
func (c KeepForGroup) decide(ctx context.Context, t *pipeline.Task, part *pipeline.Partition) (err error) {
	s, weights, err := openStream(t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, weights.Close()) }()
	if cfg := s.Config(); cfg.NRoutedExperts == 0 {
		return fmt.Errorf("the base model is a %s, which has no experts to route to; leave keep_for_group out", cfg.ModelType)
	}
	own, err := expertsOf(t)
	if err != nil {
		return err
	}
	m := &shareMeter{t: t, s: s, score: c.Score, group: &checkpoint.Group{Name: own.describe(), Assignment: own.assignment}}
	if err := m.all(ctx, part); err != nil {
		return err
	}
	c.carryOut(t, m, own)
	return nil
}

// carryOut decides about the documents that were measured, and reports.
func (c KeepForGroup) carryOut(t *pipeline.Task, m *shareMeter, own experts) {
	threshold := c.threshold(m)
	kept, byLift := 0, c.ShareMin == nil && c.KeepFraction == nil
	for _, d := range m.shares {
		value := d.share
		if byLift {
			value /= m.even
		}
		switch {
		case math.IsNaN(d.share):
			t.Decide(d.ref, pipeline.Verdict{Reason: "no_tokens"})
		case d.share < threshold:
			t.Decide(d.ref, pipeline.Verdict{Reason: "off_group", Value: value})
		default:
			kept++
		}
	}
	if m.even == 0 {
		return // no document has a token
	}
	t.Figure("kept for group", "%d of %d documents, those with %.4f of their activation or more (lift %.3f) on the experts",
		kept, len(m.shares), threshold, threshold/m.even)
	t.Note("the experts are %s", own.describe())
	m.report(threshold)
}

// threshold is the least share of a document that is kept.
func (c KeepForGroup) threshold(m *shareMeter) float64 {
	switch {
	case c.ShareMin != nil:
		return *c.ShareMin
	case c.KeepFraction != nil:
		return fractionThreshold(m.shares, *c.KeepFraction)
	case c.LiftMin != nil:
		return *c.LiftMin * m.even
	}
	return m.even
}

// fractionThreshold is the largest share at or above which there are a fraction of all copies,
// those of documents without a token left out; infinite for a fraction of 0.
func fractionThreshold(shares []documentShare, fraction float64) float64 {
	var sorted []documentShare
	total := 0
	for _, d := range shares {
		if !math.IsNaN(d.share) {
			sorted, total = append(sorted, d), total+d.copies
		}
	}
	slices.SortFunc(sorted, func(a, b documentShare) int { return cmp.Compare(b.share, a.share) })
	want := int(math.Ceil(fraction * float64(total)))
	threshold := math.Inf(1)
	for _, d := range sorted {
		if want <= 0 {
			break
		}
		threshold, want = d.share, want-d.copies
	}
	return threshold
}
