// Command calibration holds the verdict of the proof of loss against updates that were really
// trained: whether its standard error is as large as chance makes it, whether the gate passes
// updates that do nothing, and what networks pay for noise and copies.
//
//	calibration --base DIR --tokens RUN/out/tokens KIND:RUN:STRENGTH,… …
//
// An argument makes one update for each strength: base + strength × (RUN's update - base) for the kind
// scaled, and base + strength × noise for noise, which is normal and, tensor by tensor, as large as the
// run's own change. Strength 0 is a copy of the base. Values are rounded to the base's type.
//
// For every update it measures all documents with package eval and prints
//
//   - halvings: of N random halvings of the documents the share in which the two halves' differences,
//     d1 and d2, lie within 1.96 √(se1² + se2²) of each other. Halves of one set depend on each other,
//     but the two effects of that cancel: with n of N documents, S² the variance of single ones and halves
//     of N/2, a half's mean has the variance S²/N about the whole's and d1 - d2 is twice a half's
//     deviation, so that its variance is 4 S²/N, which is S²/(N/2) + S²/(N/2), as of halves that were
//     drawn independently. What is measured is thus whether se is right and the difference normal enough,
//     for documents that are exchangeable: not whether the documents stand for others.
//   - sign flips: the share of N draws in which the gate says yes once each document's difference keeps or
//     changes its sign at random, so that nothing is left but chance; nominally 2.5 %.
//   - w: what profiles with a ReLU score by the batches that they look at, what they pay when all updates are
//     of one round, and what they would score by all documents. Of few batches chance is a part: weak noise
//     that makes the loss worse may be scored above 0 by them, which is the network's rule and no fault here.
//
// It ends with status 1 if of the updates that change something not 93 to 97 % of all halvings agree, if of
// any of them more than 6 % of the flips, or of all of them none, is passed, if noise or a copy passes the gate
// or has a score by all documents, or if a copy has one at all.
//
// Noise is worth nothing where the base knows the domain: a random direction has nothing in common with the
// gradient, and what is left is curvature, which makes the loss worse. Over a base that guesses worse than by
// chance, as the sample's own does on GSM8K, noise may lower the loss, and the gate is right to say so.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"bzdata/eval"
	"bzdata/pipeline/store"
	"bzdata/tokenize"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
	"bzdata/train/tensor"
)

type options struct {
	base, tokens              string
	halvings, flips, resample int
	seed                      uint64
	workers                   int
}

func main() {
	var o options
	flag.StringVar(&o.base, "base", "", "base model's folder")
	flag.StringVar(&o.tokens, "tokens", "", "folder of token shards, of which judge is used")
	flag.IntVar(&o.halvings, "halvings", 500, "halvings for each update")
	flag.IntVar(&o.flips, "flips", 2000, "sign flips for each update")
	flag.IntVar(&o.resample, "resamples", 399, "resamples of the interval of a flip")
	flag.Uint64Var(&o.seed, "seed", 1, "of noise, halvings, flips and intervals")
	flag.IntVar(&o.workers, "workers", 2, "threads; the figures do not depend on them")
	flag.Parse()
	if err := run(context.Background(), o, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "calibration:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, args []string) error {
	kernels, err := tensor.Choose("auto")
	if err != nil {
		return err
	}
	weights, err := checkpoint.OpenDir(store.OS(), o.base)
	if err != nil {
		return err
	}
	defer weights.Close()
	variants, err := variants(weights, args, o.seed)
	if err != nil {
		return err
	}
	judge, err := tokenize.OpenShardFile(store.OS(), filepath.Join(o.tokens, "judge-00000.tokens"))
	if err != nil {
		return err
	}
	defer judge.Close()
	cfg, err := model.ReadConfig(store.OS(), o.base)
	if err != nil {
		return err
	}
	stream, err := model.NewStream(cfg, weights, tensor.New(kernels, o.workers))
	if err != nil {
		return err
	}
	var rows []row
	evaluator := eval.NewEvaluator(stream, judge, eval.Options{BatchSize: 8, TokensMax: 1 << 17, Sources: judge.Meta().Sources})
	for i, v := range variants {
		fmt.Fprintf(os.Stderr, "update %d of %d: %s of %s, strength %g\n", i+1, len(variants), v.kind, v.name, v.strength)
		r, err := measure(ctx, evaluator, v, o)
		if err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
		rows = append(rows, r)
	}
	rounds, err := pay(rows)
	if err != nil {
		return err
	}
	print(os.Stdout, rows, rounds, o)
	return errors.Join(check(rows, rounds, o)...)
}

// row is what came of one update.
type row struct {
	variant
	base, candidate *eval.Losses
	comparison      eval.Comparison
	verdict         eval.Verdict
	within, passed  int // halvings that agree, flips that the gate passes
}

// changes reports whether the update is more than a copy of the base.
func (r row) changes() bool { return r.kind != copied }

func measure(ctx context.Context, e *eval.Evaluator, v variant, o options) (row, error) {
	r := row{variant: v}
	var err error
	if r.base, r.candidate, err = e.Losses(ctx, v.update); err != nil {
		return r, err
	}
	r.comparison, err = eval.Compare(r.base, r.candidate, eval.CompareOptions{Seed: o.seed, Workers: o.workers})
	if err != nil {
		return r, err
	}
	r.verdict = eval.Gate(r.comparison, 0)
	judged, err := eval.Judge(r.base, r.candidate, "judge")
	if err != nil {
		return r, err
	}
	if r.within, err = halve(judged, o); err != nil {
		return r, err
	}
	r.passed, err = flip(judged, o)
	return r, err
}
