package cli

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	// askedWithin is how long a command that is asked something may take: programs that connect to a chain
	// first take ten seconds and more.
	askedWithin = 30 * time.Second
	// answerBytesMax is more than any answer needs, and bounds a command that never stops talking.
	answerBytesMax = 64 << 10
	// killedWithin is how long what a killed command has started may hold on to its output.
	killedWithin = time.Second
)

// errLongAnswer ends a command that never stops talking.
var errLongAnswer = fmt.Errorf("it prints more than %d bytes", answerBytesMax)

// ask runs a command that the user has given by a flag, and returns what it prints on standard output. When
// within is over, or ctx, it is killed with all that it has started.
func ask(ctx context.Context, flag, command string, within time.Duration) ([]byte, error) {
	began := time.Now()
	ctx, stop := context.WithTimeout(ctx, within)
	defer stop()
	var out answer
	var said complaint
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &said, killedWithin
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that what it has started ends with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return nil, ctx.Err()
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("no answer within %.1f s", time.Since(began).Seconds())
	case out.full:
		err = errLongAnswer
	case errors.Is(err, exec.ErrWaitDelay):
		err = nil // it has answered, and left something behind that runs on
	}
	if err == nil {
		return out.text, nil
	}
	return nil, fmt.Errorf("%s %s: %w%s", flag, command, err, said.last())
}

// answer is what a command prints; one that prints too much is ended.
type answer struct {
	text []byte
	full bool
}

// Write implements [io.Writer].
func (a *answer) Write(p []byte) (int, error) {
	if len(a.text)+len(p) > answerBytesMax {
		a.full = true
		return 0, errLongAnswer
	}
	a.text = append(a.text, p...)
	return len(p), nil
}

// complaint is the end of what a command prints on standard error.
type complaint struct{ text []byte }

// Write implements [io.Writer].
func (c *complaint) Write(p []byte) (int, error) {
	c.text = append(c.text, p...)
	c.text = c.text[max(0, len(c.text)-answerBytesMax):]
	return len(p), nil
}

// last is the last line, to be put behind an error.
func (c *complaint) last() string {
	lines := strings.Split(strings.TrimSpace(string(c.text)), "\n")
	if line := lines[len(lines)-1]; line != "" {
		return ": " + line
	}
	return ""
}
