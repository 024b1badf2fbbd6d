package cli

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"bzdata/pipeline/cputime"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain puts this test binary first on PATH under the name bzdata, where it is the
// program itself: for scripts, and for tests that start processes.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"bzdata": func() { os.Exit(program()) }})
}

// ledVar makes a process that is the program be led by the test; see [led].
const ledVar = "BZDATA_TEST_LED"

func program() int {
	now := time.Now
	if os.Getenv("TEST_CLOCK") == "processor" {
		now = processorClock()
	}
	env := &environment{os.Stdin, os.Stdout, os.Stderr, now, now()}
	if os.Getenv(ledVar) != "" {
		l := &led{Writer: os.Stderr, answers: bufio.NewReader(os.Stdin), signals: make(chan os.Signal, 1)}
		signal.Notify(l.signals, os.Interrupt, syscall.SIGTERM)
		env.stdin, env.stderr = strings.NewReader(""), l
	}
	return runIn(env, os.Args[1:])
}

// The answers to a line of a process that is led.
const (
	goOn       = 'g'
	goSignaled = 's' // when the signal that was sent has come
)

// led is the standard error of a process that waits after each line until the test has answered it: what the test does at an
// event hits the process at that event, however late either of them has its turn.
type led struct {
	io.Writer
	answers *bufio.Reader // on standard input, a byte each; at its end nobody leads any more
	signals chan os.Signal
}

// Write implements [io.Writer].
func (l *led) Write(p []byte) (int, error) {
	n, err := l.Writer.Write(p)
	for range bytes.Count(p[:n], []byte("\n")) {
		if answer, _ := l.answers.ReadByte(); answer == goSignaled {
			<-l.signals
			for range 100 { // the program was told at the same time: it has its turn
				runtime.Gosched()
			}
		}
	}
	return n, err
}

// processorClock goes on while the process computes, and only then: in a window that it measures, as much is done on a
// busy machine as on an idle one.
func processorClock() func() time.Time {
	start := time.Now()
	return func() time.Time { return start.Add(cputime.Used()) }
}
