package model

import (
	"cmp"
	"context"
	"fmt"

	"bzdata/train/tensor"
)

// state is what a model keeps between calls.
type state struct {
	angles angleTable
	shared layerActs   // of layers whose activations are not kept
	kept   []layerActs // by layer
	x, dx  tensor.Array
	tokens tensor.Ints // of the batch, on the device
	head   headActs
	// What a load-balancing loss has on the device: the positions that count, and the slope by expert.
	counted tensor.Ints
	slope   tensor.Array
	counts  []LayerCounts
	// recompute keeps of each layer its input only, see [Model.SetRecompute].
	recompute bool
}

// Route is one mixture layer's choice for each position of a batch.
type Route struct {
	Layer int
	// Experts are the chosen experts of each position in turn, most probable first, as many for each
	// position: num_experts_per_tok, or fewer if fewer are allowed.
	Experts []int32
	// Weights are their probabilities: the router's softmax, not normalised and not scaled.
	Weights []float32
}

// Loss returns the sum of the cross-entropies of the counted targets, in nats, and their number. If
// tokenLoss is not nil, it gets one value for each position, 0 where the target is not counted.
func (m *Model) Loss(ctx context.Context, b Batch, tokenLoss []float32) (sum float64, tokens int, err error) {
	if tokenLoss != nil && len(tokenLoss) != b.positions() {
		return 0, 0, fmt.Errorf("room for %d token losses; the batch has %d positions",
			len(tokenLoss), b.positions())
	}
	p, err := m.start(b, true)
	if err != nil {
		return 0, 0, err
	}
	if err := p.forward(ctx, len(m.layers), nil); err != nil {
		return 0, 0, err
	}
	return p.headLoss(ctx, tokenLoss, headPass{})
}

// Backward is [Model.Loss] and adds scale times the derivative of the returned sum to the gradient of
// every trainable weight. After an error the gradients are of no use; see [Model.ZeroGrad].
func (m *Model) Backward(ctx context.Context, b Batch, scale float32) (sum float64, tokens int, err error) {
	if scale == 0 {
		return m.Loss(ctx, b, nil)
	}
	return m.backward(ctx, b, scale, nil)
}

// backward is Backward, with a load-balancing loss unless bal is nil.
func (m *Model) backward(ctx context.Context, b Batch, scale float32, bal *balance) (sum float64, tokens int, err error) {
	p, err := m.start(b, true)
	if err != nil {
		return 0, 0, err
	}
	p.balance = bal
	first := m.firstTrainable()
	m.state.counts = nil
	err = p.forward(ctx, first, func(layer int, a *moeActs) error {
		m.state.counts = append(m.state.counts, p.counts(layer, &a.Routing))
		return nil // a fault shows before the counts are of use
	})
	if err != nil {
		return 0, 0, err
	}
	if bal != nil {
		bal.settle(p)
	}
	input := first < len(m.layers) || trains(m.norm, m.embed)
	do := headPass{scale: scale, back: input || trains(m.head), input: input}
	if sum, tokens, err = p.headLoss(ctx, nil, do); err != nil {
		return 0, 0, err
	}
	for l := len(m.layers) - 1; l >= first; l-- {
		if err := cmp.Or(ctx.Err(), m.dev.Err()); err != nil {
			return 0, 0, err
		}
		m.layers[l].fetch(m.dev)
		m.layers[l].backward(p, p.again(l), l > first || trains(m.embed))
		m.layers[l].drop(m.dev)
	}
	if trains(m.embed) {
		m.dev.EmbedBack(m.embed.w.Grad, p.dx, m.state.tokens, p.hidden)
	}
	return sum, tokens, m.dev.Err()
}

// SetRecompute makes [Model.Backward] keep only the input of each layer, and compute the layer once more when its
// derivative comes: a third more work for a fraction of the memory (Chen et al. 2016, "Training deep nets with
// sublinear memory cost"). The result has the same bits.
func (m *Model) SetRecompute(on bool) { m.state.recompute = on }

// Routes runs the forward pass and calls visit for each mixture layer, from the input on. The
// slices are valid during the call. Targets are not used and may be nil.
func (m *Model) Routes(ctx context.Context, b Batch, visit func(Route)) error {
	p, err := m.start(b, false)
	if err != nil {
		return err
	}
	return p.forward(ctx, len(m.layers), func(layer int, a *moeActs) error {
		r, err := p.record(layer, &a.Routing)
		if err == nil {
			visit(r)
		}
		return err
	})
}

// start checks a batch and embeds it.
func (m *Model) start(b Batch, targets bool) (*pass, error) {
	if err := b.check(m.cfg, targets); err != nil {
		return nil, err
	}
	p := &pass{m: m, dev: m.dev, batch: b, rows: b.positions(), hidden: m.cfg.HiddenSize}
	p.grow(&m.state.x, p.rows*p.hidden)
	p.x = m.state.x
	p.embedTokens()
	return p, m.dev.Err()
}

// embedTokens fills p.x with the tokens' embeddings.
func (p *pass) embedTokens() {
	tokens := &p.m.state.tokens
	p.dev.GrowInts(tokens, p.rows)
	p.dev.UploadInts(*tokens, p.batch.Tokens)
	p.dev.Embed(p.x, p.m.embed.w.Data, *tokens, p.hidden)
}

// firstTrainable is the lowest layer that the backward pass must reach: the number of layers if
// none.
func (m *Model) firstTrainable() int {
	if trains(m.embed) {
		return 0
	}
	for l, y := range m.layers {
		if y.trainable() {
			return l
		}
	}
	return len(m.layers)
}

// forward runs the layers, keeping the activations of those from keep on, and calls visit, if it is
// not nil, for each mixture layer.
func (p *pass) forward(ctx context.Context, keep int, visit func(layer int, a *moeActs) error) error {
	s := &p.m.state
	if len(s.kept) < len(p.m.layers) {
		s.kept = make([]layerActs, len(p.m.layers))
	}
	for l, y := range p.m.layers {
		if err := cmp.Or(ctx.Err(), p.dev.Err()); err != nil {
			return err
		}
		a := &s.shared
		switch {
		case l >= keep && s.recompute:
			p.dev.Copy(p.grow(&s.kept[l].in, p.x.N), p.x)
		case l >= keep:
			a = &s.kept[l]
		}
		y.fetch(p.dev)
		y.forward(p, a)
		y.drop(p.dev)
		if y.moe != nil && visit != nil {
			if err := visit(l, &a.moe); err != nil {
				return err
			}
		}
	}
	return nil
}

// again returns what a layer's forward pass leaves, which is kept or computed once more from the layer's input.
func (p *pass) again(l int) *layerActs {
	s := &p.m.state
	if !s.recompute {
		return &s.kept[l]
	}
	p.dev.Copy(p.x, s.kept[l].in)
	p.second = true
	p.m.layers[l].forward(p, &s.shared)
	return &s.shared
}

// counts is the load of a layer's experts.
func (p *pass) counts(layer int, r *tensor.Routing) LayerCounts {
	c, start := LayerCounts{Layer: layer, Tokens: r.Rows, Experts: make([]int, r.Experts)}, make([]int32, r.Experts+1)
	p.dev.DownloadInts(start, r.Start)
	for e := range c.Experts {
		c.Experts[e] = int(start[e+1] - start[e])
	}
	return c
}

// record is what a layer's router chose. After a fault there are zeros on the host, which must not be taken for a choice.
func (p *pass) record(layer int, r *tensor.Routing) (Route, error) {
	out := Route{Layer: layer, Experts: make([]int32, r.Slots()), Weights: make([]float32, r.Slots())}
	probs := make([]float32, r.Probs.N)
	p.dev.DownloadInts(out.Experts, r.IDs)
	p.dev.Download(probs, r.Probs)
	if err := p.dev.Err(); err != nil {
		return Route{}, err
	}
	for slot, id := range out.Experts {
		out.Weights[slot] = probs[slot/r.K*r.Experts+int(id)]
	}
	return out, nil
}
