package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"bzdata/cmd/internal/sample"
	"bzdata/pipeline/report"
	"bzdata/pipeline/store"
	"bzdata/train/tensor"

	"github.com/spf13/cobra"
)

// sampleDocumentsMin is the least corpus that has a fault of each kind.
const sampleDocumentsMin = 100

func newSample(env *environment) *cobra.Command {
	opt := sample.Options{}
	var progressMode, model, size string
	cmd := &cobra.Command{
		Use:   "sample DIR",
		Short: "Write an example: corpus with truth, base model, expert groups, plans",
		Long: `Sample composes a corpus of word problems with planted copies, near copies, off-domain prose,
boilerplate, malformed lines and leaks of held-out text, with a truth file; a small base model
trained on the spot; expert groups; and plans. The same options give the same bytes. With
--model=false it writes the corpus only, of any size in constant memory. With --model=ARCH it writes
only a model folder of that architecture, with random weights, for tests and measurements:
` + strings.Join(sample.Architectures(), ", ") + `.

` + exitStatus(exitDone, exitFailed, exitUsage, exitInterrupted),
		Args: exactly(1, "one DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkMode(progressMode, "auto", "plain", "none"); err != nil {
				return err
			}
			if opt.Documents < sampleDocumentsMin {
				return &flagError{fmt.Errorf("--documents %d: want %d or more", opt.Documents, sampleDocumentsMin)}
			}
			if info, err := os.Stat(args[0]); err == nil && !info.IsDir() {
				return &flagError{fmt.Errorf("%s is a file; name a folder", args[0])}
			}
			kernels, err := tensor.Choose(opt.Kernels)
			if err != nil {
				return &flagError{fmt.Errorf("--kernels: %w", err)}
			}
			opt.Kernels, opt.NoModel = kernels.Name(), model == "false"
			opt.Progress = sampleProgress(env, progressMode)
			if model != "true" && model != "false" {
				return writeRandom(cmd.Context(), env, args[0], model, size, opt)
			}
			sum, err := sample.Write(cmd.Context(), store.OS(), args[0], opt)
			if err != nil {
				return err
			}
			return writeSample(env.stdout, args[0], sum)
		},
	}
	fs := cmd.Flags()
	fs.IntVar(&opt.Documents, "documents", 20000, "`N` rows of the corpus")
	fs.Uint64Var(&opt.Seed, "seed", 42, "seed of everything, a number `N`")
	fs.StringVar(&model, "model", "true", "make the base model, true or false; or only a random one of an `ARCH`")
	fs.StringVar(&size, "size", "tiny", "`SIZE` of a random model: "+strings.Join(sample.Sizes(), ", "))
	fs.IntVar(&opt.Workers, "workers", runtime.GOMAXPROCS(0), "`N` threads; the result does not depend on it")
	fs.StringVar(&opt.Kernels, "kernels", "auto", "floating-point `SET`: auto, avx512, avx2 or plain")
	fs.StringVar(&progressMode, "progress", "auto", "progress on standard error, a `MODE`: auto, plain or none")
	return cmd
}

// writeRandom writes a random model only.
func writeRandom(ctx context.Context, env *environment, dir, architecture, size string, opt sample.Options) error {
	if !slices.Contains(sample.Architectures(), architecture) {
		return &flagError{fmt.Errorf("--model %s: want true, false or one of %s", architecture,
			strings.Join(sample.Architectures(), ", "))}
	}
	if err := checkMode(size, sample.Sizes()...); err != nil {
		return &flagError{fmt.Errorf("--size %s: want one of %s", size, strings.Join(sample.Sizes(), ", "))}
	}
	sum, err := sample.WriteRandom(ctx, store.OS(), dir, sample.RandomOptions{
		Architecture: architecture, Size: size, Seed: opt.Seed, Workers: opt.Workers, Progress: opt.Progress})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.stdout, "%s of %s parameters, random, %s in %d files\n", architecture,
		count(float64(sum.Parameters)), report.Size(sum.Bytes), len(sum.Files))
	return err
}

func writeSample(w io.Writer, dir string, s sample.Summary) error {
	fmt.Fprintf(w, "%s documents in %d files", count(float64(s.Documents)), len(s.Files))
	sep := ":"
	for _, kind := range slices.Sorted(maps.Keys(s.Kinds)) {
		fmt.Fprintf(w, "%s %s %s", sep, kind, count(float64(s.Kinds[kind])))
		sep = ","
	}
	fmt.Fprintf(w, "\nheld out %s, reference %s\n", count(float64(s.HeldOut)), count(float64(s.Reference)))
	if s.Parameters > 0 {
		fmt.Fprintf(w, "base model of %s parameters, %d steps to a loss of %.3f nats\n",
			count(float64(s.Parameters)), s.TrainingSteps, s.LossNats)
	}
	next := "plan.yaml"
	if s.Parameters == 0 {
		next = "data.yaml --until export"
	}
	_, err := fmt.Fprintf(w, "next: bzdata run %s\n", filepath.Join(dir, next))
	return err
}

// sampleProgress prints a line when a part begins, and every few seconds within it.
func sampleProgress(env *environment, mode string) func(stage string, done, total float64) {
	if mode == "none" {
		return nil
	}
	var mu sync.Mutex
	last, shown := "", time.Time{}
	return func(stage string, done, total float64) {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		if stage == last && now.Sub(shown) < plainEvery {
			return
		}
		last, shown = stage, now
		fmt.Fprintf(env.stderr, "%s: %s of %s\n", stage, count(done), count(total))
	}
}
