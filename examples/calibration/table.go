package main

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"bzdata/eval"
	"bzdata/eval/network"
	"bzdata/pipeline/store"
)

// round is what one network makes of all updates.
type round struct {
	profile       string
	score, reward []float64 // by the batches that the network looks at, which are few
	full          []float64 // the score by all documents
}

// paying are the profiles whose score is a ReLU of the reduction of the loss; the others score
// the loss itself.
func paying() []string { return []string{"blockzero-docs", "connito"} }

// pay scores all updates as miners of one round.
func pay(rows []row) ([]round, error) {
	var out []round
	for _, name := range paying() {
		p, err := network.Find(store.OS(), ".", name)
		if err != nil {
			return nil, err
		}
		r := round{profile: p.Name}
		var entries []network.Entry
		for _, row := range rows {
			j, err := p.Judge(row.base, row.candidate)
			if err != nil {
				return nil, err
			}
			r.score = append(r.score, j.Score)
			entries = append(entries, network.Entry{Score: j.Score})
			whole := *p
			whole.Evaluate.BatchesMax = 0
			if j, err = whole.Judge(row.base, row.candidate); err != nil {
				return nil, err
			}
			r.full = append(r.full, j.Score)
		}
		r.reward = p.Scorer().Reward(entries, 0)
		out = append(out, r)
	}
	return out, nil
}

func print(to io.Writer, rows []row, rounds []round, o options) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "update\tkind\tstrength\tdifference\tinterval\tgate\thalvings\tflips")
	for _, r := range rounds {
		fmt.Fprintf(w, "\t%s\tpaid\tof all", r.profile)
	}
	fmt.Fprintln(w)
	for i, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%g\t%+.5f\t[%+.5f, %+.5f]\t%s\t%.1f %%\t%.2f %%", r.name, r.kind, r.strength,
			r.comparison.Difference.Difference, r.comparison.Interval.Low, r.comparison.Interval.High, r.verdict.Outcome,
			percent(r.within, o.halvings), percent(r.passed, o.flips))
		for _, round := range rounds {
			fmt.Fprintf(w, "\t%.3g\t%.3g\t%.3g", round.score[i], round.reward[i], round.full[i])
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	t := sum(rows, o)
	c := rows[0].comparison
	fmt.Fprintf(to, "\n%d documents (%.0f effective), %d updates that change something\n", c.Documents, c.EffectiveDocuments,
		t.updates)
	fmt.Fprintf(to, "halvings: %.2f %% of %d within 1.96 standard errors, from %.1f to %.1f %% by update\n",
		percent(t.within, t.updates*o.halvings), t.updates*o.halvings, t.withinMin, t.withinMax)
	fmt.Fprintf(to, "sign flips: the gate passes %.2f %% of %d, from %.2f to %.2f %% by update\n",
		percent(t.passed, t.updates*o.flips), t.updates*o.flips, t.passedMin, t.passedMax)
	for _, r := range rounds {
		fmt.Fprintf(to, "%s scores %d of %d noises above 0 by its own first batches, %d by all documents\n", r.profile,
			noises(rows, r.score), noises(rows, nil), noises(rows, r.full))
	}
}

// noises counts the updates that are noise, those with a score above 0 if scores are given.
func noises(rows []row, scores []float64) int {
	n := 0
	for i, r := range rows {
		if r.kind == noise && (scores == nil || scores[i] > 0) {
			n++
		}
	}
	return n
}

func percent(n, of int) float64 { return 100 * float64(n) / float64(of) }

// total is the sum over the updates that change something: of a copy all halves agree.
type total struct {
	updates, within, passed                    int
	withinMin, withinMax, passedMin, passedMax float64 // per cent, by update
}

func sum(rows []row, o options) total {
	t := total{withinMin: math.Inf(1), passedMin: math.Inf(1)}
	for _, r := range rows {
		if !r.changes() {
			continue
		}
		t.updates++
		t.within += r.within
		t.passed += r.passed
		w, p := percent(r.within, o.halvings), percent(r.passed, o.flips)
		t.withinMin, t.withinMax = min(t.withinMin, w), max(t.withinMax, w)
		t.passedMin, t.passedMax = min(t.passedMin, p), max(t.passedMax, p)
	}
	return t
}

// check lists what does not hold.
func check(rows []row, rounds []round, o options) []error {
	var errs []error
	t := sum(rows, o)
	if share := percent(t.within, t.updates*o.halvings); !(share >= 93 && share <= 97) {
		errs = append(errs, fmt.Errorf("%.2f %% of the halvings are within 1.96 standard errors; want 93 to 97", share))
	}
	if t.passed == 0 || t.passedMax > 6 {
		errs = append(errs, fmt.Errorf("the gate passes %.2f to %.2f %% of the sign flips; want more than none and at most 6",
			t.passedMin, t.passedMax))
	}
	for i, r := range rows {
		if r.kind == scaled {
			continue
		}
		if r.verdict.Outcome == eval.Improves || r.kind == copied && r.verdict.Outcome != eval.Refused {
			errs = append(errs, fmt.Errorf("%s of %s, strength %g: the gate says %q", r.kind, r.name, r.strength, r.verdict))
		}
		for _, round := range rounds {
			if round.full[i] != 0 || r.kind == copied && (round.score[i] != 0 || round.reward[i] != 0) {
				errs = append(errs, fmt.Errorf("%s of %s, strength %g: %s scores %g, %g by all documents, and pays %g; want 0",
					r.kind, r.name, r.strength, round.profile, round.score[i], round.full[i], round.reward[i]))
			}
		}
	}
	return errs
}
