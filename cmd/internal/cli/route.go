package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"bzdata/eval/routing"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/stages"
	"bzdata/train/checkpoint"

	"github.com/spf13/cobra"
)

// routeFlags are the flags of bzdata route.
type routeFlags struct {
	records, model, chosen string
	inputs                 []string
	text, template, conv   string
	experts, perToken      int
	sampleTokens, length   int
	score                  string
	rule                   routing.Rule
	groups, miners         string
	config, summary        string
	assignment, json       string
	firstID                int
	write                  writeGroupFlags
	workers                int
	memory, watch          string
	computing
}

func newRoute(env *environment) *cobra.Command {
	f := &routeFlags{}
	cmd := &cobra.Command{
		Use:   "route (--records DIR | --model DIR --input PATH | --chosen FILE)",
		Short: "Find which experts of a model a text activates, and choose experts",
		Long: `Route counts the choices of a mixture-of-experts model's routers: those of a seeded sample of
documents that run through the model, layer by layer, or those that the files
expert_weights_LAYER.txt of deepseek-ai/ESFT hold. It prints the chosen experts, how evenly each
layer spreads its load, how differently the sources route, and, with --groups, how much of the
activation falls on each expert group. The files it writes are those of the ESFT repository and of
Block Zero.

With --chosen it counts nothing, but takes experts that are chosen already, and so turns one form
into another: an expert assignment into an ESFT configuration by --config, and back by --assignment
with the group's --first-id.

--write-group writes the experts as a new expert group, DIR/config.yaml, expert_assignment.json and
dataset.py, beside the groups of the same folder, and prints the hash by which Connito knows the
task. Its data is what --dataset-name or --dataset-source say, or else the inputs. Experts that it
shares with another group are a warning, for the networks allow it.

` + exitStatus(exitDone, exitFailed, exitUsage, exitData, exitInterrupted),
		Args: exactly(0, "flags only"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.defaultRule(cmd.Flags().Changed("p"))
			return f.run(cmd.Context(), env)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.records, "records", "", "read router records from this `DIR`")
	fs.StringVar(&f.model, "model", "", "run a model from this `DIR`")
	fs.StringVar(&f.chosen, "chosen", "", "take the experts of this `FILE`: an ESFT configuration or an expert assignment")
	fs.StringArrayVar(&f.inputs, "input", nil, "documents to run through the model, a `PATH`; may be given again")
	fs.StringVar(&f.text, "text", "", "`FIELD` of the documents' text (default text)")
	fs.StringVar(&f.template, "template", "", "text made of fields, a `TEMPLATE` such as \"{{question}}\\n{{answer}}\"")
	fs.StringVar(&f.conv, "messages", "", "`FIELD` of the documents' conversation")
	fs.IntVar(&f.experts, "experts", 64, "`N` experts of a layer, of records")
	fs.IntVar(&f.perToken, "experts-per-token", 6, "`N` experts of a token, of records")
	fs.IntVar(&f.sampleTokens, "sample-tokens", 65536, "run `N` tokens at most")
	fs.IntVar(&f.length, "sequence-length", 1024, "run `N` tokens of a document at most")
	fs.StringVar(&f.score, "score", "token", "rank experts by `SCORE`: token or gate")
	fs.Float64Var(&f.rule.P, "p", 0.2, "choose experts of a layer until their scores sum to `P`")
	fs.IntVar(&f.rule.TopN, "top-n", 0, "choose `N` experts of each layer")
	fs.Float64Var(&f.rule.MinShare, "min-share", 0, "choose experts with at least this `SHARE` of their layer's scores")
	fs.StringVar(&f.groups, "groups", "", "rank the expert groups in this `DIR`")
	fs.StringVar(&f.miners, "miners", "",
		"miners by group id, a JSON `FILE` such as {\"0\": 12}; groups are ranked by what is left for one more")
	fs.StringVar(&f.config, "config", "", "write the expert configuration to this `FILE`")
	fs.StringVar(&f.summary, "summary", "", "write all scores to this `FILE`")
	fs.StringVar(&f.assignment, "assignment", "", "write the expert assignment to this `FILE`")
	fs.IntVar(&f.firstID, "first-id", 0, "first running id of the assignment, `N`; -1 for the model's own ids")
	f.write.add(fs)
	fs.StringVar(&f.json, "json", "", "write the result as JSON to this `FILE` instead; - is standard output")
	fs.IntVar(&f.workers, "workers", runtime.GOMAXPROCS(0), "`N` threads; the result does not depend on it")
	fs.StringVar(&f.memory, "memory", "", "memory budget such as 4GiB, a `SIZE` (default half of what there is)")
	f.addDevice(fs)
	fs.StringVar(&f.watch, "progress", "auto", "progress on standard error, a `MODE`: auto, plain, json, none")
	return cmd
}

// defaultRule leaves p out where another rule is given and p is not.
func (f *routeFlags) defaultRule(given bool) {
	if !given && (f.rule.TopN != 0 || f.rule.MinShare != 0) {
		f.rule.P = 0
	}
	if f.rule.MinShare > 0 {
		f.rule.Floor = 1
	}
}

func (f *routeFlags) run(ctx context.Context, env *environment) error {
	if err := f.check(); err != nil {
		return err
	}
	find := f.fromModel
	switch {
	case f.records != "":
		find = f.fromRecords
	case f.chosen != "":
		find = f.fromChosen
	}
	r, err := find(ctx, env)
	if err != nil {
		return err
	}
	if r.chosen == nil {
		if r.chosen, err = f.choose(r.scores); err != nil {
			return err
		}
	}
	if err := f.writeFiles(r); err != nil {
		return err
	}
	if f.miners != "" {
		if err := f.noteMiners(r); err != nil {
			return err
		}
	}
	if r.written, err = f.write.group(f, r.chosen); err != nil {
		return err
	}
	if f.json != "" {
		return writeJSON(env, f.json, r.writeJSON)
	}
	return r.writeText(env.stdout)
}

// check finds mistakes of the flags.
func (f *routeFlags) check() error {
	_, ruleErr := f.rule.Choose(routing.Table{})
	_, scoreErr := routing.Scores{}.Of(f.score)
	var err error
	switch {
	case f.origins() != 1:
		err = errors.New("give one of --records DIR, --model DIR and --chosen FILE")
	case f.chosen != "" && f.groups+f.summary != "":
		err = errors.New("--chosen counts nothing; --groups and --summary go with --records or --model")
	case f.model != "" && len(f.inputs) == 0:
		err = errors.New("--model needs documents; name them by --input PATH")
	case f.model == "" && len(f.inputs) > 0:
		err = errors.New("--input goes with --model")
	case f.miners != "" && f.groups == "":
		err = errors.New("--miners goes with --groups")
	default:
		err = cmp.Or(ruleErr, scoreErr, f.write.check(f))
	}
	if err != nil {
		return &flagError{err}
	}
	outputs := map[string]string{"--config": f.config, "--summary": f.summary, "--assignment": f.assignment, "--json": f.json}
	for flag, name := range outputs {
		if err := checkOutput(flag, name); err != nil {
			return err
		}
	}
	return nil
}

// origins counts the places from which experts are to come.
func (f *routeFlags) origins() int {
	n := 0
	for _, name := range []string{f.records, f.model, f.chosen} {
		if name != "" {
			n++
		}
	}
	return n
}

// routeResult is what routing found.
type routeResult struct {
	scores  routing.Scores
	balance []routing.Balance
	sources []routing.SourcePair // nil for fewer than two sources
	chosen  *routing.Config
	groups  []routing.RankedGroup
	written *writtenGroup // nil if none was asked for

	warnings []string
	note     string
}

// fromChosen reads experts that are chosen already.
func (f *routeFlags) fromChosen(context.Context, *environment) (*routeResult, error) {
	data, err := store.ReadAll(store.OS(), f.chosen)
	if err != nil {
		return nil, missingIsUsage(err)
	}
	chosen, from, err := routing.ParseChoice(data)
	if err != nil {
		return nil, &pipeline.DataError{Msg: fmt.Sprintf("%s: %v", f.chosen, err)}
	}
	r := &routeResult{chosen: chosen, note: fmt.Sprintf("%d layers", len(chosen.Experts))}
	if first, ok := routing.FirstID(from); from != nil && ok {
		r.note += fmt.Sprintf(", --first-id %d for the same running ids", first)
	} else if from != nil {
		r.warnings = append(r.warnings, "the running ids do not count up from one number: no --first-id gives them back")
	}
	return r, nil
}

// missingIsUsage makes a file that is not there a mistake of the command line.
func missingIsUsage(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &pipeline.UsageError{Msg: err.Error(), Err: err}
	}
	return err
}

// parseFile reads a file that a flag names. One that is not there, or says something else, is a mistake of
// the command line.
func parseFile[T any](name string, parse func([]byte) (T, error)) (T, error) {
	var none T
	data, err := store.ReadAll(store.OS(), name)
	if err != nil {
		return none, missingIsUsage(err)
	}
	value, err := parse(data)
	if err != nil {
		return none, &pipeline.UsageError{Msg: fmt.Sprintf("%s: %v", name, err), Err: err}
	}
	return value, nil
}

// fromRecords sums the records of ESFT's files; each line is a document.
func (f *routeFlags) fromRecords(context.Context, *environment) (*routeResult, error) {
	acc, err := routing.NewAccumulator(f.experts, f.perToken)
	if err != nil {
		return nil, &flagError{err}
	}
	groups, miners, err := f.readGroups()
	if err != nil {
		return nil, err
	}
	ranking := routing.NewRanking(groups, f.experts)
	acc.OnRecord = func(layer, line int, experts []int32, weights []float32) {
		if f.score == "token" {
			weights = nil
		}
		ranking.Add(line, layer, experts, weights)
	}
	layers, err := acc.ReadRecordDir(store.OS(), f.records)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missingIsUsage(err)
	}
	if err != nil {
		return nil, &pipeline.DataError{Msg: err.Error()}
	}
	if acc.Tokens(layers[0]) == 0 {
		return nil, &pipeline.DataError{Msg: fmt.Sprintf("%s: there is no record of a token for layer %d", f.records, layers[0])}
	}
	r := &routeResult{scores: acc.Scores(), balance: acc.Balance(),
		note: fmt.Sprintf("%d tokens in %d layers", acc.Tokens(layers[0]), len(layers))}
	for _, layer := range layers {
		if n := acc.Tokens(layer); n != acc.Tokens(layers[0]) {
			r.warnings = append(r.warnings, fmt.Sprintf("layer %d has records of %d tokens, layer %d of %d: is a file cut off?",
				layer, n, layers[0], acc.Tokens(layers[0])))
		}
	}
	if groups != nil {
		r.groups, err = ranking.Groups(miners)
	}
	return r, err
}

// readGroups reads the groups and the numbers of their miners, nil if none were asked for.
func (f *routeFlags) readGroups() ([]*checkpoint.Group, map[int]int, error) {
	if f.groups == "" {
		return nil, nil, nil
	}
	groups, err := checkpoint.LoadGroups(store.OS(), f.groups)
	if err != nil || f.miners == "" {
		return groups, nil, err
	}
	miners, err := parseFile(f.miners, stages.ParseMiners)
	return groups, miners, err
}

// noteMiners warns of groups whose miners are not known, which then count as none.
func (f *routeFlags) noteMiners(r *routeResult) error {
	miners, err := parseFile(f.miners, stages.ParseMiners)
	for _, g := range r.groups {
		if _, known := miners[g.ID]; err == nil && !known {
			r.warnings = append(r.warnings, fmt.Sprintf("%s does not say how many miners train group %d; it counts as none",
				f.miners, g.ID))
		}
	}
	return err
}

// choose picks the experts by the score that was asked for.
func (f *routeFlags) choose(scores routing.Scores) (*routing.Config, error) {
	table, err := scores.Of(f.score)
	if err != nil {
		return nil, err
	}
	return f.rule.Choose(table)
}

// fromModel runs a plan with a route stage in a folder of its own.
func (f *routeFlags) fromModel(ctx context.Context, env *environment) (r *routeResult, err error) {
	dir, err := os.MkdirTemp("", "bzdata-route-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	plan, err := f.plan()
	if err != nil {
		return nil, err
	}
	file, workdir := filepath.Join(dir, "plan.yaml"), filepath.Join(dir, "run")
	if err := store.WriteBytes(store.OS(), file, plan); err != nil {
		return nil, err
	}
	run := &runFlags{workdir: workdir, workers: f.workers, memory: f.memory, computing: f.computing, progress: f.watch,
		json: filepath.Join(dir, "report.json")}
	if err := run.run(ctx, env, file); err != nil {
		return nil, err
	}
	return f.readOutput(filepath.Join(workdir, "out", "routing"))
}

// plan is the plan as JSON, which is YAML.
func (f *routeFlags) plan() ([]byte, error) {
	network := map[string]any{"base": map[string]any{"model": absolute(f.model)}}
	if f.groups != "" {
		network["expert_groups"] = absolute(f.groups)
	}
	var inputs []any
	for _, path := range f.inputs {
		in := map[string]any{"path": absolute(path)}
		for key, value := range map[string]string{"text": f.text, "template": f.template, "messages": f.conv} {
			if value != "" {
				in[key] = value
			}
		}
		inputs = append(inputs, in)
	}
	stage := map[string]any{"sample_tokens": f.sampleTokens, "sequence_length": f.length, "score": f.score,
		"p": f.rule.P, "top_n": f.rule.TopN, "min_share": f.rule.MinShare}
	if f.miners != "" {
		stage["miners"] = absolute(f.miners)
	}
	return json.Marshal(map[string]any{"name": "route", "network": network, "input": inputs,
		"stages": []any{map[string]any{"route": stage}}})
}

// absolute makes a local name independent of the folder; remote names are that already.
func absolute(name string) string {
	if strings.Contains(name, "://") {
		return name
	}
	if abs, err := filepath.Abs(name); err == nil {
		return abs
	}
	return name
}

// readOutput reads what a route stage wrote, as any later stage would.
func (f *routeFlags) readOutput(dir string) (*routeResult, error) {
	data, err := store.ReadAll(store.OS(), filepath.Join(dir, "summary.json"))
	if err != nil {
		return nil, err
	}
	scores, err := routing.ParseScores(data)
	if err != nil {
		return nil, err
	}
	r := &routeResult{scores: scores, note: fmt.Sprintf("%d layers", len(scores.Token))}
	for name, into := range map[string]any{"balance.json": &r.balance, "sources.json": &r.sources, "groups.json": &r.groups} {
		path := filepath.Join(dir, name)
		data, err := store.ReadAll(store.OS(), path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // of one source, or without groups
		}
		if err == nil {
			err = json.Unmarshal(data, into)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return r, nil
}

// writeFiles writes the files that were asked for.
func (f *routeFlags) writeFiles(r *routeResult) error {
	for name, data := range map[string][]byte{f.config: r.chosen.Encode(), f.summary: r.scores.Encode(),
		f.assignment: r.chosen.Assignment(f.firstID).Encode()} {
		if name == "" {
			continue
		}
		if err := store.WriteBytes(store.OS(), name, data); err != nil {
			return err
		}
	}
	return nil
}

func (r *routeResult) writeText(w io.Writer) error {
	fmt.Fprintf(w, "%s, %d experts chosen\n", r.note, r.chosen.Count())
	load := map[int]routing.Balance{}
	for _, b := range r.balance {
		load[b.Layer] = b
	}
	for _, layer := range r.chosen.Layers() {
		fmt.Fprintf(w, "layer %2d  %v", layer, r.chosen.Experts[layer])
		if b, ok := load[layer]; ok {
			fmt.Fprintf(w, "  entropy %.3f of an even one, busiest expert %.2f times the mean", b.EvennessRatio, b.MaxOverMean)
		}
		fmt.Fprintln(w)
	}
	for _, p := range r.sources {
		fmt.Fprintf(w, "sources %s\n", stages.DescribePair(p))
	}
	for _, g := range r.groups {
		fmt.Fprintf(w, "group %d %s: %.4f of the activation (%.4f to %.4f), lift %.3f",
			g.ID, g.Name, g.Share, g.ShareLow, g.ShareHigh, g.Lift)
		if g.Value != g.Share {
			fmt.Fprintf(w, ", %.4f for one more beside %d miners", g.Value, g.Miners)
		}
		fmt.Fprintln(w)
	}
	if r.written != nil {
		r.written.writeText(w)
	}
	for _, warning := range r.warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
	return nil
}

// writeJSON writes the chosen experts by layer, and all that was found.
func (r *routeResult) writeJSON(w io.Writer) error {
	data, err := json.MarshalIndent(map[string]any{"layers": r.chosen.Layers(), "experts": r.chosen.Experts,
		"token_scores": r.scores.Token, "gate_scores": r.scores.Gate, "balance": r.balance, "sources": r.sources,
		"groups": r.groups, "written": r.written, "warnings": r.warnings}, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(data, '\n'))
	return err
}
