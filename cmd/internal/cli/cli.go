// Package cli is the command line of bzdata: one file for each subcommand, with the
// exit codes, which are part of the interface.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"bzdata/pipeline"

	"github.com/spf13/cobra"
)

// The exit codes. They are interface: scripts and schedulers read them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitData        = 3
	exitGate        = 4
	exitInUse       = 5
	exitInterrupted = 130
	exitTerminated  = 143
)

// exitStatus is the part of each command's help that lists its exit codes.
func exitStatus(codes ...int) string {
	texts := map[int]string{
		exitDone:        "0    done",
		exitFailed:      "1    failed; a retry may help",
		exitUsage:       "2    wrong usage or plan, or a path that matches nothing; a retry will not help",
		exitData:        "3    a data check failed: too many malformed records, or no document left",
		exitGate:        "4    the gate refused the update",
		exitInUse:       "5    the work directory is in use",
		exitInterrupted: "130  interrupted, can be resumed (143 when terminated)",
	}
	var b strings.Builder
	b.WriteString("Exit status:\n")
	for _, c := range codes {
		fmt.Fprintf(&b, "  %s\n", texts[c])
	}
	return b.String()
}

// environment is what commands see of the world.
type environment struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// Main runs the command line and returns the exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, caught, stop := withSignals()
	defer stop()
	env := &environment{stdin, stdout, stderr}
	root := newRoot(env)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	code := exitCode(err, caught())
	if err != nil && code < exitInterrupted {
		fmt.Fprintln(stderr, strings.TrimRight(errorText(err), "\n"))
	} else if code >= exitInterrupted {
		fmt.Fprintln(stderr, "bzdata: interrupted; run the same command again to go on")
	}
	return code
}

// errorText puts the program's name before a plain error; the mistakes of a plan stand
// for themselves.
func errorText(err error) string {
	var diags pipeline.Diags
	if errors.As(err, &diags) {
		return err.Error()
	}
	return "bzdata: " + err.Error()
}

// exitCode maps an error to its code, in one place.
func exitCode(err error, caught os.Signal) int {
	var (
		usage  *pipeline.UsageError
		diags  pipeline.Diags
		data   *pipeline.DataError
		gate   *pipeline.GateError
		locked *pipeline.LockedError
		flag   *flagError
	)
	switch {
	case err == nil:
		return exitDone
	case caught == syscall.SIGTERM && errors.Is(err, context.Canceled):
		return exitTerminated
	case caught != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &usage), errors.As(err, &diags), errors.As(err, &flag):
		return exitUsage
	case errors.As(err, &data):
		return exitData
	case errors.As(err, &gate):
		return exitGate
	case errors.As(err, &locked):
		return exitInUse
	}
	return exitFailed
}

// flagError marks what cobra finds wrong with the command line.
type flagError struct{ err error }

func (e *flagError) Error() string { return e.err.Error() }
func (e *flagError) Unwrap() error { return e.err }

// withSignals returns a context that ends with SIGINT or SIGTERM. A second signal ends
// the process at once.
func withSignals() (ctx context.Context, caught func() os.Signal, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	got := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case s := <-signals:
			got <- s
			signal.Stop(signals)
			cancel()
		case <-ctx.Done():
		}
	}()
	caught = func() os.Signal {
		select {
		case s := <-got:
			return s
		default:
			return nil
		}
	}
	return ctx, caught, func() { signal.Stop(signals); cancel() }
}

func newRoot(env *environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "bzdata",
		Short: "Turn raw text into a better score",
		Long: `bzdata curates text for training: it cleans, deduplicates and filters Parquet and JSONL by a
YAML plan, finds the experts of a mixture-of-experts model that the data activates, trains
them, and checks on held-out text whether the update lowers the loss.`,
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &flagError{fmt.Errorf("unknown command %q; see bzdata help", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &flagError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})
	for _, c := range []*cobra.Command{
		newRun(env), newCheck(env), newWhy(env), newReport(env), newVerify(env),
		newStages(env), newSchema(env), newVersion(env),
	} {
		root.AddCommand(c)
	}
	return root
}

// exactly is cobra.ExactArgs with an error that ends in exit code 2.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return &flagError{fmt.Errorf("%s wants %s; see %s --help", cmd.CommandPath(), what, cmd.CommandPath())}
		}
		return nil
	}
}
