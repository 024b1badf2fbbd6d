package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bzdata/pipeline"
)

// TestExitCodes is the table of exit codes: they are interface.
func TestExitCodes(t *testing.T) {
	canceled := fmt.Errorf("stage train: %w", context.Canceled)
	for _, c := range []struct {
		err    error
		caught os.Signal
		want   int
	}{
		{nil, nil, 0},
		{nil, os.Interrupt, 0}, // it came too late
		{errors.New("disk full"), nil, 1},
		{canceled, nil, 1},
		{errors.New("disk full"), os.Interrupt, 1},
		{&pipeline.UsageError{Msg: "no such folder"}, nil, 2},
		{fmt.Errorf("input[0]: %w", &pipeline.UsageError{Msg: "no file"}), nil, 2},
		{pipeline.Diags{{Msg: "unknown key"}}, nil, 2},
		{&flagError{errors.New("unknown flag")}, nil, 2},
		{&pipeline.DataError{Msg: "malformed"}, nil, 3},
		{errors.Join(&pipeline.DataError{Msg: "malformed"}, errors.New("release")), nil, 3},
		{&pipeline.GateError{Msg: "no gain"}, nil, 4},
		{&pipeline.LockedError{Workdir: "w"}, nil, 5},
		{canceled, os.Interrupt, 130},
		{canceled, syscall.SIGTERM, 143},
	} {
		if got := exitCode(c.err, c.caught); got != c.want {
			t.Errorf("%v, caught %v: code %d, want %d", c.err, c.caught, got, c.want)
		}
	}
}

// TestHelpEndsWithExitCodes reads every command's help: one line of synopsis, then text,
// usage, flags, exit codes in rising order and nothing behind them.
func TestHelpEndsWithExitCodes(t *testing.T) {
	codes := regexp.MustCompile(`(?s)\n\nExit codes:\n((?:  \d[\d, ]+ +[^\n]+\n)+)$`)
	number := regexp.MustCompile(`(?m)^  (\d+)[, ]`)
	want := map[string]string{
		"run": "0 1 2 3 4 5 130", "cycle": "0 1 2 3 4 5 6 130", "check": "0 1 2 3", "why": "0 1 2", "report": "0 1 2", "verify": "0 1 2 3",
		"route": "0 1 2 3 130", "task": "0 1 2 3", "hash": "0 1 2 3", "sample": "0 1 2 130", "stages": "0 2", "schema": "0 2",
		"version": "0 2", "help": "0 2", "doctor": "0 1 2", "eval": "0 1 2 3 4 130", "ablate": "0 1 2 3 5 130", "train": "0 1 2 3 4 5 130",
		"mirror":   "0 1 2 3 5 130",
		"tokenize": "0 1 2 3 130",
	}
	for _, g := range commands(&environment{}) {
		for _, c := range g.commands {
			var out bytes.Buffer
			if code := Main([]string{"help", c.Name()}, nil, &out, &out); code != 0 {
				t.Fatalf("help %s: code %d", c.Name(), code)
			}
			m := codes.FindStringSubmatch(out.String())
			if m == nil {
				t.Errorf("help %s does not end with exit codes:\n%s", c.Name(), out.String())
				continue
			}
			var listed []string
			for _, n := range number.FindAllStringSubmatch(m[1], -1) {
				listed = append(listed, n[1])
			}
			if got := strings.Join(listed, " "); got != want[c.Name()] {
				t.Errorf("help %s lists the codes %s, want %s", c.Name(), got, want[c.Name()])
			}
			if len(c.Short) > 76 || strings.HasSuffix(c.Short, ".") {
				t.Errorf("%s: %q does not suit a list", c.Name(), c.Short)
			}
			for _, line := range strings.Split(out.String(), "\n") {
				if len(line) > 100 {
					t.Errorf("help %s: %d columns: %s", c.Name(), len(line), line)
				}
			}
		}
	}
}

// TestCommandsAreThere compares the groups of help with the commands that cobra knows.
func TestCommandsAreThere(t *testing.T) {
	var listed, known []string
	for _, g := range commands(&environment{}) {
		for _, c := range g.commands {
			listed = append(listed, c.Name())
		}
	}
	for _, c := range newRoot(&environment{}).Commands() {
		if !c.Hidden {
			known = append(known, c.Name())
		}
	}
	slices.Sort(listed)
	slices.Sort(known)
	if !slices.Equal(listed, known) {
		t.Errorf("help lists %q, the program has %q", listed, known)
	}
}

// TestCount writes numbers for people.
func TestCount(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.25: "0.2", 12.5: "12.5", 999: "999", 1000: "1 000",
		1234567.4: "1 234 567", 99.96: "100.0"} {
		if got := count(v); got != want {
			t.Errorf("count(%v) is %q, want %q", v, got, want)
		}
	}
}
