package stages

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"bzdata/eval/routing"
	"bzdata/pipeline"
	"bzdata/train/checkpoint"
	"bzdata/train/device"
	"bzdata/train/model"
)

// routed is what routing counts.
type routed struct {
	t       *pipeline.Task
	score   string
	acc     *routing.Accumulator
	ranking *routing.Ranking // nil without groups
	groups  []*checkpoint.Group
	sources *routing.Sources
	source  func(document int) string
}

func newRouted(t *pipeline.Task, score string, cfg model.Config) (*routed, error) {
	r := &routed{t: t, score: score, sources: routing.NewSources(cfg.NRoutedExperts)}
	var err error
	if r.acc, err = routing.NewAccumulator(cfg.NRoutedExperts, cfg.NumExpertsPerTok); err != nil {
		return nil, err
	}
	if r.groups, err = groupsOf(t.Inputs, t.Plan); err != nil {
		return nil, err
	}
	if len(r.groups) > 0 {
		r.ranking = routing.NewRanking(r.groups, cfg.NRoutedExperts)
	} else if t.Plan.AutoGroup() {
		return nil, &pipeline.UsageError{Msg: fmt.Sprintf("network.expert_group is auto, but there is no group in %s",
			t.Plan.Network.ExpertGroups)}
	}
	return r, nil
}

// all runs documents, a sequence each, through the model, as many at a time as have room for
// their residual streams in half of the memory budget.
func (r *routed) all(ctx context.Context, s *model.Stream, docs []model.Batch) (tokens, documents int, err error) {
	if len(docs) == 0 {
		return 0, 0, &pipeline.DataError{Msg: "no document has a token to route"}
	}
	waves := cutWaves(docs, streamTokens(r.t, s.Config(), 1))
	for i, wave := range waves {
		s.OnLayer = func(done, total int) {
			r.t.Progress(float64(i*total+done), float64(len(waves)*total), "layers")
		}
		var added error
		err := s.Routes(ctx, wave, func(batch int, route model.Route) {
			added = cmp.Or(added, r.add(documents+batch, route))
		})
		if err = cmp.Or(err, added); err != nil {
			return 0, 0, err
		}
		for _, b := range wave {
			tokens += b.Length
		}
		documents += len(wave)
	}
	return tokens, documents, nil
}

// streamTokens is how many tokens have room for their residual streams, of so many models, in half of
// the memory budget. On a card they are in its memory, of which the budget says nothing: it is bounded by [cardStreamBytes].
func streamTokens(t *pipeline.Task, cfg model.Config, models int) int {
	bytes := t.MemoryBytes / 2
	if device.OnCard(t.Kernels) {
		bytes = min(bytes, cardStreamBytes)
	}
	return max(1, int(bytes)/(4*cfg.HiddenSize*models))
}

// cardStreamBytes is an eighth of a small card's memory: a layer's weights and activations need room, too.
const cardStreamBytes = 2 << 30

// cutWaves cuts documents into runs of at most so many tokens, or of one document.
func cutWaves(docs []model.Batch, tokensMax int) [][]model.Batch {
	var waves [][]model.Batch
	left := 0
	for _, b := range docs {
		if left -= b.Length; left < 0 {
			waves, left = append(waves, nil), tokensMax-b.Length
		}
		waves[len(waves)-1] = append(waves[len(waves)-1], b)
	}
	return waves
}

func (r *routed) add(document int, route model.Route) error {
	if r.ranking != nil {
		r.ranking.Add(document, route.Layer, route.Experts, weightsBy(r.score, route))
	}
	r.sources.Add(r.source(document), document, route.Layer, route.Experts)
	return r.acc.Add(route.Layer, route.Experts, route.Weights)
}

// weightsBy are the weights of choices by which a score counts them, nil if each counts alike.
func weightsBy(score string, route model.Route) []float32 {
	if score == "token" {
		return nil
	}
	return route.Weights
}

// sampled is a document drawn for routing.
type sampled struct {
	choice uint64
	name   string
	source string
	ids    []int32
}

// bytesPerToken is more than a token has in nearly all text (English prose has 4 to 5), so
// that a sample of so many bytes for each token wanted has more tokens than that; what is
// left over is not routed. Where tokens are longer, fewer than sample_tokens are routed.
const bytesPerToken = 12

// sample draws documents by a seeded hash, the same share of every source, and orders
// them by it. A document counts with what of it is routed, length tokens at most. The
// share grows until the sample is large enough, so that a few long documents among many
// short ones do not leave it empty.
func (c Route) sample(ctx context.Context, t *pipeline.Task, conv *conversations, length int) ([]sampled, error) {
	weight := func(d *pipeline.Doc) float64 { return float64(min(len(d.Text), length*bytesPerToken)) }
	total := 0.0
	err := eachDocument(ctx, t, func(d *pipeline.Doc) error {
		total += weight(d) * float64(d.Copies)
		return nil
	})
	if err != nil {
		return nil, err
	}
	want := min(float64(c.SampleTokens)*bytesPerToken, total)
	for share := want / max(1, total); ; share *= 2 {
		var out []sampled
		drawn := 0.0
		err = eachDocument(ctx, t, func(d *pipeline.Doc) error {
			before := len(out)
			out, err = drawCopies(out, t, d, share, func() ([]int32, error) {
				ids, err := conv.encode(nil, d)
				return slices.Clone(ids[:min(len(ids), length)]), err
			})
			drawn += weight(d) * float64(len(out)-before)
			return err
		})
		if err == nil && drawn < want/2 && share < 1 {
			continue
		}
		slices.SortFunc(out, func(a, b sampled) int {
			return cmp.Or(cmp.Compare(a.choice, b.choice), cmp.Compare(a.name, b.name))
		})
		return out, err
	}
}

// drawCopies appends those copies of a document that fall into a share of all, with its tokens.
func drawCopies(out []sampled, t *pipeline.Task, d *pipeline.Doc, share float64, tokens func() ([]int32, error)) (
	[]sampled, error) {
	for i := range d.Copies {
		purpose := "sample"
		if i > 0 {
			purpose = fmt.Sprint("sample, copy ", i)
		}
		choice := t.Choice(purpose, d)
		if float64(choice) > share*math.MaxUint64 {
			continue
		}
		ids, err := tokens()
		if err != nil {
			return out, err
		}
		out = append(out, sampled{choice, d.Name(), d.Source, ids})
	}
	return out, nil
}

// eachDocument reads all shards in order.
func eachDocument(ctx context.Context, t *pipeline.Task, visit func(d *pipeline.Doc) error) error {
	for shard := range t.ShardCount() {
		if err := t.EachDoc(ctx, shard, visit); err != nil {
			return err
		}
	}
	return nil
}

// sequences are the tokens of documents, until there are enough, and the documents' sources.
func (c Route) sequences(sample []sampled) (out []model.Batch, sources []string) {
	for tokens := 0; len(sample) > 0 && tokens < c.SampleTokens; sample = sample[1:] {
		ids := sample[0].ids
		if ids = ids[:min(len(ids), c.SampleTokens-tokens)]; len(ids) > 0 {
			out = append(out, model.Batch{Sequences: 1, Length: len(ids), Tokens: ids})
			sources = append(sources, sample[0].source)
			tokens += len(ids)
		}
	}
	return out, sources
}
