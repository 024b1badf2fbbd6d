package cli

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain puts this test binary first on PATH under the name bzdata, where it is the
// program itself: for scripts, and for tests that start processes.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"bzdata": func() {
			now := time.Now
			if os.Getenv("TEST_CLOCK") == "processor" {
				now = processorClock()
			}
			os.Exit(runIn(&environment{os.Stdin, os.Stdout, os.Stderr, now, now()}, os.Args[1:]))
		},
	})
}

// processorClock goes on while the process computes, and only then: in a window that it measures, as much is done on a
// busy machine as on an idle one.
func processorClock() func() time.Time {
	start := time.Now()
	return func() time.Time {
		var use syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
			panic(err)
		}
		return start.Add(time.Duration(use.Utime.Nano() + use.Stime.Nano()))
	}
}
