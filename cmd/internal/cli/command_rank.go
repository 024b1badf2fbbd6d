package cli

import (
	"context"
	"errors"
	"fmt"

	"bzdata/stages"
)

// rankOf asks the command of --rank-command for the rank; nil if there is none.
func (f *runFlags) rankOf(env *environment) func(context.Context) (int, error) {
	if f.rank == "" {
		return nil
	}
	return func(ctx context.Context) (int, error) {
		rank, err := f.askRank(ctx)
		if f.quiet && err != nil && !errors.Is(err, context.Canceled) {
			fmt.Fprintf(env.stderr, "%v; chain/rank_in_group is left out\n", err) // no summary has the note
		}
		return rank, err
	}
}

func (f *runFlags) askRank(ctx context.Context) (int, error) {
	out, err := ask(ctx, "--rank-command", f.rank, askedWithin)
	if err != nil {
		return 0, err
	}
	rank, err := stages.ParseRank(out)
	if err != nil {
		return 0, fmt.Errorf("--rank-command %s: its output %w", f.rank, err)
	}
	return rank, nil
}
