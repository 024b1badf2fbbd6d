package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// tuneName is where a work directory keeps how far a tuning is, and in the end its answer.
const tuneName = "tune.json"

// tuneJSON is the whole answer.
type tuneJSON struct {
	Plan  string `json:"plan"`
	Stage string `json:"stage"`
	Seed  uint64 `json:"seed"`
	Seeds int    `json:"seeds"`
	// Steps are those of the last round, of the plan's batch_size; BudgetS is 0 without a budget.
	Steps int `json:"steps"`
	// BatchSize and MaxSteps are the plan's own.
	BatchSize int      `json:"batch_size"`
	MaxSteps  int      `json:"max_steps"`
	Cost      tuneCost `json:"cost,omitzero"`
	BudgetS   float64  `json:"budget_s,omitempty"`
	// Short says that the budget ended before all trials were done.
	Short    bool      `json:"short,omitempty"`
	BaseNats *float64  `json:"base_select_nats"` // before the first step
	Trials   []tuneRow `json:"trials"`           // the best first
}

// tuneRow is a trial: what it came to in the last round that it took part in.
type tuneRow struct {
	LearningRate float64  `json:"learning_rate"`
	BatchSize    int      `json:"batch_size"`
	Round        int      `json:"round"` // 0 if it was not trained
	Steps        int      `json:"steps"`
	Tokens       float64  `json:"tokens"`
	SelectNats   *float64 `json:"select_nats"` // mean over seeds; null if it is no finite number
	// SpreadNats is the standard deviation over the seeds.
	SpreadNats      *float64 `json:"spread_nats,omitempty"`
	TokensPerSecond float64  `json:"tokens_per_s,omitempty"`
	SkippedBatches  float64  `json:"skipped_batches"`
	Diverged        bool     `json:"diverged"`
}

func (tu *tuning) answer() tuneJSON {
	out := tuneJSON{Plan: tu.name, Stage: tu.label, Seed: tu.plan.Seed, Seeds: tu.flags.seeds, Steps: tu.steps,
		BatchSize: tu.config.BatchSize, MaxSteps: tu.config.MaxSteps, Cost: tu.cost, BudgetS: tu.flags.budget.Seconds(),
		Short: tu.short, BaseNats: finiteOrNil(tu.base)}
	trials := slices.Clone(tu.trials)
	slices.SortStableFunc(trials, better)
	for _, t := range trials {
		r := tuneRow{LearningRate: t.Rate, BatchSize: t.Batch, Round: t.Round, Steps: t.Steps, Tokens: t.Tokens,
			SelectNats: finiteOrNil(t.loss()), TokensPerSecond: t.PerSecond, SkippedBatches: t.Skipped, Diverged: t.Diverged}
		if len(t.Losses) > 1 {
			r.SpreadNats = finiteOrNil(deviation(t.Losses))
		}
		out.Trials = append(out.Trials, r)
	}
	return out
}

// deviation is the standard deviation of a sample.
func deviation(xs []float64) float64 {
	mean, squares := 0.0, 0.0
	for _, x := range xs {
		mean += x / float64(len(xs))
	}
	for _, x := range xs {
		squares += (x - mean) * (x - mean)
	}
	return math.Sqrt(squares / float64(len(xs)-1))
}

// write keeps the answer so far.
func (tu *tuning) write() error {
	return store.WriteFile(tu.opt.FS, filepath.Join(tu.opt.Workdir, tuneName), tu.answer().write)
}

func (out tuneJSON) write(w io.Writer) error {
	return indented(out)(w)
}

// readKnown reads the speeds of trainings that an interrupted tuning has made, and how many steps it had fitted
// into the same budget.
func (tu *tuning) readKnown() error {
	tu.known = map[tuneRun]float64{}
	name := filepath.Join(tu.opt.Workdir, tuneName)
	data, err := store.ReadAll(tu.opt.FS, name)
	if errors.Is(err, fs.ErrNotExist) || tu.opt.Fresh {
		return nil
	}
	var old tuneJSON
	if err := errors.Join(err, json.Unmarshal(data, &old)); err != nil {
		return fmt.Errorf("%s: %w; delete it, or begin anew with --fresh", name, err)
	}
	for _, r := range old.Trials {
		if r.TokensPerSecond > 0 {
			tu.known[tuneRun{r.LearningRate, r.BatchSize, r.Steps}] = r.TokensPerSecond
		}
	}
	same := old.BudgetS == tu.flags.budget.Seconds() && len(old.Trials) == len(tu.trials) && old.Seeds == tu.flags.seeds &&
		old.BatchSize == tu.config.BatchSize && old.Steps <= tu.steps
	if same && tu.flags.budget > 0 {
		tu.steps, tu.cost = old.Steps, old.Cost
	}
	return nil
}

// report writes the answer for the user and into the work directory.
func (tu *tuning) report() error {
	out := tu.answer()
	if err := tu.write(); err != nil {
		return err
	}
	if tu.flags.json != "" {
		return writeJSON(tu.env, tu.flags.json, out.write)
	}
	_, err := fmt.Fprintf(tu.env.stdout, "%s\n%s\n%s\n", out.head(), aligned(out.table()), strings.Join(out.advice(), "\n"))
	return err
}

func (out tuneJSON) head() string {
	base := "not finite"
	if out.BaseNats != nil {
		base = fmt.Sprintf("%.4f nats per token", *out.BaseNats)
	}
	return fmt.Sprintf("Plan %s: loss on select before training %s. The last round has %d steps of batch %d, or as many "+
		"tokens.\n", out.Plan, base, out.Steps, out.BatchSize)
}

// table has a row for each trial, the best first.
func (out tuneJSON) table() *pipeline.Table {
	t := &pipeline.Table{Columns: []string{"learning rate", "batch", "round", "steps", "select loss", "spread", "tokens/s",
		"non-finite"}}
	for _, r := range out.Trials {
		row := []string{fmt.Sprintf("%g", r.LearningRate), fmt.Sprint(r.BatchSize), "", "", "", "", "", ""}
		if r.Round > 0 {
			row[2], row[3], row[7] = fmt.Sprint(r.Round), fmt.Sprint(r.Steps), fmt.Sprintf("%.0f", r.SkippedBatches)
		}
		if r.SelectNats != nil {
			row[4] = fmt.Sprintf("%.4f", *r.SelectNats)
		}
		if r.SpreadNats != nil {
			row[5] = fmt.Sprintf("%.4f", *r.SpreadNats)
		}
		if r.TokensPerSecond > 0 {
			row[6] = fmt.Sprintf("%.0f", r.TokensPerSecond)
		}
		if r.Diverged {
			row[7] = "diverged"
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// advice says what to do about it.
func (out tuneJSON) advice() []string {
	var lines []string
	if out.Short {
		lines = append(lines, "the budget ended before all trials were done; the same command with more goes on")
	}
	best := out.Trials[0]
	if best.SelectNats == nil {
		return append(lines, "no trial has a finite loss; try lower --learning-rates")
	}
	lines = append(lines, fmt.Sprintf("best: learning rate %g, batch %d: %.4f on select after %d steps", best.LearningRate,
		best.BatchSize, *best.SelectNats, best.Steps))
	set, yaml := fmt.Sprintf("--set %s.learning_rate=%g", out.Stage, best.LearningRate), fmt.Sprintf("learning_rate: %g",
		best.LearningRate)
	if best.BatchSize != out.BatchSize {
		steps := stepsOf(out.MaxSteps, out.BatchSize, best.BatchSize)
		set += fmt.Sprintf(" --set %s.batch_size=%d --set %[1]s.max_steps=%[3]d", out.Stage, best.BatchSize, steps)
		yaml += fmt.Sprintf(", batch_size: %d, max_steps: %d", best.BatchSize, steps)
	}
	lines = append(lines, "use:  "+set, "or:   - train: {"+yaml+"}")
	if edge := out.edge(best); edge != "" {
		lines = append(lines, edge)
	}
	if out.Seeds == 1 {
		lines = append(lines, "by one seed: small differences may be chance, and --seeds 3 tells more")
	}
	return lines
}

// edge says that the best may lie beyond what was tried.
func (out tuneJSON) edge(best tuneRow) string {
	low, high := math.Inf(1), math.Inf(-1)
	for _, r := range out.Trials {
		low, high = min(low, r.LearningRate), max(high, r.LearningRate)
	}
	switch {
	case low == high:
		return ""
	case best.LearningRate == high:
		return "the best rate is the highest that was tried; try higher --learning-rates, too"
	case best.LearningRate == low:
		return "the best rate is the lowest that was tried; try lower --learning-rates, too"
	}
	return ""
}
