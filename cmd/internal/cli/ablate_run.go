package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"bzdata/eval"
	"bzdata/pipeline"
	"bzdata/stages"
	"bzdata/train"
)

// judged are the losses of one training on the held-out documents.
type judged = eval.Judged

// all carries the variants out and compares them.
func (a *ablation) all(ctx context.Context) error {
	full, err := a.try(ctx, "the full plan", a.full, nil)
	if err != nil {
		return err
	}
	a.trial = full
	for i := range a.rows {
		if err := a.row(ctx, &a.rows[i]); err != nil {
			return err
		}
	}
	// The links under out/ are those of the plan itself in the end; nothing runs again.
	_, err = a.carryOut(ctx, a.full, nil)
	return err
}

// row tries the variant of a row. Why a variant cannot be is part of the answer; the error is
// of what stops them all.
func (a *ablation) row(ctx context.Context, r *ablationRow) error {
	a.removed(r)
	without := a.full.Without
	if r.What == "source" {
		without = a.full.WithoutSource
	}
	variant, err := without(r.Name)
	var t *trial
	if err == nil {
		t, err = a.try(ctx, "without "+r.Name, variant, a.trial)
	}
	if impossible(err) {
		r.Reason = err.Error()
		return nil
	}
	if err != nil {
		return err
	}
	r.Documents, r.Tokens, r.Sequences = t.tokens.Documents, t.tokens.Tokens, t.tokens.Sequences
	r.SameText = t.tokens.TrainKey == a.trial.tokens.TrainKey
	r.OtherExperts = t.experts != a.trial.experts
	c, err := eval.ContrastOf(a.trial.judged, t.judged, a.compareOptions())
	if err != nil {
		return fmt.Errorf("without %s: %w", r.Name, err)
	}
	r.Contrast, r.Word = &c, c.Word()
	return nil
}

// impossible reports whether an error says that a variant of a plan cannot be, rather than that
// something went wrong.
func impossible(err error) bool {
	var (
		usage    *pipeline.UsageError
		data     *pipeline.DataError
		diverged *train.NonFiniteError
	)
	return errors.As(err, &usage) || errors.As(err, &data) || errors.As(err, &diverged)
}

// removed notes what the full plan has lost to what the row leaves out.
func (a *ablation) removed(r *ablationRow) {
	var last *pipeline.Ledger
	for _, s := range a.result.Stages {
		if s.Ledger == nil || s.Label == "held_out_set" {
			continue
		}
		last = s.Ledger
		if r.What == "stage" && s.Label == r.Name {
			r.Removed, r.Edited = s.Ledger.DroppedSum(), s.Ledger.Edits["documents"]
		}
	}
	if r.What == "source" && last != nil && last.Sources[r.Name] != nil {
		r.Removed = last.Sources[r.Name].Kept
	}
}

func (a *ablation) compareOptions() eval.CompareOptions {
	c := a.proofConfig()
	return eval.CompareOptions{Seed: pipeline.HashID(a.full.Seed, "ablate", "", "", 0), Confidence: c.Confidence,
		DocumentsMin: float64(c.DocumentsMin), Workers: a.opt.Workers}
}

func (a *ablation) proofConfig() stages.ProofOfLoss {
	c, _ := a.step(a.proof).Config.(stages.ProofOfLoss)
	return c
}

func (a *ablation) step(label string) pipeline.Step {
	i := slices.IndexFunc(a.full.Stages, func(s pipeline.Step) bool { return s.Label() == label })
	return a.full.Stages[i]
}

// try trains and judges one variant by every seed. Where its training text turns out to be that of the
// full plan, and nothing else can differ, it is not trained again.
func (a *ablation) try(ctx context.Context, name string, plan *pipeline.Plan, full *trial) (*trial, error) {
	t := &trial{}
	if full != nil {
		tokens, err := plan.UpTo(a.tokens)
		if err != nil {
			return nil, err
		}
		a.tell("%s: its text", name)
		if _, err := a.carryOut(ctx, tokens, nil); err != nil {
			return nil, err
		}
		if t.tokens, err = stages.ReadTrialTokens(a.opt.FS, a.opt.Workdir, a.tokens); err != nil {
			return nil, err
		}
		if t.tokens.JudgeKey != full.tokens.JudgeKey {
			return nil, fmt.Errorf("%s: its held-out documents are not those of the full plan", name)
		}
		if t.tokens.TrainKey == full.tokens.TrainKey && !a.trainsByRoute() {
			a.at += a.flags.seeds
			t.judged, t.experts = full.judged, full.experts
			return t, nil
		}
	}
	for seed := range a.flags.seeds {
		a.tell("%s, seed %d of %d", name, seed+1, a.flags.seeds)
		if err := a.judge(ctx, plan, uint64(seed), t); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// trainsByRoute reports whether the experts that are trained depend on the documents.
func (a *ablation) trainsByRoute() bool {
	p, err := a.step(a.train).Program()
	return err != nil || p.Uses != nil && slices.Contains(p.Uses(a.full), pipeline.Routing)
}

// judge trains a variant by one seed and adds its losses to the trial.
func (a *ablation) judge(ctx context.Context, plan *pipeline.Plan, seed uint64, t *trial) error {
	seeded, err := plan.Reseeded(a.train, seed)
	if err != nil {
		return err
	}
	res, err := a.carryOut(ctx, seeded, nil)
	if err != nil {
		return err
	}
	if a.result == nil {
		a.result = res
	}
	if t.tokens, err = stages.ReadTrialTokens(a.opt.FS, a.opt.Workdir, a.tokens); err != nil {
		return err
	}
	meta, err := stages.ReadUpdateMeta(a.opt.FS, a.opt.Workdir, a.train)
	if err != nil {
		return err
	}
	experts, err := json.Marshal(meta.Assignment)
	if err != nil {
		return err
	}
	t.experts = string(experts)
	j, err := stages.ReadJudged(a.opt.FS, a.opt.Workdir, a.proof)
	t.judged = append(t.judged, j)
	return err
}
