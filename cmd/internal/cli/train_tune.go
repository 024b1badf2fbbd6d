package cli

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"bzdata/pipeline"
	"bzdata/stages"
	"bzdata/train"
)

// tuneSuffix is what the name of a plan has behind it in the work directory of its tuning.
const tuneSuffix = "-tune"

const (
	// tuneShare is the share of the trials that goes on to the next round, which is as many times as long:
	// successive halving (Jamieson and Talwalkar 2016) with η = 3. Each trial begins anew there, since the
	// learning rate's schedule depends on the number of steps.
	tuneShare = 3
	// tuneLast is how many trials the last round has at most.
	tuneLast = 2
	// probeSteps are timed to see what a budget has room for.
	probeSteps = 5
	// budgetShare of the budget is planned for: the machine may become busier.
	budgetShare = 0.9
)

// tuning is the trials of a plan's train stage and what they came to.
type tuning struct {
	variants
	flags *trainFlags
	plan  *pipeline.Plan // up to its train stage
	name  string
	label string // of the train stage
	// inputs are the stages that make what it trains on, tokens among them.
	inputs []string
	tokens string
	config stages.Train // the plan's own
	steps  int          // of the last round, in batches of the plan's
	trials []*tuneTrial
	base   float64 // select loss before the first step
	cost   tuneCost
	began  time.Time // the trials
	short  bool      // the budget ended before all trials were done
	known  map[tuneRun]float64
}

// tuneTrial is one way to train.
type tuneTrial struct {
	Rate  float64
	Batch int
	// What follows is of the last round that it took part in.
	Round     int // from 1
	Steps     int
	Losses    []float64 // after the last step, by seed; NaN if training ended at what is no finite number
	Tokens    float64   // of one seed
	Skipped   float64   // batches, of all seeds
	Diverged  bool
	PerSecond float64 // tokens, 0 if it is not known
}

// loss is the mean over the seeds.
func (t *tuneTrial) loss() float64 {
	sum := 0.0
	for _, l := range t.Losses {
		sum += l
	}
	return sum / float64(len(t.Losses))
}

// tuneRun names one training.
type tuneRun struct {
	Rate        float64
	Batch, Step int
}

func newTuning(f *trainFlags, v variants, plan *pipeline.Plan, at int) (*tuning, error) {
	tu := &tuning{variants: v, flags: f, name: plan.Name, label: plan.Stages[at].Label(), base: math.NaN()}
	tu.config, _ = plan.Stages[at].Config.(stages.Train)
	program, err := plan.Stages[at].Program()
	if err != nil {
		return nil, err
	}
	for _, d := range program.Uses(plan) {
		if i, ok := plan.From(at, d); ok && i >= 0 {
			tu.inputs = append(tu.inputs, plan.Stages[i].Label())
			if d == pipeline.Tokens {
				tu.tokens = plan.Stages[i].Label()
			}
		}
	}
	if tu.plan, err = plan.UpTo(tu.label); err != nil {
		return nil, err
	}
	tu.plan.Name += tuneSuffix
	tu.steps = cmp.Or(f.steps, tu.config.MaxSteps)
	tu.choose()
	for _, r := range tuneRounds(len(tu.trials), tu.steps) {
		tu.of += r.trials * f.seeds
	}
	return tu, tu.readKnown()
}

// choose lists the trials: rates within batches.
func (tu *tuning) choose() {
	rates, batches := tu.flags.rates, tu.flags.batches
	if len(rates) == 0 {
		for _, by := range []float64{0.25, 0.5, 1, 2, 4} {
			if r := tu.config.LearningRate * by; r <= 1 {
				rates = append(rates, r)
			}
		}
	}
	if len(batches) == 0 {
		batches = []int{tu.config.BatchSize, 2 * tu.config.BatchSize}
	}
	for _, b := range batches {
		for _, r := range rates {
			tu.trials = append(tu.trials, &tuneTrial{Rate: r, Batch: b})
		}
	}
}

// tuneRound is how many trials train for how many steps.
type tuneRound struct{ trials, steps int }

// tuneRounds cuts the trials down to the last ones, which train for the given number of steps.
func tuneRounds(trials, steps int) []tuneRound {
	rounds := []tuneRound{{trials: trials}}
	for trials > tuneLast {
		trials = (trials + tuneShare - 1) / tuneShare
		rounds = append(rounds, tuneRound{trials: trials})
	}
	for i := len(rounds) - 1; i >= 0; i-- {
		rounds[i].steps = max(1, steps)
		steps = int(math.Round(float64(steps) / tuneShare))
	}
	return rounds
}

// all makes what is trained on, then trains the trials, round after round.
func (tu *tuning) all(ctx context.Context) error {
	if err := tu.prepare(ctx); err != nil {
		return err
	}
	if err := tu.fit(ctx); err != nil {
		return err
	}
	in := slices.Clone(tu.trials)
	for i, r := range tuneRounds(len(in), tu.steps) {
		in = in[:r.trials]
		for _, t := range in {
			if !tu.hasTime(r.steps) {
				tu.short = true
				return tu.linkBest(ctx)
			}
			if err := tu.train(ctx, t, i+1, r.steps); err != nil {
				return err
			}
		}
		slices.SortStableFunc(in, better)
	}
	return tu.linkBest(ctx)
}

// better puts those first that came to a later round, then those of lower loss.
func better(a, b *tuneTrial) int {
	if a.Round != b.Round {
		return cmp.Compare(b.Round, a.Round)
	}
	return cmp.Or(cmp.Compare(infinite(a.loss()), infinite(b.loss())), cmp.Compare(a.Batch, b.Batch),
		cmp.Compare(a.Rate, b.Rate))
}

// infinite puts what is no number behind all numbers.
func infinite(loss float64) float64 {
	if math.IsNaN(loss) {
		return math.Inf(1)
	}
	return loss
}

// prepare carries out what is before train, and asks for rows to select by.
func (tu *tuning) prepare(ctx context.Context) error {
	for _, label := range tu.inputs {
		plan, err := tu.plan.UpTo(label)
		if err != nil {
			return err
		}
		if _, err := tu.carryOut(ctx, plan, nil); err != nil {
			return err
		}
		if label != tu.tokens {
			continue
		}
		tokens, err := stages.ReadTrialTokens(tu.opt.FS, tu.opt.Workdir, label)
		if err != nil {
			return err
		}
		if tokens.Select == 0 {
			return noSelect()
		}
	}
	return nil
}

// stepsOf is how many steps of a batch take as many sequences as steps of another.
func stepsOf(steps, other, batch int) int {
	return max(1, int(math.Round(float64(steps)*float64(other)/float64(batch))))
}

// train trains one trial for a round, by every seed. steps are of the plan's batch.
func (tu *tuning) train(ctx context.Context, t *tuneTrial, round, steps int) error {
	*t = tuneTrial{Rate: t.Rate, Batch: t.Batch, Round: round, Steps: stepsOf(steps, tu.config.BatchSize, t.Batch)}
	run := tuneRun{t.Rate, t.Batch, t.Steps}
	for seed := range tu.flags.seeds {
		tu.tell("round %d: learning rate %g, batch %d, %d steps, seed %d of %d", round, t.Rate, t.Batch, t.Steps, seed+1,
			tu.flags.seeds)
		values, watch, err := tu.once(ctx, run, seed)
		var diverged *train.NonFiniteError
		switch {
		case errors.As(err, &diverged):
			t.Diverged, t.Losses = true, append(t.Losses, math.NaN())
			continue
		case err != nil:
			return err
		}
		loss, ok := values["select_last_nats"]
		if !ok {
			loss = math.NaN() // reports hold finite numbers only
		}
		t.Losses, t.Skipped, t.Tokens = append(t.Losses, loss), t.Skipped+values["skipped_batches"], values["tokens"]
		if first, ok := values["select_first_nats"]; ok {
			tu.base = first
		}
		if s := watch.stepS(); s > 0 {
			tu.known[run] = t.Tokens / float64(t.Steps) / s
		}
	}
	t.PerSecond = tu.known[run]
	return tu.write() // also for whoever looks before the end
}

// once makes one training, and returns the stage's figures.
func (tu *tuning) once(ctx context.Context, run tuneRun, seed int) (map[string]float64, *stepWatch, error) {
	plan, err := tu.variant(run, seed)
	if err != nil {
		return nil, nil, err
	}
	watch := &stepWatch{label: tu.label, now: tu.opt.Now}
	res, err := tu.carryOut(ctx, plan, watch.event)
	if err != nil {
		return nil, nil, err
	}
	stage, err := res.Stage(tu.label)
	if err != nil {
		return nil, nil, err
	}
	return stage.Values, watch, nil
}

// variant is the plan of one training. Only its two ends are measured: what counts is where it comes to.
func (tu *tuning) variant(run tuneRun, seed int) (*pipeline.Plan, error) {
	plan, err := tu.plan.Configured(tu.label, func(config any) any {
		c, _ := config.(stages.Train)
		c.LearningRate, c.BatchSize, c.MaxSteps, c.EvalSteps = run.Rate, run.Batch, run.Step, 0
		return c
	})
	if err != nil {
		return nil, err
	}
	return plan.Reseeded(tu.label, uint64(seed))
}

// linkBest makes out/update that of the best trial; nothing runs again.
func (tu *tuning) linkBest(ctx context.Context) error {
	slices.SortStableFunc(tu.trials, better)
	best := tu.trials[0]
	if best.Round == 0 || math.IsNaN(best.loss()) {
		return nil
	}
	_, _, err := tu.once(ctx, tuneRun{best.Rate, best.Batch, best.Steps}, 0)
	return err
}
