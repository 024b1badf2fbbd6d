package model

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"

	"bzdata/train/tensor"
)

// Param is one weight tensor, row-major.
type Param struct {
	// Name is the tensor's name in the model's files.
	Name string
	// Shape is [out, in] for a projection and [n] for a norm.
	Shape []int

	dev  tensor.Device
	w    tensor.Weight
	home *stored // where it is while no layer computes with it, see [Hold.LayersOnHost]; nil if it is on the device
}

// Elements returns the number of values.
func (p *Param) Elements() int { return elements(p.Shape) }

// Values returns the weights in single precision: on the processor the memory itself, which may be written to,
// elsewhere a copy.
func (p *Param) Values() []float32 {
	if p.home != nil {
		return p.home.float32s()
	}
	return p.dev.Master(p.w)
}

// SetValues replaces the weights by as many values.
func (p *Param) SetValues(values []float32) { p.dev.SetMaster(&p.w, values) }

// Trains reports whether the tensor has a gradient; without one it is frozen.
func (p *Param) Trains() bool { return !p.w.Grad.None() }

// Gradient returns the gradient: on the processor the memory itself, elsewhere a copy; nil if the tensor is frozen.
func (p *Param) Gradient() []float32 {
	if p.w.Grad.Host != nil || p.w.Grad.None() {
		return p.w.Grad.Host
	}
	values := make([]float32, p.w.Grad.N)
	p.dev.Download(values, p.w.Grad)
	return values
}

// Weight returns the tensor in its device's memory.
func (p *Param) Weight() *tensor.Weight { return &p.w }

// Model is a decoder with its weights. It is not safe for concurrent use.
type Model struct {
	cfg    Config
	dev    tensor.Device
	params []*Param
	byName map[string]*Param

	embed, norm, head *Param
	layers            []*layer
	ropeDim           int // how many values of a head are rotated
	state             state
}

// New returns a model with random weights, as [Param.Random] makes them with deviation
// initializer_range. It is an error if the device has no room for them.
func New(cfg Config, dev tensor.Device, seed uint64) (*Model, error) {
	m, err := build(cfg, dev, nil)
	if err != nil {
		return nil, err
	}
	values := make([][]float32, len(m.params))
	dev.For(len(m.params), func(i int) { values[i] = m.params[i].Random(seed, m.cfg.InitializerRange) })
	for i, p := range m.params {
		p.w.Data = dev.Load(values[i])
	}
	return m, dev.Err()
}

// Shapes lists the weights of a model, without values.
func Shapes(cfg Config) ([]Param, error) {
	m, err := build(cfg, nil, nil)
	if err != nil {
		return nil, err
	}
	var out []Param
	for _, p := range m.params {
		out = append(out, *p)
	}
	return out, nil
}

// build makes a model without weights, with the routed experts own, by layer, or all if it is nil.
func build(cfg Config, dev tensor.Device, own map[int][]int32) (*Model, error) {
	arch, err := architectureOf(cfg.ModelType)
	if err != nil {
		return nil, err
	}
	if err := arch.validate(&cfg); err != nil {
		return nil, err
	}
	m := &Model{cfg: cfg, dev: dev, byName: map[string]*Param{}}
	m.buildDecoder(arch, own)
	if own == nil {
		return m, nil
	}
	for l, y := range m.layers {
		if y.moe == nil {
			continue
		}
		if err := m.SetAllowedExperts(l, append([]int32{}, own[l]...)); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// addParam registers a weight; the order of calls is the order of [Model.Params].
func (m *Model) addParam(name string, shape ...int) *Param {
	p := &Param{Name: name, Shape: shape, dev: m.dev}
	m.params = append(m.params, p)
	m.byName[name] = p
	return p
}

func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// Random returns random values for the tensor: 1 for a tensor of one dimension, a norm's, except that biases are 0;
// others are normal with the given deviation, seeded by seed and the tensor's name.
func (p *Param) Random(seed uint64, deviation float64) []float32 {
	values := make([]float32, elements(p.Shape))
	if len(p.Shape) == 1 {
		if !strings.HasSuffix(p.Name, ".bias") {
			for i := range values {
				values[i] = 1
			}
		}
		return values
	}
	h := fnv.New64a()
	fmt.Fprint(h, p.Name)
	rng := rand.New(rand.NewPCG(seed, h.Sum64()))
	for i := range values {
		values[i] = float32(rng.NormFloat64() * deviation)
	}
	return values
}

// Config returns the configuration, with implied values filled in.
func (m *Model) Config() Config { return m.cfg }

// Device returns the device that the model computes on.
func (m *Model) Device() tensor.Device { return m.dev }

// Params returns all weights in a fixed order: embedding, layers from the input on, final
// norm, and the head unless it is tied to the embedding.
func (m *Model) Params() []*Param { return m.params }

// Param returns the weight of a name, or nil.
func (m *Model) Param(name string) *Param { return m.byName[name] }

// SetTrainable gives the weights for which keep is true a gradient of zeros, freezes the
// others, and returns how many are kept. All weights of a new model are frozen.
func (m *Model) SetTrainable(keep func(name string) bool) int {
	kept := 0
	for _, p := range m.params {
		if !keep(p.Name) {
			m.dev.Freeze(&p.w)
			continue
		}
		kept++
		p.toDevice()
		m.dev.Train(&p.w)
	}
	return kept
}

// ZeroGrad clears all gradients.
func (m *Model) ZeroGrad() {
	for _, p := range m.params {
		m.dev.Clear(p.w.Grad)
	}
}

// SetAllowedExperts restricts the router of a mixture layer to some experts; nil admits all.
// The others take no part in its softmax, as if their logits were -10000 (they then differ from 0 by
// less than single precision can hold), which is what Connito's router does (0c936fa). Block Zero's
// (907d2e4) takes the softmax over all experts, puts those that are absent below the others and
// makes the chosen weights sum to 1; with norm_topk_prob, which its models have, both give
// the same weights. With fewer allowed experts than num_experts_per_tok, a token
// goes to all that are allowed. It is an error if there is no such layer or expert.
func (m *Model) SetAllowedExperts(layer int, ids []int32) error {
	if layer < 0 || layer >= len(m.layers) || m.layers[layer].moe == nil {
		return fmt.Errorf("layer %d has no experts", layer)
	}
	return m.layers[layer].moe.allow(m.dev, ids)
}

// SetExpertsPerToken sets how many experts a token goes to, in place of num_experts_per_tok: networks
// train with fewer (their partial top-k) than they judge with.
func (m *Model) SetExpertsPerToken(k int) error {
	cfg := m.cfg
	cfg.NumExpertsPerTok = k
	if k < 1 {
		return fmt.Errorf("a token goes to %d experts; it must be at least 1", k)
	}
	arch, err := architectureOf(cfg.ModelType)
	if err != nil {
		return err
	}
	if err := arch.validate(&cfg); err != nil {
		return err
	}
	m.cfg.NumExpertsPerTok = k
	return nil
}

// LayerCounts says how the last [Model.Backward] shared its tokens out among a layer's experts.
type LayerCounts struct {
	Layer int
	// Tokens is the number of positions routed.
	Tokens int
	// Experts holds, for each expert, the number of positions that it got.
	Experts []int
}

// Counts returns the load of the experts in the last [Model.Backward], one entry for each mixture
// layer; nil before the first.
func (m *Model) Counts() []LayerCounts { return m.state.counts }
