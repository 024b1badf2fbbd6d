package stages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"bzdata/eval"
	"bzdata/eval/network"
	"bzdata/pipeline"
)

// ProofOfLoss is the configuration of the proof_of_loss stage.
type ProofOfLoss struct {
	Confidence   float64 `yaml:"confidence" min:"0.5" max:"0.9999" doc:"Confidence of the interval of the difference."`
	MinDelta     float64 `yaml:"min_delta" min:"0" doc:"The loss must fall by more than this, in nats per token."`
	DocumentsMin int     `yaml:"documents_min" min:"8" doc:"Effective number of held-out documents below which there is no verdict; under about 60 the interval promises too much."`
	BatchSize    int     `yaml:"batch_size" min:"1" doc:"Sequences of one forward pass; it changes no bit of the result."`
}

func proofOfLossSpec() pipeline.Spec[ProofOfLoss] {
	return pipeline.Spec[ProofOfLoss]{
		Name: "proof_of_loss", Version: 3,
		Summary: "Measures whether the update lowers the held-out loss, and stops the run if it does not.",
		Doc: code(`
Reads the update's files back over the base model, as a validator assembles them, and compares the
loss of both on the ‹judge› part of the held-out set, document by document. The interval of the difference
comes from resampling documents. The gate passes if the loss falls by more than ‹min_delta› at
‹confidence›; anything else, also a copy of the base, ends the run with exit code 4. Where ‹domain› has
chosen the training text, the loss is also told apart by its threshold: an update may be better at what it
was trained on only. The figures are written as out/score.json, and as ‹proof/val_loss›, ‹chain/w_i_score›, which
is what the network's profile pays, and ‹chain/rank_in_group› to the metrics of the training, in the row after
its last step. The rank is what ‹metrics.rank_file› holds, or what the command of ‹--rank-command› prints; one
that cannot be had is a note.

With the plan's section ‹evaluate› the exam is made of the rows that the network's validators would read, those of
several seeds pooled and each judged once; the held-out documents then only select. The interval resamples
within each data set, whose shares are fixed. Beside the losses by source there are those of each seed, with its
score by the profile, and how many of its rows were trained on.`),
		Example: `
proof_of_loss:
  confidence: 0.95`,
		Takes:   []pipeline.Data{pipeline.Update, pipeline.Tokens},
		Makes:   []pipeline.Data{pipeline.Score},
		Default: ProofOfLoss{Confidence: 0.95, DocumentsMin: 100, BatchSize: 8},
		New:     func(c ProofOfLoss) (pipeline.Program, error) { return c.program(), nil },
	}
}

// Check asks for an exam.
func (c *ProofOfLoss) Check(at *pipeline.Fields) {
	if at.Plan().HeldOut == nil && at.Plan().InputTokens() == "" && at.Plan().Evaluate == nil {
		at.Errorf("confidence", "the plan holds no documents out to judge by; add held_out, or evaluate")
	}
}

func (c ProofOfLoss) program() pipeline.Program {
	return pipeline.Program{
		Reads: func(p *pipeline.Plan) []pipeline.Read { return append(readBase(p), readProfile(p)) },
		Run:   c.run, Uses: c.uses, SkipsDocuments: true, Kernels: true,
		Links: []pipeline.Link{{Name: "out/" + scoreName, From: scoreName}},
	}
}

// uses are the update and what judges it.
func (c ProofOfLoss) uses(p *pipeline.Plan) []pipeline.Data {
	if p.Evaluate == nil {
		return []pipeline.Data{pipeline.Update, pipeline.Tokens}
	}
	return []pipeline.Data{pipeline.Update, pipeline.Tokens, pipeline.ValidatorRows}
}

// readProfile is the network's profile: a built-in one by its versioned name, or a file.
func readProfile(p *pipeline.Plan) pipeline.Read {
	r := pipeline.Read{Name: "profile", Value: p.NetworkOrigin}
	if network.IsFile(p.Network.Profile) {
		r.Paths = []string{p.Network.Profile}
	}
	return r
}

// profileOf loads the plan's network profile, or returns nil if it names none.
func profileOf(t *pipeline.Task) (*network.Profile, error) {
	if t.Plan.Network.Profile == "" {
		return nil, nil
	}
	return network.Find(t.Inputs, t.Plan.Dir(), t.Plan.Network.Profile)
}

// scoreName is the file of the figures of a proof of loss, judgedName that of the losses of single
// documents.
const (
	scoreName  = "score.json"
	judgedName = "losses.json"
)

// score is score.json.
type score struct {
	eval.Comparison
	Verdict eval.Verdict       `json:"verdict"`
	Network *network.Judgement `json:"network,omitempty"`
	// These are about validators' rows, if they judge; BySeed is by the network's arithmetic.
	Draws   *network.Draws      `json:"multi_seed_summary,omitempty"`
	BySeed  []network.Judgement `json:"by_seed,omitempty"`
	Mix     *MixReport          `json:"mix,omitempty"`
	Domain  *domainLosses       `json:"domain,omitempty"`
	DataKey string              `json:"data_key"`
	// Update is the SHA-256 of the update's file, in hexadecimal: what was judged.
	Update string `json:"update_sha256"`
	// MeasuredOn says whose data the losses are of.
	MeasuredOn string `json:"measured_on"`
}

func (c ProofOfLoss) run(ctx context.Context, t *pipeline.Task) (err error) {
	m, weights, err := openStream(t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, weights.Close()) }()
	update, err := OpenUpdate(t.FS, updateDir(t))
	if err != nil {
		return err
	}
	defer update.Close()
	judge, err := openJudge(t)
	if err != nil {
		return err
	}
	defer judge.close()
	rank, stopRank := askRank(ctx, t)
	defer stopRank()
	opts := eval.Options{BatchSize: c.BatchSize, Sources: judge.sources, TokensMax: streamTokens(t, m.Config(), 2),
		OnProgress: func(done, total int) { t.Progress(float64(done), float64(total), "layers") }}
	base, candidate, err := eval.NewEvaluator(m, judge, opts).Losses(ctx, update)
	if err != nil {
		return err
	}
	if judge.mix != nil {
		if base, err = judge.mix.Whole(base); err == nil {
			candidate, err = judge.mix.Whole(candidate)
		}
		if err != nil {
			return err
		}
	}
	s, err := c.compare(t, base, candidate, judge)
	if err != nil {
		return err
	}
	if s.Update, err = updateSHA256(t); err != nil {
		return err
	}
	if err := c.network(t, &s, base, candidate, judge.mix); err != nil {
		return err
	}
	s.measure(t, update.Meta.StepsRun, rank)
	return c.report(t, s)
}

// compare compares the losses, and writes those of single documents.
func (c ProofOfLoss) compare(t *pipeline.Task, base, candidate *eval.Losses, by *judge) (s score, err error) {
	opts := c.options(t, "resample")
	if opts.Stratify = by.mix != nil; opts.Stratify { // a mix has fixed shares
		opts.SourceWeights = by.mix.Weights()
	}
	if s.Comparison, err = eval.Compare(base, candidate, opts); err != nil {
		return s, err
	}
	s.Verdict, s.DataKey, s.MeasuredOn = eval.Gate(s.Comparison, c.MinDelta), by.key, by.measuredOn
	if s.Domain, err = byDomain(base, candidate, by.domain, c.options(t, "resample by domain")); err != nil {
		return s, err
	}
	judged, err := eval.Judge(base, candidate, by.key)
	if err != nil {
		return s, err
	}
	judged.SourceWeights = opts.SourceWeights
	if s.Mix, err = by.describe(t); err != nil {
		return s, err
	}
	return s, t.WriteFile(judgedName, judged.Write)
}

func (c ProofOfLoss) options(t *pipeline.Task, seed string) eval.CompareOptions {
	return eval.CompareOptions{Seed: t.Seed(seed), Confidence: c.Confidence, DocumentsMin: float64(c.DocumentsMin),
		Workers: t.Workers}
}

// network applies the profile's scoring to the losses of its batches; of a mix by each seed for itself.
func (c ProofOfLoss) network(t *pipeline.Task, s *score, base, candidate *eval.Losses, mix *MixExam) error {
	p, err := profileOf(t)
	if p == nil || err != nil {
		return err
	}
	j, err := p.Judge(base, candidate)
	if err == nil && mix != nil {
		err = s.bySeed(t, p, base, candidate, mix)
	}
	if err != nil {
		t.Note("no score by %s: %v", p.Name, err)
		return nil
	}
	s.Network = &j
	return nil
}

func (c ProofOfLoss) report(t *pipeline.Task, s score) error {
	table := &pipeline.Table{Columns: []string{"source", "documents", "tokens", "base", "update", "difference", "low", "high"}}
	for _, src := range slices.Concat(s.Sources, s.Domain.parts()) {
		row := []string{src.Source, fmt.Sprint(src.Documents), fmt.Sprint(src.Tokens), fmt.Sprintf("%.4f", src.Base),
			fmt.Sprintf("%.4f", src.Candidate), fmt.Sprintf("%.4f", src.Difference.Difference)}
		if src.Enough {
			row = append(row, fmt.Sprintf("%.4f", src.Interval.Low), fmt.Sprintf("%.4f", src.Interval.High))
		} else {
			row = append(row, "", "")
		}
		table.Rows = append(table.Rows, row)
	}
	t.Panel(pipeline.Panel{Title: "Held-out loss by source", Table: table, Note: fmt.Sprintf(
		"In nats per token, with %g %% intervals over documents, on %s.", 100*s.Confidence, s.MeasuredOn)})
	t.Figure("proof of loss", "%s at %g %%, %d documents (%.0f effective)", s.Comparison, 100*s.Confidence,
		s.Documents, s.EffectiveDocuments)
	switch {
	case s.Draws != nil:
		t.Figure("network score", "%.6g ± %.2g by %s over %d seeds, %.6g to %.6g; the loss falls in %d", s.Draws.Mean,
			s.Draws.Std, s.Network.Profile, len(s.Draws.PerSeed), s.Draws.Min, s.Draws.Max, s.Draws.Improved)
	case s.Network != nil:
		t.Figure("network score", "%.6g by %s, on %s", s.Network.Score, s.Network.Profile, s.MeasuredOn)
	}
	t.Figure("verdict", "%s", s.Verdict)
	for name, v := range map[string]float64{"base_nats": s.Base, "update_nats": s.Candidate,
		"difference_nats": s.Difference.Difference, "low_nats": s.Interval.Low, "high_nats": s.Interval.High,
		"documents": float64(s.Documents), "effective_documents": s.EffectiveDocuments, "tokens": float64(s.Tokens)} {
		t.Value(name, v)
	}
	if s.Mix != nil {
		t.Note("the losses were measured on %s; its draw of rows will be another", s.MeasuredOn)
	} else {
		t.Note("the losses were measured on %s, not on a validator's", s.MeasuredOn)
	}
	if s.Domain != nil {
		t.Note("%s", s.Domain)
	}
	if s.Verdict.Outcome != eval.Improves {
		t.Report.Refused = "the gate refuses the update: " + s.Verdict.String()
	}
	return t.WriteFile(scoreName, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(s)
	})
}
