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
	"slices"
	"strings"
	"syscall"
	"time"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// The exit codes. They are interface: scripts and schedulers read them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitData        = 3
	exitGate        = 4
	exitInUse       = 5
	exitLate        = 6
	exitInterrupted = 130
	exitTerminated  = 143
)

// exits says what the codes mean, in help and in the project's documentation.
func exits() []exit {
	return []exit{
		{exitDone, "0", "done"},
		{exitFailed, "1", "failed; a retry may help"},
		{exitUsage, "2", "wrong usage or plan, or a path that matches nothing; a retry will not help"},
		{exitData, "3", "a data check failed: too many bad records, a damaged file, an alarm, or no document left"},
		{exitGate, "4", "the gate refused the update"},
		{exitInUse, "5", "the work directory is in use"},
		{exitLate, "6", "too late for the deadline; no bundle was made"},
		{exitInterrupted, "130, 143", "interrupted or terminated; the same command goes on"},
	}
}

type exit struct {
	code        int
	shown, text string
}

// exitsTitle begins the last part of each command's help, which help prints behind the
// flags.
const exitsTitle = "Exit codes:\n"

// exitStatus is that part: every command's Long ends with it.
func exitStatus(codes ...int) string {
	var b strings.Builder
	b.WriteString(exitsTitle)
	for _, e := range exits() {
		if slices.Contains(codes, e.code) {
			fmt.Fprintf(&b, "  %-8s  %s\n", e.shown, e.text)
		}
	}
	return b.String()
}

// environment is what commands see of the world.
type environment struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	now            func() time.Time // the clock of deadlines
	started        time.Time        // of the process
}

// Main runs the command line and returns the exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return runIn(&environment{stdin, stdout, stderr, time.Now, time.Now()}, args)
}

func runIn(env *environment, args []string) int {
	ctx, caught, stop := withSignals()
	defer stop()
	root := newRoot(env)
	root.SetArgs(args)
	root.SetIn(env.stdin)
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	err := root.ExecuteContext(ctx)
	code := exitCode(err, caught())
	if err != nil && code < exitInterrupted {
		fmt.Fprintln(env.stderr, store.RedactText(strings.TrimRight(errorText(err), "\n")))
	} else if code >= exitInterrupted {
		fmt.Fprintln(env.stderr, "bzdata: interrupted; the same command goes on from here")
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
		late   *pipeline.LateError
		flag   *flagError
		place  *store.LocationError
	)
	switch {
	case err == nil:
		return exitDone
	case caught == syscall.SIGTERM && errors.Is(err, context.Canceled):
		return exitTerminated
	case caught != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &usage), errors.As(err, &diags), errors.As(err, &flag), errors.As(err, &place):
		return exitUsage
	case errors.As(err, &data):
		return exitData
	case errors.As(err, &gate):
		return exitGate
	case errors.As(err, &locked):
		return exitInUse
	case errors.As(err, &late):
		return exitLate
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
