package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"bzdata/cmd/internal/doctor"
	"bzdata/eval/network"
	"bzdata/pipeline/report"

	"github.com/spf13/cobra"
)

// doctorFlags are the flags of bzdata doctor.
type doctorFlags struct {
	json, actual string
	cards, warm  bool
}

func newDoctor(env *environment) *cobra.Command {
	f := &doctorFlags{}
	cmd := &cobra.Command{
		Use:   "doctor ([RUN…] | --devices)",
		Short: "Say what to change for a better score, from a run's own figures",
		Long: `Doctor answers the networks' checklists of what makes an update score from the report of a run:
copies, leaks, off-domain text, token lengths, passes over the data, learning rate, overfit, expert
group, margin of the gate. What asks for a change comes first. A line that the run cannot answer
says which stage or key would answer it. Without a RUN it takes those in the folder runs.

Over several runs, in the order given, it shows how the predicted gain goes; --actual compares it
with the scores that were paid, a CSV table with the columns run or version, and score.

With --devices it lists instead what bzdata can compute on: the processor's kernels, NVIDIA cards,
the libraries that they need, where each was found, and what is missing. Libraries are looked for in
the folders of BZDATA_CUDA_PATH first. --warm compiles the kernels for the first card ahead of time.

` + exitStatus(exitDone, exitFailed, exitUsage),
		RunE: func(_ *cobra.Command, args []string) error { return f.run(env, args) },
	}
	cmd.Flags().StringVar(&f.json, "json", "", "write the answer as JSON to this `FILE`; - is standard output")
	cmd.Flags().BoolVar(&f.cards, "devices", false, "list processor and cards in place of judging runs")
	cmd.Flags().BoolVar(&f.warm, "warm", false, "with --devices: compile the card's kernels ahead")
	cmd.Flags().StringVar(&f.actual, "actual", "", "compare with the paid scores in this CSV `FILE`")
	return cmd
}

// doctorJSON is the whole answer.
type doctorJSON struct {
	Runs  []doctorRun   `json:"runs"`
	Trend *doctor.Trend `json:"trend,omitempty"`
	Paid  *doctor.Paid  `json:"paid,omitempty"`
}

type doctorRun struct {
	Run    string          `json:"run"`
	Checks []doctor.Answer `json:"checks"`
}

func (f *doctorFlags) run(env *environment, names []string) error {
	if err := checkOutput("--json", f.json); err != nil {
		return err
	}
	switch {
	case f.cards && len(names) > 0:
		return usageOf("--devices takes no RUN")
	case f.cards:
		return f.devices(env)
	case f.warm:
		return usageOf("--warm belongs to --devices")
	}
	if len(names) == 0 {
		found, err := filepath.Glob(filepath.Join("runs", "*", "report.json"))
		if err != nil {
			return err
		}
		for _, name := range found {
			names = append(names, filepath.Dir(name))
		}
		if len(names) == 0 {
			return usageOf("there is no report in runs/*; name a work directory")
		}
	}
	var runs []*doctor.Run
	var out doctorJSON
	for _, name := range names {
		r, err := openRun(name)
		if err != nil {
			return err
		}
		runs = append(runs, r)
		out.Runs = append(out.Runs, doctorRun{name, doctor.Examine(r)})
	}
	if err := f.compare(runs, &out); err != nil {
		return err
	}
	if f.json != "" {
		return writeJSON(env, f.json, indented(out))
	}
	_, err := io.WriteString(env.stdout, out.text())
	return err
}

// compare follows the predictions over several runs, and the scores that were paid for them.
func (f *doctorFlags) compare(runs []*doctor.Run, out *doctorJSON) error {
	if len(runs) < 2 && f.actual == "" {
		return nil
	}
	trend := doctor.Follow(runs)
	out.Trend = &trend
	if f.actual == "" {
		return nil
	}
	file, err := os.Open(f.actual)
	if err != nil {
		return &flagError{fmt.Errorf("--actual %w", err)}
	}
	defer file.Close()
	scores, byVersion, err := doctor.ParseScores(file)
	if err != nil {
		return &flagError{fmt.Errorf("--actual %s: %w", f.actual, err)}
	}
	paid, err := doctor.Compare(trend, scores, byVersion)
	if err != nil {
		return &flagError{fmt.Errorf("--actual %s: %w", f.actual, err)}
	}
	out.Paid = &paid
	return nil
}

// openRun reads the report of a work directory.
func openRun(workdir string) (*doctor.Run, error) {
	name := filepath.Join(workdir, "report.json")
	data, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil, usageOf("%s holds no report; name the folder that bzdata run wrote", workdir)
	case err != nil:
		return nil, err
	}
	res, _, err := report.ReadJSON(data)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w; run the plan again", name, err)
	}
	r := &doctor.Run{Name: workdir, Result: res}
	if p, err := network.Load(res.Network); err == nil { // a profile of the user's own is not known here
		r.Profile = p.Defaults()
	}
	return r, nil
}

// text is the answer for a terminal.
func (out doctorJSON) text() string {
	var b strings.Builder
	for _, r := range out.Runs {
		fmt.Fprintf(&b, "%s\n", r.Run)
		for _, a := range r.Checks {
			fmt.Fprintf(&b, "  %-12s  %s: %s\n", a.State, a.Check, a.Says)
			if a.Do != "" {
				fmt.Fprintf(&b, "  %-12s    → %s\n", "", a.Do)
			}
		}
		b.WriteString("\n")
	}
	if out.Trend != nil {
		writeTrend(&b, out.Trend)
	}
	if out.Paid != nil {
		writePaid(&b, out.Paid)
	}
	return b.String()
}

func writeTrend(b *strings.Builder, t *doctor.Trend) {
	b.WriteString("predicted gain, nats per token\n")
	measured := 0
	for _, p := range t.Runs {
		text := "no proof of loss"
		if p.Gain != nil {
			text = fmt.Sprintf("%+.4f", *p.Gain)
		}
		if p.Low != nil {
			measured++
			text += fmt.Sprintf(" [%+.4f, %+.4f]", *p.Low, *p.High)
		}
		if p.Version != nil {
			text += fmt.Sprintf(", base version %d", *p.Version)
		}
		fmt.Fprintf(b, "  %s: %s\n", p.Run, text)
	}
	apart := "their intervals overlap: no difference of first and last is shown"
	if t.Separate {
		apart = "the intervals of first and last do not overlap"
	}
	switch {
	case measured < 2:
		apart = "fewer than two runs have an interval: there is no trend to speak of"
	case t.Rank != nil:
		apart = fmt.Sprintf("rank correlation with the order %+.2f; %s", *t.Rank, apart)
	}
	fmt.Fprintf(b, "  %s\n\n", apart)
}

func writePaid(b *strings.Builder, p *doctor.Paid) {
	b.WriteString("predicted and paid\n")
	for _, x := range p.Pairs {
		fmt.Fprintf(b, "  %s: gain %+.4f (rank %g), score %g (rank %g)\n", x.Run, x.Gain, x.PredictedRank, x.Score, x.PaidRank)
		if x.Disagree != "" {
			fmt.Fprintf(b, "    → %s\n", x.Disagree)
		}
	}
	for _, key := range p.Unmatched {
		fmt.Fprintf(b, "  score %s fits no run given that has a proof of loss\n", key)
	}
	if p.Rank == nil {
		b.WriteString("  rank correlation: fewer than three pairs, or all alike\n")
		return
	}
	fmt.Fprintf(b, "  rank correlation %+.2f over %d runs\n", *p.Rank, len(p.Pairs))
}
