package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"bzdata/eval"
	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
	"bzdata/train/checkpoint"
	"bzdata/train/device"
	"bzdata/train/model"
	"bzdata/train/tensor"

	"github.com/spf13/cobra"
)

// evalFlags are the flags of bzdata eval.
type evalFlags struct {
	base, checkpoints, candidate string
	tokens, part                 string
	mix                          stages.MixOptions
	profile, groups              string
	confidence, minDelta         float64
	documentsMin                 float64
	seeds                        int
	seed                         uint64
	batchSize                    int
	rivals                       string
	block                        int64
	json                         string
	workers                      int
	memory                       string
	computing
}

func newEval(env *environment) *cobra.Command {
	f := &evalFlags{}
	cmd := &cobra.Command{
		Use:   "eval --base DIR --candidate PATH (--tokens DIR | --mirror DIR)",
		Short: "Measure whether an update lowers the held-out loss, and what it is paid",
		Long: `Eval puts an update over a base model as a validator assembles it, and measures the loss of both
on the same batches, layer by layer, so that neither need fit into memory. It prints the difference
of the mean token loss with its interval over documents, and by source; with --profile also the
losses and the score by the network's own arithmetic and, where there are more batches than the
network looks at, how the score varies between draws of them. The gate is that the whole interval
lies below zero, whatever the network's own ranking does.

With --mirror and --sources-from the exam is what validators of several seeds would read: the
group's data sets are interleaved by their weights, rows are selected by the seed, shared among
nodes, and left out by the profile's own rules. A row that several seeds have is judged once. With
--tokens besides, the rows that were trained on are counted. Subnet 9's are pages, without
--sources-from, and its data sets are weighed in the mean loss.

The candidate is a run's out/update or out/bundle, a model folder, or files as the network names
them; tensors of an expert group need --groups, the folder of the groups. With --rivals, a JSON list
of the scores of other miners, such as [0.012, 0.008] or
[{"name": "a", "score": 0.012, "block": 7}], it says what the network would pay in one round. A
score is what the profile calls one: a loss for Block Zero's code and Subnet 9.

` + exitStatus(exitDone, exitFailed, exitUsage, exitData, exitGate, exitInterrupted),
		Args: exactly(0, "flags only"),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), env) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.base, "base", "", "base model, a `DIR` with config.json and weights")
	fs.StringVar(&f.checkpoints, "checkpoints", "", "put the newest checkpoint in or below this `DIR` over the base model")
	fs.StringVar(&f.candidate, "candidate", "", "what is judged, a `PATH`: file, out/update, out/bundle or model folder")
	fs.StringVar(&f.tokens, "tokens", "", "held-out tokens, a `DIR` such as a run's out/tokens")
	fs.StringVar(&f.mix.Mirror, "mirror", "", "judge on a validator's rows of local files in this `DIR` instead")
	fs.StringVar(&f.mix.SourcesFrom, "sources-from", "", "an expert group's config.yaml, a `FILE`, for --mirror")
	fs.IntVar(&f.mix.Rows, "rows", 2000, "at most `N` rows for each seed of --mirror")
	fs.IntVar(&f.mix.SequenceLength, "sequence-length", 0, "`N` tokens of a row of --mirror (default the profile's)")
	fs.StringVar(&f.part, "part", "judge", "which `PART` of the tokens: judge, select or train")
	fs.StringVar(&f.profile, "profile", "", "network profile, a `NAME` or a file of your own")
	fs.StringVar(&f.groups, "groups", "", "expert groups, a `DIR` of their folders")
	fs.Float64Var(&f.confidence, "confidence", 0.95, "confidence of the interval, a `SHARE`")
	fs.Float64Var(&f.minDelta, "min-delta", 0, "the loss must fall by more than this, in `NATS` per token")
	fs.Float64Var(&f.documentsMin, "documents-min", 100, "effective `NUMBER` of documents below which there is no verdict")
	fs.IntVar(&f.seeds, "seeds", 3, "`N` draws of batches, or with --mirror of rows")
	fs.Uint64Var(&f.seed, "seed", 1, "first `SEED` of the draws, and that of the interval")
	fs.IntVar(&f.batchSize, "batch-size", 8, "`N` sequences of one forward pass; it changes no bit")
	fs.StringVar(&f.rivals, "rivals", "", "scores of other miners, a JSON `FILE`")
	fs.Int64Var(&f.block, "block", 0, "`BLOCK` of the own commit, for Subnet 9; 0 is after all rivals")
	fs.StringVar(&f.json, "json", "", "write the answer as JSON to this `FILE`, too; - is standard output, and then instead")
	fs.IntVar(&f.workers, "workers", runtime.GOMAXPROCS(0), "`N` threads; the result does not depend on it")
	fs.StringVar(&f.memory, "memory", "", "memory budget such as 4GiB, a `SIZE` (default half of what there is)")
	f.addDevice(fs)
	return cmd
}

// errTogether is about flags of which one is missing.
var errTogether = errors.New("--mirror and --sources-from go together")

// check finds mistakes of the flags.
func (f *evalFlags) check() error {
	var err error
	switch {
	case f.base == "" || f.candidate == "" || f.tokens+f.mix.Mirror == "":
		err = errors.New("eval wants --base DIR, --candidate PATH and --tokens DIR or --mirror DIR; see bzdata eval --help")
	case f.mix.Mirror == "" && f.mix.SourcesFrom != "":
		err = errTogether
	case f.mix.Mirror != "" && f.profile == "":
		err = errors.New("--mirror goes with --profile, whose rows are read")
	case f.mix.Rows < 1 || f.mix.SequenceLength < 0:
		err = errors.New("--rows wants 1 or more, --sequence-length 0 or more")
	case !slices.Contains([]string{"judge", "select", "train"}, f.part):
		err = fmt.Errorf("--part %s: want judge, select or train", f.part)
	case f.rivals != "" && f.profile == "":
		err = errors.New("--rivals goes with --profile, whose rule pays")
	case f.seeds < 1:
		err = fmt.Errorf("--seeds %d: want 1 or more", f.seeds)
	case f.batchSize < 1 || f.workers < 1:
		err = errors.New("--batch-size and --workers want 1 or more")
	case !(f.minDelta >= 0):
		err = fmt.Errorf("--min-delta %v: want 0 or more", f.minDelta)
	}
	if err != nil {
		return &flagError{err}
	}
	return checkOutput("--json", f.json)
}

// evaluated is the answer of bzdata eval. Names of the network's part are those of Connito's local_scorer.
type evaluated struct {
	eval.Comparison
	Verdict   eval.Verdict       `json:"verdict"`
	Base      string             `json:"base"`
	Candidate string             `json:"candidate"`
	Kernels   string             `json:"kernels"`
	DataKey   string             `json:"data_key"`
	Network   *network.Judgement `json:"network,omitempty"`
	Draws     *network.Draws     `json:"multi_seed_summary,omitempty"`
	Paid      *network.Paid      `json:"paid,omitempty"`
	Mix       *stages.MixReport  `json:"mix,omitempty"`
	// PerBatch are the losses of the network's batches, of one sequence each without a profile.
	PerBatch perBatch `json:"per_batch_loss"`

	note string          // why the network has no score
	exam *stages.MixExam // of --mirror, else nil
}

// perBatch has null for a loss that is no finite number.
type perBatch struct {
	Base      []*float64 `json:"base"`
	Candidate []*float64 `json:"candidate"`
}

func (f *evalFlags) run(ctx context.Context, env *environment) error {
	if err := f.check(); err != nil {
		return err
	}
	profile, rivals, err := f.rules()
	if err != nil {
		return err
	}
	base, candidate, e, err := f.measure(ctx, env, profile)
	if err != nil {
		return err
	}
	var weights []float64
	if e.exam != nil {
		if base, candidate, err = wholeOf(e.exam, base, candidate); err != nil {
			return err
		}
		weights = e.exam.Weights()
	}
	opts := eval.CompareOptions{SourceWeights: weights, Seed: f.seed, Confidence: f.confidence,
		DocumentsMin: f.documentsMin, Workers: f.workers, Stratify: e.exam != nil} // a mix has fixed shares
	if e.Comparison, err = eval.Compare(base, candidate, opts); err != nil {
		return &flagError{err}
	}
	e.Verdict = eval.Gate(e.Comparison, f.minDelta)
	size := 1
	if profile != nil {
		size = max(1, profile.Evaluate.BatchSize)
		e.score(f, profile, base, candidate, rivals)
	}
	e.PerBatch = perBatch{network.PerBatch(base, size), network.PerBatch(candidate, size)}
	if err := f.show(env, profile, e); err != nil {
		return err
	}
	if e.Verdict.Outcome != eval.Improves {
		return &pipeline.GateError{Msg: "the gate refuses the update: " + e.Verdict.String()}
	}
	return nil
}

// rules reads the profile and the rivals, either nil if not asked for.
func (f *evalFlags) rules() (*network.Profile, []network.Rival, error) {
	if f.profile == "" {
		return nil, nil, nil
	}
	profile, err := network.Find(store.OS(), ".", f.profile)
	if err != nil {
		return nil, nil, &flagError{fmt.Errorf("--profile: %w", err)}
	}
	if f.mix.Mirror != "" && f.mix.SourcesFrom == "" && !profile.Evaluate.Paged() {
		return nil, nil, &flagError{errTogether}
	}
	if f.rivals == "" {
		return profile, nil, nil
	}
	rivals, err := parseFile(f.rivals, network.ParseRivals)
	return profile, rivals, err
}

// measure computes the losses of base and candidate.
func (f *evalFlags) measure(ctx context.Context, env *environment, p *network.Profile) (
	base, candidate *eval.Losses, e *evaluated, err error) {
	name, err := f.computing.resolve()
	if err != nil {
		return nil, nil, nil, err
	}
	dev, err := device.Open(name, device.Options{Workers: f.workers})
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	memory, err := memoryBudget(f.memory)
	if err != nil {
		return nil, nil, nil, &flagError{fmt.Errorf("--memory: %w", err)}
	}
	stream, update, done, err := f.open(env, p, dev)
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	e = &evaluated{Base: f.base, Candidate: f.candidate + ", " + update.What, Kernels: name}
	exam, err := f.openExam(ctx, p, e)
	if err != nil {
		return nil, nil, nil, err
	}
	defer exam.Close()
	opts := eval.Options{BatchSize: f.batchSize, Sources: exam.Sources,
		TokensMax: max(1, int(memory/2)/(4*stream.Config().HiddenSize*2))}
	e.DataKey = exam.Key
	base, candidate, err = eval.NewEvaluator(stream, exam, opts).Losses(ctx, update)
	return base, candidate, e, err
}

// open opens the base, with the newest checkpoint over it, and the candidate.
func (f *evalFlags) open(env *environment, p *network.Profile, dev tensor.Device) (
	s *model.Stream, update *stages.Candidate, done func() error, err error) {
	var open []io.Closer
	done = func() error {
		var errs []error
		for _, c := range slices.Backward(open) {
			errs = append(errs, c.Close())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, done())
		}
	}()
	config, err := model.ReadConfig(store.OS(), f.base)
	if err != nil {
		return nil, nil, done, missingIsUsage(fmt.Errorf("base model %w", err))
	}
	dir, err := checkpoint.OpenDir(store.OS(), f.base)
	if err != nil {
		return nil, nil, done, &pipeline.DataError{Msg: "base model " + err.Error()}
	}
	open = append(open, dir)
	naming, groups := checkpoint.Native, []*checkpoint.Group(nil)
	if p != nil {
		naming = p.Naming()
	}
	if f.groups != "" {
		if groups, err = checkpoint.LoadGroups(store.OS(), f.groups); err != nil {
			return nil, nil, done, missingIsUsage(err)
		}
	}
	weights := checkpoint.Source(dir)
	if f.checkpoints != "" {
		over, err := f.overlay(env, naming, groups)
		if err != nil {
			return nil, nil, done, err
		}
		open = append(open, over)
		if weights, err = checkpoint.Overlay(dir, over); err != nil {
			return nil, nil, done, &pipeline.DataError{Msg: fmt.Sprintf("--checkpoints: %v", err)}
		}
	}
	if update, err = stages.OpenCandidate(store.OS(), f.candidate, naming, groups); err != nil {
		return nil, nil, done, err
	}
	open = append(open, update)
	if err := model.CheckUpdate(config, update); err != nil {
		return nil, nil, done, &pipeline.DataError{Msg: fmt.Sprintf("candidate %s: %v", f.candidate, err)}
	}
	s, err = model.NewStream(config, weights, dev)
	return s, update, done, err
}

// overlay opens the newest checkpoint.
func (f *evalFlags) overlay(env *environment, naming checkpoint.Naming, groups []*checkpoint.Group) (
	*checkpoint.GroupFiles, error) {
	newest, passed, err := checkpoint.Newest(store.OS(), f.checkpoints, nil)
	for _, p := range passed {
		fmt.Fprintln(env.stderr, p)
	}
	if err != nil {
		return nil, missingIsUsage(err)
	}
	over, err := checkpoint.OpenFiles(store.OS(), newest.Files, naming, groups)
	if err != nil {
		return nil, &pipeline.DataError{Msg: fmt.Sprintf("--checkpoints: %v", err)}
	}
	return over, nil
}

// score fills in what the network makes of the losses, or says why it makes nothing of them.
func (e *evaluated) score(f *evalFlags, p *network.Profile, base, candidate *eval.Losses, rivals []network.Rival) {
	j, err := p.Judge(base, candidate)
	if err == nil {
		e.Network = &j
		if e.exam != nil {
			_, e.Draws, err = e.exam.Judge(p, base, candidate)
		} else {
			e.Draws, err = p.Draw(base, candidate, f.seed, f.seeds)
		}
	}
	if err != nil {
		e.note = err.Error()
		return
	}
	if f.rivals != "" {
		paid := p.Simulate(j.Score, f.block, rivals)
		e.Paid = &paid
	}
}

// show prints the answer.
func (f *evalFlags) show(env *environment, p *network.Profile, e *evaluated) error {
	if f.json != "" {
		err := writeJSON(env, f.json, indented(e))
		if err != nil || f.json == "-" {
			return err
		}
	}
	fmt.Fprintln(env.stdout, e.line(p))
	fmt.Fprintf(env.stdout, "%d documents (%.0f effective), %d tokens of %s; %s\n", e.Documents, e.EffectiveDocuments,
		e.Tokens, f.where(), e.Candidate)
	if e.Mix != nil {
		fmt.Fprintln(env.stdout, e.Mix)
	}
	for _, s := range e.Sources {
		note := ""
		if !s.Enough {
			note = ", too few documents for an interval to rely on"
		}
		fmt.Fprintf(env.stdout, "source %s: %s, %d documents%s\n", s.Source, s.Difference, s.Documents, note)
	}
	if n := e.Network; n != nil {
		fmt.Fprintf(env.stdout, "%s: losses %.6g and %.6g, score %.6g, %d batches, %d of them not finite\n", n.Profile,
			n.Baseline, n.Loss, n.Score, n.Batches, n.NaN)
	}
	if d := e.Draws; d != nil {
		what := "draws"
		if e.exam != nil {
			what = "seeds"
		}
		fmt.Fprintf(env.stdout, "%d %s of up to %d of %d batches: score %.6g ± %.2g, %.6g to %.6g; the loss falls in %d\n",
			len(d.Seeds), what, d.Batches, d.OfAll, d.Mean, d.Std, d.Min, d.Max, d.Improved)
	}
	if e.note != "" {
		fmt.Fprintf(env.stdout, "no score by %s: %s\n", p.Name, e.note)
	}
	_, err := fmt.Fprintf(env.stdout, "verdict  %s\n", e.Verdict)
	return err
}

// line is the answer in one line.
func (e *evaluated) line(p *network.Profile) string {
	out := e.Comparison.String()
	if e.Draws != nil {
		out += fmt.Sprintf(", %d seeds", len(e.Draws.Seeds))
	}
	var sources []string
	for _, s := range e.Sources {
		difference := strings.ReplaceAll(fmt.Sprintf("%+.3f", s.Difference.Difference), "-", "−")
		sources = append(sources, s.Source+" "+difference)
	}
	out += "; " + strings.Join(sources, ", ")
	switch {
	case p == nil:
		return out
	case e.Paid == nil:
		return out + "; paid? " + cmp.Or(e.noScore(), "unknown without --rivals")
	}
	return out + "; paid? " + e.Paid.String()
}

func (e *evaluated) noScore() string {
	if e.note == "" {
		return ""
	}
	return "no score"
}
