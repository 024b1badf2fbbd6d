// Command compare says whether the update of one run beats that of another on the same
// held-out documents: it measures both over their common base and compares them
// document by document.
//
//	compare --base DIR --tokens RUN/out/tokens --first RUN --second RUN
//
// It ends with status 0 if the second run's loss is lower and the 95 % interval of the
// difference excludes zero, with 1 otherwise.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"bzdata/eval"
	"bzdata/pipeline/store"
	"bzdata/stages"
	"bzdata/tokenize"
	"bzdata/train/checkpoint"
	"bzdata/train/model"
	"bzdata/train/tensor"
)

func main() {
	base := flag.String("base", "", "base model's folder")
	tokens := flag.String("tokens", "", "folder of token shards, of which judge is used")
	first := flag.String("first", "", "work directory whose update is the reference")
	second := flag.String("second", "", "work directory whose update should be better")
	workers := flag.Int("workers", 2, "threads")
	flag.Parse()
	better, err := compare(context.Background(), *base, *tokens, *first, *second, *workers)
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
	if !better {
		os.Exit(1)
	}
}

func compare(ctx context.Context, base, tokens, first, second string, workers int) (better bool, err error) {
	kernels, err := tensor.Choose("auto")
	if err != nil {
		return false, err
	}
	dev := tensor.New(kernels, workers)
	cfg, err := model.ReadConfig(store.OS(), base)
	if err != nil {
		return false, err
	}
	weights, err := checkpoint.OpenDir(store.OS(), base)
	if err != nil {
		return false, err
	}
	defer weights.Close()
	judge, err := tokenize.OpenShardFile(store.OS(), filepath.Join(tokens, "judge-00000.tokens"))
	if err != nil {
		return false, err
	}
	defer judge.Close()
	var losses [2]*eval.Losses
	for i, run := range []string{first, second} {
		opts := eval.Options{BatchSize: 8, TokensMax: 1 << 17, Sources: judge.Meta().Sources}
		if losses[i], err = measure(ctx, cfg, weights, dev, run, judge, opts); err != nil {
			return false, fmt.Errorf("%s: %w", run, err)
		}
	}
	c, err := eval.Compare(losses[0], losses[1], eval.CompareOptions{Seed: 1, Workers: workers})
	if err != nil {
		return false, err
	}
	fmt.Printf("%s, %d documents\n", c, c.Documents)
	return c.Interval.High < 0, nil
}

// measure evaluates the base with the update of a run over it, as its files hold it.
func measure(ctx context.Context, cfg model.Config, base checkpoint.Source, dev tensor.Device, run string,
	data eval.Data, opts eval.Options) (*eval.Losses, error) {
	update, err := stages.OpenUpdate(store.OS(), filepath.Join(run, "out", "update"))
	if err != nil {
		return nil, err
	}
	defer update.Close()
	if err := model.CheckUpdate(cfg, update); err != nil {
		return nil, err
	}
	over, err := checkpoint.Overlay(base, update)
	if err != nil {
		return nil, err
	}
	s, err := model.NewStream(cfg, over, dev)
	if err != nil {
		return nil, err
	}
	losses, _, err := eval.NewEvaluator(s, data, opts).Losses(ctx, nil)
	return losses, err
}
