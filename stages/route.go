package stages

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"

	"bzdata/eval/routing"
	"bzdata/pipeline"
	"bzdata/tokenize"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
	"bzdata/train/tensor"
)

// Route is the configuration of the route stage.
type Route struct {
	SampleTokens   int     `yaml:"sample_tokens" min:"64" doc:"Tokens of the seeded sample that is routed."`
	SequenceLength int     `yaml:"sequence_length" min:"8" network:"tokenize.sequence_length" doc:"Tokens of a document that are routed at most."`
	Score          string  `yaml:"score" enum:"token|gate" doc:"What experts are ranked by: their share of choices, or their mean gate weight."`
	P              float64 `yaml:"p" min:"0" max:"1" doc:"Choose experts of a layer until their scores reach this; 0 for one of the other rules."`
	TopN           int     `yaml:"top_n" min:"0" doc:"Choose this many experts of each layer."`
	MinShare       float64 `yaml:"min_share" min:"0" max:"1" doc:"Choose the experts with at least this share of their layer's scores, and at least one."`
}

func routeSpec() pipeline.Spec[Route] {
	return pipeline.Spec[Route]{
		Name: "route", Version: 3,
		Summary: "Finds which experts of the base model the documents activate, and chooses experts to train.",
		Doc: code(`
A seeded sample of the documents, each copy that ‹mix› has made for itself and messages as ‹tokenize› writes
them, runs through the base model, layer by layer, so that memory need not hold the model, and the router's
choices are counted: token scores and gate scores of Expert-Specialized Fine-Tuning (arXiv 2407.01906), rounded to four
decimals as its published results are. The choice by ‹p›, ‹top_n› or ‹min_share› is written as
‹expert_config.json› and ‹expert_assignment.json›, the scores as ‹summary.json›, under out/routing. Where the plan
names a folder of expert groups, they are ranked by how much of the activation falls on them.`),
		Example: `
route:
  sample_tokens: 65536
  score: token
  p: 0.2`,
		Takes: documentsOnly, Makes: []pipeline.Data{pipeline.Routing},
		Default: Route{SampleTokens: 65536, SequenceLength: 1024, Score: "token", P: 0.2},
		New:     func(c Route) (pipeline.Program, error) { return c.program(), nil },
	}
}

// Check asks for one rule and a base model.
func (c *Route) Check(at *pipeline.Fields) {
	if at.Plan().Network.Base.Model == "" {
		at.Errorf("sample_tokens", "the plan names no base model; set network.base.model")
	}
	if !at.IsSet("p") && (c.TopN > 0 || c.MinShare > 0) {
		c.P = 0
	}
	if _, err := c.rule().Choose(routing.Table{}); err != nil {
		at.Errorf("p", "%v", err)
	}
}

func (c Route) rule() routing.Rule {
	r := routing.Rule{P: c.P, TopN: c.TopN, MinShare: c.MinShare}
	if c.MinShare > 0 {
		r.Floor = 1
	}
	return r
}

func (c Route) program() pipeline.Program {
	return pipeline.Program{
		Reads:   func(p *pipeline.Plan) []pipeline.Read { return append(readBase(p), readTokenizer(p), readGroups(p)) },
		Run:     c.run,
		Links:   []pipeline.Link{{Name: "out/routing", From: "routing"}},
		Kernels: true,
	}
}

// readBase is the base model's configuration and weights.
func readBase(p *pipeline.Plan) []pipeline.Read {
	dir := string(p.Network.Base.Model)
	return []pipeline.Read{
		{Name: "config", Paths: []string{dir + "/" + model.ConfigFile}},
		{Name: "weights", Paths: []string{dir}, Suffix: ".safetensors"},
	}
}

// readTokenizer is the base model's tokenizer.
func readTokenizer(p *pipeline.Plan) pipeline.Read {
	return pipeline.Read{Name: "tokenizer", Paths: []string{string(p.Network.Base.Model) + "/tokenizer.json"}}
}

// readGroups is the folder of expert groups, if the plan names one.
func readGroups(p *pipeline.Plan) pipeline.Read {
	r := pipeline.Read{Name: "expert_groups"}
	if p.Network.ExpertGroups != "" {
		r.Paths = []string{string(p.Network.ExpertGroups)}
	}
	return r
}

// openBase loads the base model on the CPU device with the run's kernels.
func openBase(t *pipeline.Task) (*model.Model, error) {
	kernels, err := tensor.Choose(t.Kernels)
	if err != nil {
		return nil, err
	}
	m, err := model.Open(t.Inputs, t.Plan.Path(string(t.Plan.Network.Base.Model)), tensor.New(kernels, t.Workers))
	if err != nil {
		return nil, baseError(err)
	}
	return m, nil
}

// openStream is openBase for a model that is run layer by layer.
func openStream(t *pipeline.Task) (*model.Stream, io.Closer, error) {
	kernels, err := tensor.Choose(t.Kernels)
	if err != nil {
		return nil, nil, err
	}
	dir := t.Plan.Path(string(t.Plan.Network.Base.Model))
	cfg, err := model.ReadConfig(t.Inputs, dir)
	if err != nil {
		return nil, nil, baseError(err)
	}
	weights, err := checkpoint.OpenDir(t.Inputs, dir)
	if err != nil {
		return nil, nil, baseError(err)
	}
	s, err := model.NewStream(cfg, weights, tensor.New(kernels, t.Workers))
	if err != nil {
		return nil, nil, errors.Join(baseError(fmt.Errorf("%s: %w", dir, err)), weights.Close())
	}
	return s, weights, nil
}

func baseError(err error) error {
	return fmt.Errorf("base model %w; check network.base.model, or fetch it again", err)
}

func (c Route) run(ctx context.Context, t *pipeline.Task) (err error) {
	s, weights, err := openStream(t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, weights.Close()) }()
	tok, err := tokenize.Load(t.Inputs, t.Files("tokenizer")[0])
	if err != nil {
		return err
	}
	cfg := s.Config()
	if cfg.NRoutedExperts == 0 {
		return fmt.Errorf("the base model is a %s, which has no experts to route to; leave route out, and train with "+
			"trainable: all", cfg.ModelType)
	}
	length := c.SequenceLength
	if cfg.MaxPositionEmbeddings > 0 {
		length = min(length, cfg.MaxPositionEmbeddings)
	}
	sample, err := c.sample(ctx, t, length)
	if err != nil {
		return err
	}
	r := &routed{t: t, score: c.Score}
	if r.acc, err = routing.NewAccumulator(cfg.NRoutedExperts, cfg.NumExpertsPerTok); err != nil {
		return err
	}
	groups, err := loadGroups(t)
	if err != nil {
		return err
	}
	if groups != nil {
		r.ranking = routing.NewRanking(groups, cfg.NRoutedExperts)
	}
	tokens, documents, err := r.all(ctx, s, c.sequences(tok, sample, length))
	if err != nil {
		return err
	}
	t.Note("%d tokens of %d documents were routed", tokens, documents)
	return c.write(t, r)
}

// loadGroups reads the plan's expert groups, if it names any.
func loadGroups(t *pipeline.Task) ([]*checkpoint.Group, error) {
	if t.Plan.Network.ExpertGroups == "" {
		return nil, nil
	}
	return checkpoint.LoadGroups(t.Inputs, t.Plan.Path(string(t.Plan.Network.ExpertGroups)))
}

// routed is what routing counts.
type routed struct {
	t       *pipeline.Task
	score   string
	acc     *routing.Accumulator
	ranking *routing.Ranking // nil without groups
}

// all runs documents, a sequence each, through the model, as many at a time as have room for
// their residual streams in half of the memory budget.
func (r *routed) all(ctx context.Context, s *model.Stream, docs []model.Batch) (tokens, documents int, err error) {
	if len(docs) == 0 {
		return 0, 0, &pipeline.DataError{Msg: "no document has a token to route"}
	}
	room := int(r.t.MemoryBytes/2) / (4 * s.Config().HiddenSize)
	waves := cutWaves(docs, room)
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
		weights := route.Weights
		if r.score == "token" {
			weights = nil
		}
		r.ranking.Add(document, route.Layer, route.Experts, weights)
	}
	return r.acc.Add(route.Layer, route.Experts, route.Weights)
}

// sampled is a document drawn for routing.
type sampled struct {
	choice uint64
	name   string
	text   string
}

// bytesPerToken is more than a token has in nearly all text (English prose has 4 to 5), so
// that a sample of so many bytes for each token wanted has more tokens than that; what is
// left over is not routed. Where tokens are longer, fewer than sample_tokens are routed.
const bytesPerToken = 12

// sample draws documents by a seeded hash, the same share of every source, and orders
// them by it. A document counts with what of it is routed, length tokens at most. The
// share grows until the sample is large enough, so that a few long documents among many
// short ones do not leave it empty.
func (c Route) sample(ctx context.Context, t *pipeline.Task, length int) ([]sampled, error) {
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
			out, err = drawCopies(out, t, d, share)
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

// drawCopies appends those copies of a document that fall into a share of all.
func drawCopies(out []sampled, t *pipeline.Task, d *pipeline.Doc, share float64) ([]sampled, error) {
	for i := range d.Copies {
		purpose := "sample"
		if i > 0 {
			purpose = fmt.Sprint("sample, copy ", i)
		}
		choice := t.Choice(purpose, d)
		if float64(choice) > share*math.MaxUint64 {
			continue
		}
		text, err := modelText(d)
		if err != nil {
			return out, err
		}
		out = append(out, sampled{choice, d.Name(), text})
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

// sequences are the tokens of documents, until there are enough.
func (c Route) sequences(tok *tokenize.Tokenizer, sample []sampled, length int) []model.Batch {
	var out []model.Batch
	for tokens := 0; len(sample) > 0 && tokens < c.SampleTokens; sample = sample[1:] {
		ids := tok.Encode(nil, sample[0].text)
		if ids = ids[:min(len(ids), length, c.SampleTokens-tokens)]; len(ids) > 0 {
			out = append(out, model.Batch{Sequences: 1, Length: len(ids), Tokens: ids})
			tokens += len(ids)
		}
	}
	return out
}

func (c Route) write(t *pipeline.Task, r *routed) error {
	scores := r.acc.Scores()
	table, err := scores.Of(c.Score)
	if err != nil {
		return err
	}
	chosen, err := c.rule().Choose(table)
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"routing/expert_config.json":     chosen.Encode(),
		"routing/summary.json":           scores.Encode(),
		"routing/expert_assignment.json": chosen.Assignment(0).Encode(),
	}
	if ranking, err := r.rank(); err != nil {
		return err
	} else if ranking != nil {
		files["routing/groups.json"] = ranking
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := t.WriteFile(name, func(w io.Writer) error { _, err := w.Write(files[name]); return err }); err != nil {
			return err
		}
	}
	c.report(t, table, chosen, r.acc.Balance())
	return nil
}

// rank compares the plan's expert groups, if it names any.
func (r *routed) rank() ([]byte, error) {
	if r.ranking == nil {
		return nil, nil
	}
	groups, err := r.ranking.Groups(nil)
	if err != nil {
		return nil, err
	}
	rows := &pipeline.Table{Columns: []string{"group", "name", "experts", "share of activation", "95 % interval", "lift"}}
	for _, g := range groups {
		rows.Rows = append(rows.Rows, []string{fmt.Sprint(g.ID), g.Name, fmt.Sprint(g.Experts), fmt.Sprintf("%.4f", g.Share),
			fmt.Sprintf("%.4f to %.4f", g.ShareLow, g.ShareHigh), fmt.Sprintf("%.3f", g.Lift)})
	}
	r.t.Panel(pipeline.Panel{Title: "Expert groups", Table: rows,
		Note: "How much of the documents' activation falls on each group's experts, with the interval over documents; " +
			"a lift above 1 is more than by chance."})
	return json.MarshalIndent(groups, "", " ")
}

func (c Route) report(t *pipeline.Task, table routing.Table, chosen *routing.Config, balance []routing.Balance) {
	heat := &pipeline.Heat{XLabel: "expert", YLabel: "layer"}
	line := ""
	for i, layer := range slices.Sorted(maps.Keys(table)) {
		heat.Rows = append(heat.Rows, strconv.Itoa(layer))
		heat.Values = append(heat.Values, table[layer])
		for _, e := range chosen.Experts[layer] {
			heat.Marked = append(heat.Marked, [2]int{i, e})
		}
		line += fmt.Sprintf(" %d:%v", layer, chosen.Experts[layer])
		if len(heat.Columns) == 0 {
			for e := range table[layer] {
				heat.Columns = append(heat.Columns, strconv.Itoa(e))
			}
		}
	}
	t.Panel(pipeline.Panel{Title: "Routing", Heat: heat,
		Note: "The " + c.Score + " score of each expert; the chosen ones are outlined."})
	rows := &pipeline.Table{Columns: []string{"layer", "entropy (nats)", "evenness", "experts used", "busiest over mean"}}
	for _, b := range balance {
		rows.Rows = append(rows.Rows, []string{fmt.Sprint(b.Layer), fmt.Sprintf("%.3f", b.EntropyNats),
			fmt.Sprintf("%.3f", b.EvennessRatio), fmt.Sprint(b.Active), fmt.Sprintf("%.2f", b.MaxOverMean)})
	}
	t.Panel(pipeline.Panel{Title: "Load balance", Table: rows})
	t.Figure("experts", "%d chosen by %s score:%s", chosen.Count(), c.Score, line)
}
