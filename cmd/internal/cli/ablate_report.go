package cli

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bzdata/eval"
	"bzdata/pipeline"
	"bzdata/pipeline/report"
	"bzdata/pipeline/store"
	"bzdata/stages"
)

// ablationRow is what one variant came to.
type ablationRow struct {
	Name string `json:"left_out"`
	What string `json:"what"` // stage or source
	Kind string `json:"stage_kind,omitempty"`
	// Removed counts the documents that the stage drops in the full plan, or those of the source that
	// the full plan trains on; Edited counts those that the stage edits.
	Removed int64 `json:"removed_documents"`
	Edited  int64 `json:"edited_documents"`
	// Documents, Sequences and Tokens are those that the variant trains on.
	Documents int64 `json:"train_documents"`
	Sequences int64 `json:"train_sequences"`
	Tokens    int64 `json:"train_tokens"`
	// Passes is how often the equal number of steps goes through them.
	Passes float64 `json:"passes"`
	// SameText says that the variant trains on the full plan's very tokens.
	SameText     bool `json:"same_text"`
	OtherExperts bool `json:"other_experts"`
	// Contrast has the full plan as base and the variant as candidate: a difference above 0 is what
	// the stage earned. It is nil where the variant cannot run, as Reason says.
	Contrast *eval.Contrast `json:"contrast,omitempty"`
	Word     string         `json:"word,omitempty"`
	Reason   string         `json:"reason,omitempty"`
	Remarks  []string       `json:"remarks,omitempty"`
}

// earned is the difference, or NaN.
func (r ablationRow) earned() float64 {
	if r.Contrast == nil || r.Contrast.NonFinite > 0 {
		return math.NaN()
	}
	return r.Contrast.Difference.Difference
}

// ablationJSON is the whole answer.
type ablationJSON struct {
	Plan             string  `json:"plan"`
	Seed             uint64  `json:"seed"`
	Seeds            int     `json:"seeds"`
	Steps            int     `json:"steps"`
	SequencesPerStep int     `json:"sequences_per_step"`
	Confidence       float64 `json:"confidence"`
	DocumentsMin     int     `json:"documents_min"`
	// HeldOutKey names the judging documents, HeldOutDocuments counts them: all variants were judged
	// on these, checked one by one.
	HeldOutKey       string        `json:"held_out_key"`
	HeldOutDocuments int           `json:"held_out_documents"`
	Documents        int64         `json:"train_documents"`
	Sequences        int64         `json:"train_sequences"`
	Tokens           int64         `json:"train_tokens"`
	Passes           float64       `json:"passes"`
	Loss             *float64      `json:"update_nats"` // null if it is no finite number
	Base             *float64      `json:"base_nats"`
	Rows             []ablationRow `json:"left_out"`
}

// answer gathers the figures and sorts the rows by what was earned; what could not run is last.
func (a *ablation) answer() ablationJSON {
	c, _ := a.step(a.train).Config.(stages.Train)
	proof, first := a.proofConfig(), a.trial.judged[0]
	out := ablationJSON{Plan: strings.TrimSuffix(a.full.Name, ablateSuffix), Seed: a.full.Seed, Seeds: a.flags.seeds,
		Steps: c.MaxSteps, SequencesPerStep: c.BatchSize * c.Accumulation, Confidence: proof.Confidence,
		DocumentsMin: proof.DocumentsMin, HeldOutKey: first.DataKey, HeldOutDocuments: len(first.Documents),
		Documents: a.trial.tokens.Documents, Sequences: a.trial.tokens.Sequences, Tokens: a.trial.tokens.Tokens,
		Rows: slices.Clone(a.rows)}
	passes := func(sequences int64) float64 {
		return float64(c.MaxSteps*c.BatchSize*c.Accumulation) / float64(max(1, sequences))
	}
	out.Passes = passes(out.Sequences)
	base, update := a.losses()
	out.Base, out.Loss = finiteOrNil(base), finiteOrNil(update)
	for i := range out.Rows {
		r := &out.Rows[i]
		if r.Reason == "" {
			r.Passes = passes(r.Sequences)
		}
		r.Remarks = r.remarks()
	}
	slices.SortStableFunc(out.Rows, func(x, y ablationRow) int {
		a, b := x.earned(), y.earned()
		if math.IsNaN(a) || math.IsNaN(b) {
			return cmp.Compare(b, a) // NaN is below all numbers
		}
		return cmp.Compare(b, a)
	})
	return out
}

// losses are the means of the base and of the full plan's update, over the seeds.
func (a *ablation) losses() (base, update float64) {
	tokens := 0.0
	for _, j := range a.trial.judged {
		for _, d := range j.Documents {
			base, update, tokens = base+d.Base, update+d.Update, tokens+float64(d.Tokens)
		}
	}
	return base / tokens, update / tokens
}

func finiteOrNil(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// sameTraining reports whether the variant is the full plan's own training.
func (r ablationRow) sameTraining() bool { return r.SameText && !r.OtherExperts }

// remarks say what the figures alone would hide.
func (r ablationRow) remarks() []string {
	var out []string
	if r.Kind == "decontaminate" && !r.SameText && r.Reason == "" {
		out = append(out, "without it text of the held-out documents is trained on: a lower loss is a leak, not a gain; "+
			"keep it whatever its row says")
	}
	if r.sameTraining() {
		same := "without it the training text is the same, so that nothing was trained again"
		if r.Removed > 0 {
			same += "; other stages drop the documents that it drops"
		}
		out = append(out, same)
	}
	if r.OtherExperts {
		out = append(out, "route chose other experts without it, which is part of the difference")
	}
	return out
}

// report writes the answer: as text or JSON to the user, and as a page and JSON into the work
// directory.
func (a *ablation) report() error {
	out := a.answer()
	asJSON := indented(out)
	page := filepath.Join(a.opt.Workdir, "ablation.html")
	err := store.WriteFile(a.opt.FS, page, func(w io.Writer) error {
		return report.WriteHTML(w, a.page(out), report.Meta{Started: time.Now()})
	})
	if err == nil {
		err = store.WriteFile(a.opt.FS, filepath.Join(a.opt.Workdir, "ablation.json"), asJSON)
	}
	switch {
	case err != nil:
		return err
	case a.flags.json != "":
		return writeJSON(a.env, a.flags.json, asJSON)
	}
	_, err = fmt.Fprintf(a.env.stdout, "%s\nreport: %s\n", out.text(), page)
	return err
}

// page is the report of the full plan with the ablation before it.
func (a *ablation) page(out ablationJSON) *pipeline.Result {
	res := *a.result
	panel := pipeline.Panel{Title: "What each earned", Table: out.table(), Note: strings.Join(out.lines(), " ")}
	st := pipeline.StageResult{Label: "ablate", Kind: "ablate", Finished: true, Panels: []pipeline.Panel{panel}}
	for _, line := range out.advice() {
		name, text, _ := strings.Cut(line, ": ")
		st.Summary = append(st.Summary, pipeline.Figure{Name: name, Value: text})
	}
	res.Stages = append([]pipeline.StageResult{st}, res.Stages...)
	return &res
}

// table has a row for each variant.
func (out ablationJSON) table() *pipeline.Table {
	t := &pipeline.Table{Columns: []string{"left out", "removed", "edited", "documents", "tokens", "passes", "with", "without",
		"earned", "low", "high", "says"}}
	for _, r := range out.Rows {
		row := []string{r.Name, fmt.Sprint(r.Removed), fmt.Sprint(r.Edited)}
		switch c := r.Contrast; {
		case c == nil:
			row = append(row, "", "", "", "", "", "", "", "", "cannot run")
		case c.NonFinite > 0:
			row = append(row, fmt.Sprint(r.Documents), fmt.Sprint(r.Tokens), fmt.Sprintf("%.2f", r.Passes),
				"", "", "", "", "", r.Word)
		default:
			row = append(row, fmt.Sprint(r.Documents), fmt.Sprint(r.Tokens), fmt.Sprintf("%.2f", r.Passes),
				fmt.Sprintf("%.4f", c.Base), fmt.Sprintf("%.4f", c.Candidate), fmt.Sprintf("%+.4f", c.Difference.Difference),
				fmt.Sprintf("%+.4f", c.Interval.Low), fmt.Sprintf("%+.4f", c.Interval.High), out.says(r))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// says is a row's word; by one seed it may well be chance. Where nothing was trained again there is no difference to
// be shown, by whatever seeds.
func (out ablationJSON) says(r ablationRow) string {
	if r.sameTraining() {
		return "same text"
	}
	if out.Seeds == 1 && (r.Word == eval.Earned || r.Word == eval.Cost) {
		return r.Word + " by one seed"
	}
	return r.Word
}

// text is the answer for a terminal.
func (out ablationJSON) text() string {
	var b strings.Builder
	b.WriteString(strings.Join(out.lines(), "\n") + "\n\n")
	b.WriteString(aligned(out.table()) + "\n")
	for _, r := range out.Rows {
		if r.Reason != "" {
			fmt.Fprintf(&b, "%s: cannot be left out: %s\n", r.Name, r.Reason)
		}
		for _, remark := range r.Remarks {
			fmt.Fprintf(&b, "%s: %s\n", r.Name, remark)
		}
	}
	b.WriteString(strings.Join(out.advice(), "\n") + "\n")
	return b.String()
}

// lines say what was compared and how.
func (out ablationJSON) lines() []string {
	loss := "not finite"
	if out.Base != nil && out.Loss != nil {
		loss = fmt.Sprintf("%.4f → %.4f nats per token", *out.Base, *out.Loss)
	}
	seeds := "one seed, so that the intervals know nothing of the chance in training order; --seeds 3 does"
	if out.Seeds > 1 {
		seeds = fmt.Sprintf("%d seeds, whose spread is in the intervals", out.Seeds)
	}
	return []string{
		fmt.Sprintf("Plan %s: held-out loss of base and full plan %s, with %d documents, %d tokens, %.2f passes.", out.Plan, loss,
			out.Documents, out.Tokens, out.Passes),
		fmt.Sprintf("Each variant: %d steps of %d sequences, %s.", out.Steps, out.SequencesPerStep, seeds),
		fmt.Sprintf("All were judged on the same %d held-out documents, checked one by one.", out.HeldOutDocuments),
		fmt.Sprintf("Earned is the loss without it less the loss with it, in nats per token, with a %g %% interval.",
			100*out.Confidence),
	}
}

// advice says what to do about it.
func (out ablationJSON) advice() []string {
	by, compared := map[string][]string{}, 0
	for _, r := range out.Rows {
		if r.Word == "" || r.sameTraining() {
			continue
		}
		compared++
		// The remark says why decontamination stays, whatever it costs.
		if r.Kind != "decontaminate" || r.Word != eval.Cost && r.Word != eval.NotShown {
			by[r.Word] = append(by[r.Word], r.Name)
		}
	}
	var lines []string
	say := func(word, format string) {
		if names := by[word]; len(names) > 0 {
			lines = append(lines, fmt.Sprintf(format, strings.Join(names, ", ")))
		}
	}
	chance := ""
	if out.Seeds == 1 {
		chance = "; try --seeds 3 before acting on one seed"
	}
	say(eval.Earned, "keep: %s"+chance)
	say(eval.Cost, "reconsider: %s; the loss is lower without"+chance)
	say(eval.NotShown, "not shown: %s; more held-out documents, steps or seeds would tell more")
	say(eval.TooFew, "too few held-out documents to judge: %s; hold more out")
	say(eval.NotFinite, "not finite: %s; lower the learning rate")
	if len(by[eval.NotShown]) > 0 && out.Passes < 1 {
		lines = append(lines, fmt.Sprintf("little read: a training reads %.0f %% of its text once and meets few copies of "+
			"what it has read; what removes copies shows in more steps", 100*out.Passes))
	}
	if shown := len(by[eval.Earned]) + len(by[eval.Cost]); shown > 0 && compared > 1 {
		lines = append(lines, fmt.Sprintf(
			"by chance: of %d comparisons at %g %% about %.2g show a difference where there is none",
			compared, 100*out.Confidence, float64(compared)*(1-out.Confidence)))
	}
	return lines
}
