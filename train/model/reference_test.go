package model

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"testing"
)

// reference computes the loss of each position in double precision, one token after the other, from
// the published formulas and the weights by name. It shares nothing with the package but the weights.
type reference struct {
	cfg     Config
	weights map[string][]float64
	allowed map[int][]int32 // by layer
	routes  []Route         // filled by run: one for each mixture layer
	// balance is added to the loss if it is not nil, at the position that the layers are at.
	balance         *referenceBalance
	start, position int
}

func newReference(m *Model) *reference {
	r := &reference{cfg: m.Config(), weights: map[string][]float64{}, allowed: map[int][]int32{}}
	for _, p := range m.Params() {
		w := make([]float64, len(p.Values()))
		for i, v := range p.Values() {
			w[i] = float64(v)
		}
		r.weights[p.Name] = w
	}
	return r
}

func (r *reference) mat(name string, x []float64) []float64 {
	w := r.weights[name]
	y := make([]float64, len(w)/len(x))
	for o := range y {
		sum := 0.0
		for i, v := range w[o*len(x) : (o+1)*len(x)] {
			sum += v * x[i]
		}
		y[o] = sum
	}
	return y
}

func (r *reference) norm(name string, x []float64) []float64 {
	square := 0.0
	for _, v := range x {
		square += v * v / float64(len(x))
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = v / math.Sqrt(square+r.cfg.RMSNormEps) * r.weights[name][i]
	}
	return y
}

func (r *reference) ffn(prefix string, x []float64) []float64 {
	gate, up := r.mat(prefix+"gate_proj.weight", x), r.mat(prefix+"up_proj.weight", x)
	for i, g := range gate {
		gate[i] = g / (1 + math.Exp(-g)) * up[i]
	}
	return r.mat(prefix+"down_proj.weight", gate)
}

func softmax64(x []float64) {
	top, sum := math.Inf(-1), 0.0
	for _, v := range x {
		top = max(top, v)
	}
	for i, v := range x {
		x[i] = math.Exp(v - top)
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
}

func (r *reference) rope(x []float64, pos int) {
	half := r.cfg.HeadDim / 2
	for h := 0; h < len(x); h += r.cfg.HeadDim {
		for i := range half {
			sin, cos := math.Sincos(float64(pos) * math.Pow(r.cfg.RopeTheta, -float64(2*i)/float64(r.cfg.HeadDim)))
			a, b := x[h+i], x[h+half+i]
			x[h+i], x[h+half+i] = a*cos-b*sin, b*cos+a*sin
		}
	}
}

// attend runs attention over a sequence of normed rows.
func (r *reference) attend(prefix string, rows [][]float64) [][]float64 {
	c := r.cfg
	var ks, vs [][]float64
	out := make([][]float64, len(rows))
	for t, x := range rows {
		q, k := r.mat(prefix+"q_proj.weight", x), r.mat(prefix+"k_proj.weight", x)
		r.rope(q, t)
		r.rope(k, t)
		ks, vs = append(ks, k), append(vs, r.mat(prefix+"v_proj.weight", x))
		mixed := make([]float64, len(q))
		for h := range c.NumAttentionHeads {
			kv := h / (c.NumAttentionHeads / c.NumKeyValueHeads) * c.HeadDim
			weight := make([]float64, t+1)
			for s := range weight {
				for i := range c.HeadDim {
					weight[s] += q[h*c.HeadDim+i] * ks[s][kv+i] / math.Sqrt(float64(c.HeadDim))
				}
			}
			softmax64(weight)
			for s, w := range weight {
				for i := range c.HeadDim {
					mixed[h*c.HeadDim+i] += w * vs[s][kv+i]
				}
			}
		}
		out[t] = r.mat(prefix+"o_proj.weight", mixed)
	}
	return out
}

// mixture runs the routed experts of a layer on one row, and records the choice.
func (r *reference) mixture(layer int, prefix string, x []float64, route *Route) []float64 {
	probs := r.mat(prefix+"gate.weight", x)
	if r.balance != nil {
		r.balance.add(slices.Clone(probs), r.cfg.NumExpertsPerTok, r.position)
	}
	k := r.cfg.NumExpertsPerTok
	if ids := r.allowed[layer]; ids != nil {
		k = min(k, len(ids))
		for e := range probs {
			keep := false
			for _, id := range ids {
				keep = keep || int(id) == e
			}
			if !keep {
				probs[e] = -1e4
			}
		}
	}
	softmax64(probs)
	order := make([]int, len(probs))
	for e := range order {
		order[e] = e
	}
	sort.SliceStable(order, func(i, j int) bool { return probs[order[i]] > probs[order[j]] })
	sum := 1.0
	if r.cfg.NormTopkProb {
		sum = 0
		for _, e := range order[:k] {
			sum += probs[e]
		}
	}
	y := make([]float64, len(x))
	for _, e := range order[:k] {
		route.Experts = append(route.Experts, int32(e))
		route.Weights = append(route.Weights, float32(probs[e]))
		for i, v := range r.ffn(prefix+"experts."+strconv.Itoa(e)+".", x) {
			y[i] += r.cfg.RoutedScalingFactor * probs[e] / sum * v
		}
	}
	return y
}

func addTo(x, y []float64) {
	for i, v := range y {
		x[i] += v
	}
}

// layer runs one decoder layer over a sequence.
func (r *reference) layer(l int, rows [][]float64, route *Route) {
	prefix := "model.layers." + strconv.Itoa(l) + "."
	normed := make([][]float64, len(rows))
	for t, x := range rows {
		normed[t] = r.norm(prefix+"input_layernorm.weight", x)
	}
	for t, y := range r.attend(prefix+"self_attn.", normed) {
		addTo(rows[t], y)
	}
	for t, x := range rows {
		r.position = r.start + t
		h := r.norm(prefix+"post_attention_layernorm.weight", x)
		if l < r.cfg.FirstKDenseReplace {
			addTo(x, r.ffn(prefix+"mlp.", h))
			continue
		}
		y := r.mixture(l, prefix+"mlp.", h, route)
		if r.cfg.NSharedExperts > 0 {
			addTo(y, r.ffn(prefix+"mlp.shared_experts.", h))
		}
		addTo(x, y)
	}
}

// run returns the loss of each position.
func (r *reference) run(b Batch) []float64 {
	out := make([]float64, len(b.Tokens))
	r.routes = make([]Route, r.cfg.NumHiddenLayers)
	for s := range b.Sequences {
		var rows [][]float64
		r.start = s * b.Length
		for _, id := range b.Tokens[s*b.Length : (s+1)*b.Length] {
			d, w := r.cfg.HiddenSize, r.weights["model.embed_tokens.weight"]
			rows = append(rows, slices.Clone(w[int(id)*d:(int(id)+1)*d]))
		}
		for l := range r.cfg.NumHiddenLayers {
			r.routes[l].Layer = l
			r.layer(l, rows, &r.routes[l])
		}
		head := "lm_head.weight"
		if r.cfg.TieWordEmbeddings {
			head = "model.embed_tokens.weight"
		}
		for t, x := range rows {
			probs := r.mat(head, r.norm("model.norm.weight", x))
			softmax64(probs)
			if target := b.Targets[s*b.Length+t]; target >= 0 {
				out[s*b.Length+t] = -math.Log(probs[target])
			}
		}
	}
	return out
}

// variants are the configurations that the tests below run over.
func variants() map[string]Config {
	out := map[string]Config{}
	add := func(name string, change func(c *Config)) {
		c := tinyConfig()
		change(&c)
		out[name] = c
	}
	add("base", func(*Config) {})
	add("not normalised", func(c *Config) { c.NormTopkProb = false })
	add("tied", func(c *Config) { c.TieWordEmbeddings = true })
	add("no shared experts", func(c *Config) { c.NSharedExperts = 0 })
	add("dense", func(c *Config) { c.FirstKDenseReplace = 3 })
	add("one head each", func(c *Config) { c.NumKeyValueHeads, c.FirstKDenseReplace = 4, 0 })
	return out
}

// TestReference compares the loss of every position, and every route, with the reference, on each set.
func TestReference(t *testing.T) {
	for name, cfg := range variants() {
		for _, kernels := range []string{"auto", "plain"} {
			m := newModel(t, cfg, kernels, 2)
			ref := newReference(m)
			compareReference(t, name+"/"+kernels, m, ref)
			if m.layers[2].moe == nil {
				continue
			}
			ref.allowed[2] = []int32{4, 1, 3}
			if err := m.SetAllowedExperts(2, ref.allowed[2]); err != nil {
				t.Fatal(err)
			}
			compareReference(t, name+"/"+kernels+"/masked", m, ref)
		}
	}
}

func compareReference(t *testing.T, what string, m *Model, ref *reference) {
	t.Helper()
	b := randomBatch(m.Config(), 2, 75, 11)
	want, got := ref.run(b), make([]float32, len(b.Tokens))
	sum, tokens, err := m.Loss(context.Background(), b, got)
	if err != nil {
		t.Fatal(err)
	}
	total, counted := 0.0, 0
	for i, w := range want {
		total += w
		if b.Targets[i] >= 0 {
			counted++
		}
		if math.Abs(float64(got[i])-w) > 2e-5 {
			t.Fatalf("%s: loss at %d is %v, want %v", what, i, got[i], w)
		}
	}
	if tokens != counted || math.Abs(sum-total) > 1e-6*total {
		t.Errorf("%s: the sum is %v over %d tokens, want %v over %d", what, sum, tokens, total, counted)
	}
	err = m.Routes(context.Background(), Batch{Sequences: 2, Length: 75, Tokens: b.Tokens}, func(r Route) {
		compareRoute(t, what, r, ref.routes[r.Layer])
	})
	if err != nil {
		t.Fatal(err)
	}
}

func compareRoute(t *testing.T, what string, got, want Route) {
	t.Helper()
	if len(got.Experts) != len(want.Experts) || len(got.Weights) != len(want.Weights) {
		t.Fatalf("%s: layer %d has %d choices and %d weights, want %d", what, got.Layer,
			len(got.Experts), len(got.Weights), len(want.Experts))
	}
	for i, e := range want.Experts {
		if got.Experts[i] != e || math.Abs(float64(got.Weights[i]-want.Weights[i])) > 1e-5 {
			t.Fatalf("%s: layer %d slot %d is expert %d with %v, want %d with %v", what, got.Layer, i,
				got.Experts[i], got.Weights[i], e, want.Weights[i])
		}
	}
}

// TestGradient compares the gradient of every weight with central differences of the reference's loss:
// along the gradient, which must give its length, and along a random direction.
func TestGradient(t *testing.T) {
	all := variants()
	one := tinyConfig()
	one.NumExpertsPerTok = 1
	all["top 1"] = one
	for name, cfg := range all {
		m := newModel(t, cfg, "auto", 2)
		ref := newReference(m)
		if m.layers[2].moe != nil {
			ref.allowed[2] = []int32{4, 1, 3}
			if err := m.SetAllowedExperts(2, ref.allowed[2]); err != nil {
				t.Fatal(err)
			}
		}
		m.SetTrainable(func(string) bool { return true })
		b := randomBatch(cfg, 1, 70, 5)
		if _, _, err := m.Backward(context.Background(), b, 1); err != nil {
			t.Fatal(err)
		}
		for _, p := range m.Params() {
			checkGradient(t, name, ref, b, p)
		}
	}
}

func checkGradient(t *testing.T, what string, ref *reference, b Batch, p *Param) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, uint64(len(p.Values()))))
	along, random := make([]float64, len(p.Gradient())), make([]float64, len(p.Gradient()))
	length, want := 0.0, 0.0
	for _, g := range p.Gradient() {
		length += float64(g) * float64(g)
	}
	length = math.Sqrt(length)
	for i, g := range p.Gradient() {
		along[i] = float64(g) / max(length, 1e-30)
		random[i] = rng.NormFloat64() / math.Sqrt(float64(len(p.Gradient())))
		want += random[i] * float64(g)
	}
	if got := ref.slope(b, p.Name, along); math.Abs(got-length) > 1e-5*length+1e-6 {
		t.Errorf("%s: %s: along the gradient the slope is %g, want %g", what, p.Name, got, length)
	}
	if got := ref.slope(b, p.Name, random); math.Abs(got-want) > 1e-5*length+1e-6 {
		t.Errorf("%s: %s: along a random direction the slope is %g, want %g", what, p.Name, got, want)
	}
}

// slope is the derivative of the summed loss in a direction of one weight.
func (r *reference) slope(b Batch, name string, direction []float64) float64 {
	const step = 1e-6
	kept := r.weights[name]
	defer func() { r.weights[name] = kept }()
	at := func(step float64) float64 {
		moved := slices.Clone(kept)
		for i, d := range direction {
			moved[i] += step * d
		}
		r.weights[name] = moved
		if r.balance != nil {
			r.balance.begin()
		}
		sum := 0.0
		for _, v := range r.run(b) {
			sum += v
		}
		if r.balance != nil {
			sum += r.balance.scale * r.balance.loss()
		}
		return sum
	}
	return (at(step) - at(-step)) / (2 * step)
}
