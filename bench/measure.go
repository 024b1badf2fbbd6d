package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// said is what a contender prints about itself: one JSON object, the last line of its
// standard output. All of it is optional.
type said struct {
	Version string `json:"version,omitempty"`
	// Rows and Kept count documents read and left; Bytes counts those of the text.
	Rows  int64 `json:"rows,omitempty"`
	Kept  int64 `json:"kept,omitempty"`
	Bytes int64 `json:"bytes,omitempty"`
	// Sum is the sum of the texts' 64-bit XXH3 hashes, to show that readers agree.
	Sum string `json:"sum,omitempty"`
	// Startup is the processor time in seconds before the work began.
	Startup float64 `json:"startup,omitempty"`
	// Phases are processor times in seconds of named parts of the work.
	Phases map[string]float64 `json:"phases,omitempty"`
	// Walls are their wall times.
	Walls map[string]float64 `json:"walls,omitempty"`
}

// sample is one run of a contender.
type sample struct {
	wall, cpu float64 // seconds
	rss       int64   // peak, bytes
	said      said
}

// work is the processor time after start-up.
func (s sample) work() float64 { return s.cpu - s.said.Startup }

// contender is a program that takes part in a claim.
type contender struct {
	name string // as the tables have it
	argv []string
	// cores is how many the process may use; 1 pins it to one.
	cores int
	// before is called ahead of each run, to clear away what the last one wrote.
	before func() error
	// after may complete what the run said about itself.
	after func(*said) error
	// why says why the contender cannot run; it is then only reported.
	why string
	// runs holds the measurements, one for each round.
	runs []sample
}

// of returns one value of every run.
func (c *contender) of(value func(sample) float64) []float64 {
	var out []float64
	for _, s := range c.runs {
		out = append(out, value(s))
	}
	return out
}

func wallOf(s sample) float64 { return s.wall }
func cpuOf(s sample) float64  { return s.cpu }
func workOf(s sample) float64 { return s.work() }

// phaseOf returns a value: the processor time of some phases together.
func phaseOf(names ...string) func(sample) float64 {
	return func(s sample) float64 {
		sum := 0.0
		for _, n := range names {
			sum += s.said.Phases[n]
		}
		return sum
	}
}

// alternate runs the contenders in turn, round by round. One that fails is left out of
// the rounds that follow, and of the ratios.
func alternate(ctx context.Context, progress io.Writer, rounds int, cs []*contender) error {
	for round := range rounds {
		for _, c := range cs {
			if c.why != "" {
				continue
			}
			s, err := c.run(ctx)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				c.why, c.runs = oneLine(err.Error()), nil
				fmt.Fprintf(progress, "  %-44s failed: %s\n", c.name, c.why)
				continue
			}
			c.runs = append(c.runs, s)
			fmt.Fprintf(progress, "  %d/%d %-40s wall %7.3f s  cpu %7.3f s  start-up %6.3f s  %5d MiB\n",
				round+1, rounds, c.name, s.wall, s.cpu, s.said.Startup, s.rss>>20)
		}
	}
	return nil
}

// run runs a contender once.
func (c *contender) run(ctx context.Context) (sample, error) {
	if c.before != nil {
		if err := c.before(); err != nil {
			return sample{}, err
		}
	}
	argv := append([]string{self(), "worker", "measure"}, append(pin(c.cores), c.argv...)...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), threadLimits(c.cores)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // so that it ends the contender too
	out, err := cmd.Output()
	var m measured
	if err == nil {
		err = json.Unmarshal(out, &m)
	}
	switch {
	case err != nil:
		return sample{}, err
	case m.Error != "":
		return sample{}, errors.New(m.Error)
	}
	s := sample{wall: m.Wall, cpu: m.CPU, rss: m.RSS}
	if err := s.said.parse([]byte(m.Stdout)); err != nil {
		return sample{}, err
	}
	if c.after != nil {
		err = c.after(&s.said)
	}
	return s, err
}

// measured is what the worker "measure" says of a command that it has run.
type measured struct {
	Wall, CPU float64 // seconds
	RSS       int64   // peak, bytes
	Stdout    string  // the end of it
	Error     string
}

// measureCommand runs a command and says what it used. A process of its own does that,
// since a child's peak memory begins at that of the process that started it: this one's
// is small.
func measureCommand(argv []string) (measured, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	from := time.Now()
	err := cmd.Run()
	m := measured{Wall: time.Since(from).Seconds()}
	if err != nil {
		m.Error = fmt.Sprintf("%v: %s", err, tail(stderr.String(), 300))
		return m, nil
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return m, errors.New("this system does not say what a process used")
	}
	m.CPU, m.RSS = seconds(usage.Utime)+seconds(usage.Stime), usage.Maxrss*rssUnit()
	out := stdout.Bytes()
	m.Stdout = string(out[max(0, len(out)-1<<16):])
	return m, nil
}

// self returns this program's own file, or what stands for it on the system.
func self() string {
	name, err := os.Executable()
	if err != nil {
		return "/proc/self/exe"
	}
	return name
}

// parse reads the last line of a contender's output if that is a JSON object.
func (s *said) parse(stdout []byte) error {
	stdout = bytes.TrimSpace(stdout)
	line := stdout[bytes.LastIndexByte(stdout, '\n')+1:]
	if !bytes.HasPrefix(line, []byte("{")) {
		return nil
	}
	if err := json.Unmarshal(line, s); err != nil {
		return fmt.Errorf("a contender says %q of itself: %w", line, err)
	}
	return nil
}

// pin returns the words that keep a command on one core, or none. The last core is
// chosen, since systems like to handle interrupts on the first.
func pin(cores int) []string {
	path, err := exec.LookPath("taskset")
	if cores != 1 || err != nil {
		return nil
	}
	return []string{path, "--cpu-list", strconv.Itoa(runtime.NumCPU() - 1)}
}

// threadLimits returns the environment by which libraries learn how many threads to use.
func threadLimits(cores int) []string {
	var out []string
	for _, name := range []string{"GOMAXPROCS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
		"RAYON_NUM_THREADS", "POLARS_MAX_THREADS", "ARROW_NUM_THREADS"} {
		out = append(out, name+"="+strconv.Itoa(cores))
	}
	return append(out, "TOKENIZERS_PARALLELISM=false", "PYTHONHASHSEED=0", "HF_HUB_OFFLINE=1", "HF_DATASETS_OFFLINE=1")
}

func seconds(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

// rssUnit is the unit of getrusage's peak memory in bytes: Linux counts in KiB.
func rssUnit() int64 {
	if runtime.GOOS == "darwin" {
		return 1
	}
	return 1 << 10
}

// tail returns the end of a text in one line.
func tail(text string, bytesMax int) string {
	text = oneLine(text)
	if len(text) > bytesMax {
		text = "…" + strings.ToValidUTF8(text[len(text)-bytesMax:], "")
	}
	return text
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
