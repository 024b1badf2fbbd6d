package stages

import (
	"context"
	"errors"
	"fmt"

	"bzdata/eval/routing"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/tokenize"
)

// Route is the configuration of the route stage.
type Route struct {
	SampleTokens   int     `yaml:"sample_tokens" min:"64" doc:"Tokens of the seeded sample that is routed."`
	SequenceLength int     `yaml:"sequence_length" min:"8" network:"tokenize.sequence_length" doc:"Tokens of a document that are routed at most."`
	Score          string  `yaml:"score" enum:"token|gate" doc:"What experts are ranked by: their share of choices, or their mean gate weight."`
	P              float64 `yaml:"p" min:"0" max:"1" doc:"Choose experts of a layer until their scores reach this; 0 for one of the other rules."`
	TopN           int     `yaml:"top_n" min:"0" doc:"Choose this many experts of each layer."`
	MinShare       float64 `yaml:"min_share" min:"0" max:"1" doc:"Choose the experts with at least this share of their layer's scores, and at least one."`

	Miners pipeline.Path `yaml:"miners" doc:"JSON file of how many miners train each group, such as {\"0\": 12}: groups are ranked by what is left for one more."`
	Write  *RouteGroup   `yaml:"write_group" doc:"Writes the chosen experts as an expert group of the network, in a folder of its own."`
}

func routeSpec() pipeline.Spec[Route] {
	return pipeline.Spec[Route]{
		Name: "route", Version: 5,
		Summary: "Finds which experts of the base model the documents activate, and chooses experts to train.",
		Doc: code(`
A seeded sample of the documents, each copy that ‹mix› has made for itself and messages as ‹tokenize› writes
them, runs through the base model, layer by layer, so that memory need not hold the model, and the router's
choices are counted: token scores and gate scores of Expert-Specialized Fine-Tuning (arXiv 2407.01906), rounded to four
decimals as its published results are. The choice by ‹p›, ‹top_n› or ‹min_share› is written as
‹expert_config.json› and ‹expert_assignment.json›, the scores as ‹summary.json›, under out/routing.

Where the plan names a folder of expert groups, they are ranked by how much of the activation falls on them, and,
with ‹miners›, by that over the miners of a group and one more (‹groups.json›). With ‹network.expert_group: auto› the
first is the group that later stages train; ‹group.json› and the report say why, and warn if its interval overlaps
with that of the second.

‹write_group› writes the chosen experts as a group of the network, under out/routing/NAME: ‹config.yaml›,
‹expert_assignment.json› and ‹dataset.py›. Its data sources are those given, or else the plan's inputs. The
summary has the hash by which Connito's nodes know the task. Experts that it shares with a group of the folder are a
warning: the networks allow it.

‹balance.json› says how evenly each layer spreads its choices, and, where there are several sources, ‹sources.json› how
differently each two route: the Jensen-Shannon divergence of their choices, from 0 to 1 bit, as the mean over layers,
beside what two samples of these sizes would show by chance.`),
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
	if c.Miners != "" && at.Plan().Network.ExpertGroups == "" {
		at.Errorf("miners", "ranks expert groups; set network.expert_groups")
	}
}

// Note says how groups are ranked, where that is not by their share alone.
func (c Route) Note() string {
	if c.Miners == "" {
		return ""
	}
	return fmt.Sprintf("groups are ranked by share over miners and one more, as %s counts them", c.Miners)
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
		Reads:   func(p *pipeline.Plan) []pipeline.Read { return c.reads(p) },
		Run:     c.run,
		Links:   []pipeline.Link{{Name: "out/routing", From: "routing"}},
		Kernels: true,
	}
}

func (c Route) reads(p *pipeline.Plan) []pipeline.Read {
	miners := pipeline.Read{Name: "miners"}
	if c.Miners != "" {
		miners.Paths = []string{string(c.Miners)}
	}
	auto := pipeline.Read{Name: "expert_group"} // a number makes no difference here
	if p.AutoGroup() {
		auto.Value = p.Network.ExpertGroup.String()
	}
	reads := append(readBase(p), readTokenizer(p), readGroups(p), auto, miners)
	return append(reads, chatLayoutOf(p).reads(p)...)
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
		r.Check = func(fsys store.FS, _ []string) error { return checkGroup(fsys, p) }
	}
	return r
}

func (c Route) run(ctx context.Context, t *pipeline.Task) (err error) {
	s, base, err := openStream(t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, base.Close()) }()
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
	conv, err := chatLayoutOf(t.Plan).open(t, tok)
	if err != nil {
		return err
	}
	sample, err := c.sample(ctx, t, conv, length)
	if err != nil {
		return err
	}
	r, err := newRouted(t, c.Score, cfg)
	if err != nil {
		return err
	}
	batches, sources := c.sequences(sample)
	r.source = func(document int) string { return sources[document] }
	tokens, documents, err := r.all(ctx, s, batches)
	if err != nil {
		return err
	}
	t.Note("%d tokens of %d documents were routed", tokens, documents)
	return c.write(t, r)
}
