package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"bzdata/eval/mirror"
	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/report"
	"bzdata/pipeline/store"
	"bzdata/stages"

	"github.com/spf13/cobra"
)

// mirrorFlags are the flags of bzdata mirror.
type mirrorFlags struct {
	planFlags
	stages.MirrorFill
	profile        string
	progress, json string
}

func newMirror(env *environment) *cobra.Command {
	f := &mirrorFlags{}
	cmd := &cobra.Command{
		Use:   "mirror (PLAN | [--sources-from FILE] --to DIR)",
		Short: "Fetch the rows that validators would judge by, for a plan's evaluate",
		Long: `Mirror fetches from the Hugging Face hub what the section evaluate of a plan reads: the files of the
data sets that an expert group's config.yaml names, found as the library datasets finds them by
configuration, split and revision. It goes through the rows of every seed as a validator would,
and fetches a file when the rows come to it: so what is fetched is what rows and seeds need, and
--files-max bounds it. Nodes share whole files where every data set has a multiple of their number,
and rows otherwise; files are read in the order of their names, and seeds choose rows.

Validators of Subnet 9 read pages of rows, which the seed draws, from the hub's datasets server, and
so does mirror: DIR/PATH/pages has them. --sources-from is not needed then. The text of one of its
data sets is not at the hub; the answer says where to put text of its kind.

A file's hash is compared with the hub's, and it appears whole under DIR/PATH/NAME. DIR/mirror.json
has revision, size, entity tag and SHA-256 of each. A run that was cut off goes on, and what is
there unchanged is not fetched again. Files pass through the hub's cache under HF_HOME and stay
there, too. A token comes from HF_TOKEN or the file in HF_HOME only.

` + exitStatus(exitDone, exitFailed, exitUsage, exitData, exitInUse, exitInterrupted),
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range []string{"sources-from", "to", "profile", "rows", "seeds", "seed"} {
				if len(args) > 0 && cmd.Flags().Changed(name) {
					return &flagError{fmt.Errorf("--%s stands in place of a PLAN's; give either, or --set evaluate.rows=N", name)}
				}
			}
			return f.run(cmd.Context(), env, args)
		},
	}
	fs := cmd.Flags()
	f.add(fs)
	fs.StringVar(&f.SourcesFrom, "sources-from", "", "an expert group's config.yaml, a `FILE`, in place of a plan")
	fs.StringVar(&f.Mirror, "to", "", "`DIR` of the mirror, in place of a plan's")
	fs.StringVar(&f.profile, "profile", "connito", "network profile, a `NAME` or a file of your own, in place of a plan's")
	fs.IntVar(&f.Rows, "rows", 2000, "at most `N` rows of each seed, in place of a plan's")
	fs.IntVar(&f.Seeds, "seeds", 3, "`N` seeds, in place of a plan's")
	fs.Uint64Var(&f.First, "seed", 1, "first `SEED`, in place of a plan's")
	fs.IntVar(&f.FilesMax, "files-max", 0, "at most `N` files of each data set; 0 is as many as the rows need")
	fs.StringVar(&f.progress, "progress", "plain", "progress on standard error, a `MODE`: plain or none")
	fs.StringVar(&f.json, "json", "", "write the answer as JSON to this `FILE` instead; - is standard output")
	return cmd
}

// mirrored is the answer of bzdata mirror.
type mirrored struct {
	Mirror     string                `json:"mirror"`
	Sources    []stages.MirrorFilled `json:"sources"`
	RowsOfSeed []int                 `json:"rows_of_seed"`
	Short      []string              `json:"short,omitempty"` // of seeds that have fewer rows than were asked for
}

func (f *mirrorFlags) run(ctx context.Context, env *environment, args []string) error {
	if err := cmp.Or(f.check(args), checkMode(f.progress, "plain", "none"), checkOutput("--json", f.json)); err != nil {
		return err
	}
	profile, err := f.from(ctx, args)
	if err != nil {
		return err
	}
	defer f.inputs.Close() // what it could not delete is temporary and harmless
	lock, err := pipeline.Acquire(ctx, store.OS(), f.Mirror, 0)
	if err != nil {
		return err
	}
	show := &mirrorProgress{out: env.stderr, now: time.Now}
	if f.progress == "none" {
		show.out = io.Discard
	}
	f.OnFile, f.OnPage, f.Now = show.file, show.page, func() string { return time.Now().UTC().Format(time.RFC3339) }
	exam, filled, err := stages.FillMirror(lock.Context(ctx), f.inputs, profile, f.MirrorFill)
	if err := errors.Join(err, lock.Release()); err != nil {
		return pipeline.AsDiskError(f.Mirror, cmp.Or(ctx.Err(), err))
	}
	out := mirrored{Mirror: f.Mirror, Sources: filled, Short: exam.Short}
	for _, own := range exam.BySeed {
		out.RowsOfSeed = append(out.RowsOfSeed, len(own))
	}
	return f.show(env, out, args)
}

// check asks for a plan or for what stands for it.
func (f *mirrorFlags) check(args []string) error {
	var err error
	switch {
	case len(args) > 1 || len(args) == 0 && f.Mirror == "":
		err = errors.New("mirror wants one PLAN, or --to DIR, with --sources-from FILE but for Subnet 9; " +
			"see bzdata mirror --help")
	case f.Rows < 1 || f.Seeds < 1 || f.FilesMax < 0:
		err = errors.New("--rows and --seeds want 1 or more, --files-max 0 or more")
	}
	if err != nil {
		return &flagError{err}
	}
	return nil
}

// from takes rows and seeds from a plan, or from the flags.
func (f *mirrorFlags) from(ctx context.Context, args []string) (*network.Profile, error) {
	if len(args) == 0 {
		f.inputs = newInputs(ctx)
		profile, err := network.Find(store.OS(), ".", f.profile)
		if err != nil {
			return nil, &flagError{fmt.Errorf("--profile: %w", err)}
		}
		return profile, nil
	}
	plan, err := f.parse(ctx, args[0])
	if err != nil {
		return nil, err
	}
	if plan.Evaluate == nil {
		return nil, &pipeline.UsageError{Msg: fmt.Sprintf("%s has no section evaluate, so that there is nothing to mirror; add "+
			"evaluate: {sources_from: FILE, mirror: DIR}, without sources_from for Subnet 9", plan.File)}
	}
	f.MixOptions = stages.MixOptionsOf(plan)
	return network.Find(store.OS(), plan.Dir(), plan.Network.Profile)
}

func (f *mirrorFlags) show(env *environment, m mirrored, args []string) error {
	if f.json != "" {
		return writeJSON(env, f.json, indented(m))
	}
	for _, s := range m.Sources {
		if s.Pages && s.Needed == 0 {
			continue // below it is said why
		}
		if s.Pages {
			fmt.Fprintf(env.stdout, "%s: %s needed, %d in the mirror, %d fetched now (%s)\n", s.Source, plural(s.Needed, "page"),
				s.Mirrored, s.Fetched, report.Size(s.Bytes))
			continue
		}
		fmt.Fprintf(env.stdout, "%s: %d of %s needed, %d in the mirror, %d fetched now (%s), commit %.12s\n", s.Source, s.Needed,
			plural(s.Files, "file"), s.Mirrored, s.Fetched, report.Size(s.Bytes), s.Commit)
	}
	for i, n := range m.RowsOfSeed {
		fmt.Fprintf(env.stdout, "seed %d: %d of up to %d rows\n", f.First+uint64(i), n, f.Rows)
	}
	for _, why := range m.Short {
		fmt.Fprintln(env.stdout, why)
	}
	place, next := filepath.Join(m.Mirror, mirror.ManifestName), ""
	if slices.ContainsFunc(m.Sources, func(s stages.MirrorFilled) bool { return s.Pages }) {
		place = m.Mirror
	}
	if len(args) == 1 {
		next = fmt.Sprintf("; next: bzdata run %s --until validator_rows, before the window", args[0])
	}
	_, err := fmt.Fprintf(env.stdout, "mirror: %s%s\n", place, next)
	return err
}

// mirrorProgress tells of files that come.
type mirrorProgress struct {
	out  io.Writer
	now  func() time.Time
	from time.Time // of the file at hand
	told time.Time
}

// progressEvery is how long a file comes without a word.
const progressEvery = 10 * time.Second

// page tells of pages, of the last one and now and then.
func (p *mirrorProgress) page(source string, done, total int) {
	now := p.now()
	if p.told.IsZero() {
		p.told = now
	}
	if done == total || now.Sub(p.told) >= progressEvery {
		p.told = now
		fmt.Fprintf(p.out, "%s: %d of %d pages\n", source, done, total)
	}
}

func (p *mirrorProgress) file(source string, f mirror.File, bytes int64) {
	now := p.now()
	switch {
	case bytes == 0:
		p.from, p.told = now, now
		fmt.Fprintf(p.out, "%s: %s, %s\n", source, f.Name, report.Size(f.Bytes))
	case bytes < f.Bytes && now.Sub(p.told) >= progressEvery:
		p.told = now
		rate := float64(bytes) / max(now.Sub(p.from).Seconds(), 1e-3)
		fmt.Fprintf(p.out, "%s: %s, %.0f %% of %s, %s/s\n", source, f.Name, 100*float64(bytes)/float64(f.Bytes),
			report.Size(f.Bytes), report.Size(int64(rate)))
	}
}
