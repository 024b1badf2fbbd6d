package stages

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// coprocess is a program that answers lines with lines. One goroutine writes to it and one
// reads from it, so that neither side waits for the other's pipe. Whoever uses it takes answers
// while it waits to hand over lines: then everything that is full empties in the end, whatever
// the program reads or answers first.
type coprocess struct {
	name    string
	patient time.Duration
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	stdout  io.ReadCloser
	stderr  *tail
	asks    chan []byte   // nil once the input is closed
	answers chan [][]byte // closed at the end of the program's output
	ready   [][]byte      // received, and next to be taken
	quit    chan struct{} // closed by stop
	stopped sync.Once
	busy    sync.WaitGroup // of the two goroutines
	readErr error          // set before answers is closed
	ended   bool           // waited for
	started time.Time
	moved   atomic.Int64 // when a byte was last read or written, after started
}

func startProcess(c Exec, dir string, seed uint64) (*coprocess, error) {
	p := &coprocess{name: c.Command[0], patient: time.Duration(c.AnswerSecondsMax) * time.Second, stderr: &tail{},
		asks: make(chan []byte), answers: make(chan [][]byte), quit: make(chan struct{}), started: time.Now()}
	p.cmd = exec.Command(c.Command[0], c.Command[1:]...)
	env, err := c.environment(seed)
	if err != nil {
		return nil, err
	}
	p.cmd.Dir, p.cmd.Stderr, p.cmd.Env = dir, p.stderr, env
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that stop reaches its children, too
	p.cmd.WaitDelay = time.Second
	var errIn, errOut error
	p.stdin, errIn = p.cmd.StdinPipe()
	p.stdout, errOut = p.cmd.StdoutPipe()
	if err := cmp.Or(errIn, errOut); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("program %s: %w; check `command`, which runs in the plan's folder %s", p.name, err, dir)
	}
	asks := p.asks
	p.busy.Go(func() { p.write(asks) })
	p.busy.Go(func() { p.read(int(c.AnswerBytesMax)) })
	return p, nil
}

// environment is what a program gets to see: enough to find interpreters and read UTF-8.
func (c Exec) environment(seed uint64) ([]string, error) {
	env := map[string]string{"LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "0", "BZDATA_SEED": fmt.Sprint(seed)}
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env[name] = value
		}
	}
	maps.Copy(env, c.Env)
	for _, name := range c.PassEnv {
		value, ok := os.LookupEnv(name)
		if !ok {
			return nil, fmt.Errorf("pass_env: the environment has no %s; set it, or leave it out", name)
		}
		env[name] = value
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list, nil
}

// pieceBytes is how much is written at a time, so that a slow reader's progress shows.
const pieceBytes = 8 << 10

// write passes lines on. A program that reads no more shows by its missing answers.
func (p *coprocess) write(asks <-chan []byte) {
	var failed error
	for lines := range asks {
		for len(lines) > 0 && failed == nil {
			n := min(len(lines), pieceBytes)
			_, failed = p.stdin.Write(lines[:n])
			lines = lines[n:]
			p.progress()
		}
	}
	_ = p.stdin.Close() // it says only that the program ended, which is found out otherwise
}

func (p *coprocess) progress() { p.moved.Store(int64(time.Since(p.started))) }

// Read reads from the program.
func (p *coprocess) Read(b []byte) (int, error) {
	n, err := p.stdout.Read(b)
	p.progress()
	return n, err
}

func (p *coprocess) read(bytesMax int) {
	defer close(p.answers)
	r := bufio.NewReaderSize(p, 1<<16)
	for {
		lines, err := readLines(r, bytesMax)
		if len(lines) > 0 {
			select {
			case p.answers <- lines:
			case <-p.quit:
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				p.readErr = err
			}
			return
		}
	}
}

// readLines reads a line, and those behind it that have come already.
func readLines(r *bufio.Reader, bytesMax int) ([][]byte, error) {
	var lines [][]byte
	for {
		line, err := readLine(r, bytesMax)
		if err != nil {
			return lines, err
		}
		lines = append(lines, line)
		come, err := r.Peek(r.Buffered())
		if err != nil || bytes.IndexByte(come, '\n') < 0 {
			return lines, err
		}
	}
}

var errLongAnswer = errors.New("a longer line than answer_bytes_max allows")

// readLine reads a line of at most so many bytes and cuts its end off. A last line need
// not have one.
func readLine(r *bufio.Reader, bytesMax int) ([]byte, error) {
	var line []byte
	for {
		piece, err := r.ReadSlice('\n')
		line = append(line, piece...)
		if len(line) > bytesMax+1 {
			return nil, errLongAnswer
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(line) > 0:
			return line, nil
		case err != nil:
			return nil, err
		}
		return line[:len(line)-1], nil
	}
}

// event is what a program has done.
type event int

const (
	tookLines event = iota
	answeredLine
	closedOutput
)

// next waits for an answer, which is the caller's own, or for the program to take lines, if there
// are any; they must then stay as they are until it has taken others. An error says how the
// program hangs, or is that of ctx.
func (p *coprocess) next(ctx context.Context, lines []byte) (answer []byte, what event, err error) {
	asks := p.asks
	if len(lines) == 0 {
		asks = nil
	}
	idle, tick := p.vigil(), time.NewTicker(lookEvery)
	defer tick.Stop()
	for len(p.ready) == 0 {
		var more bool
		select {
		case asks <- lines:
			return nil, tookLines, nil
		case p.ready, more = <-p.answers:
			if !more {
				return nil, closedOutput, nil
			}
		case <-tick.C:
			if hangs(idle.look(), p.patient) {
				return nil, 0, p.hanging()
			}
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
	answer, p.ready = p.ready[0], p.ready[1:]
	return answer, answeredLine, nil
}

// hanging says that the program has done nothing for too long.
func (p *coprocess) hanging() error {
	if p.asks != nil {
		return fmt.Errorf("neither read nor answered for %s, which is answer_seconds_max", p.patient)
	}
	return fmt.Errorf("neither answered nor ended for %s, which is answer_seconds_max", p.patient)
}

// lookEvery is how often a program that is waited for is looked at, and hangs what a program does that has done nothing for so
// long. Tests have their own.
var (
	lookEvery = time.Second
	hangs     = func(idle, patient time.Duration) bool { return idle >= patient }
)

// vigil counts for how long a program does nothing. From one look to the next no more than twice the usual time counts: while
// this process or all of the machine stood still, so did the program, or what it did could not be seen.
type vigil struct {
	p        *coprocess
	at, idle time.Duration
}

func (p *coprocess) vigil() *vigil { return &vigil{p: p, at: time.Since(p.started)} }

// look returns for how long the program has done nothing.
func (v *vigil) look() time.Duration {
	now := time.Since(v.p.started)
	v.idle += min(now-v.at, 2*lookEvery)
	if time.Duration(v.p.moved.Load()) > v.at {
		v.idle = 0
	}
	v.at = now
	return v.idle
}

// closeInput tells the program that there are no more lines.
func (p *coprocess) closeInput() {
	close(p.asks)
	p.asks = nil
}

// died says why there are no more answers than so many.
func (p *coprocess) died(ctx context.Context, answers int) error {
	if p.readErr != nil {
		return p.failure("printed %v", p.readErr)
	}
	switch err := p.wait(ctx); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return p.failure("ended after %d answers: %v", answers, err)
	}
	return p.failure("ended after %d answers, and there are more documents; it must print one line for each, null to drop it",
		answers)
}

// finish sees the program end well, after its output.
func (p *coprocess) finish(ctx context.Context) error {
	if p.readErr != nil {
		return p.failure("printed %v", p.readErr)
	}
	switch err := p.wait(ctx); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return p.failure("failed after the last document: %v", err)
	}
	return nil
}

// wait waits for the program's end, which follows that of its output.
func (p *coprocess) wait(ctx context.Context) error {
	defer context.AfterFunc(ctx, p.kill)()
	p.ended = true
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	idle, tick := p.vigil(), time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-tick.C:
			if hangs(idle.look(), p.patient) {
				p.kill()
				<-ended
				return fmt.Errorf("closed its output and did not end for %s, which is answer_seconds_max", p.patient)
			}
		}
	}
}

func (p *coprocess) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may have ended by itself
}

// stop ends the program, if it still runs, and what belongs to it.
func (p *coprocess) stop() {
	p.stopped.Do(func() {
		close(p.quit)
		if p.asks != nil {
			close(p.asks)
		}
		if !p.ended {
			p.kill()
			_ = p.stdout.Close() // a grandchild may hold the other end
			_ = p.cmd.Wait()     // killed
		}
		p.busy.Wait()
	})
}

// failure is an error of the program, with what it last said on standard error.
func (p *coprocess) failure(format string, args ...any) error {
	said := ""
	if lines := p.stderr.String(); lines != "" {
		said = "; its standard error ends in: " + lines
	}
	return fmt.Errorf("program %s %s%s", p.name, fmt.Sprintf(format, args...), said)
}

// tail keeps the last bytes that are written to it.
type tail struct {
	mu    sync.Mutex
	bytes []byte
}

// tailBytes is how much of a program's standard error an error shows.
const tailBytes = 2000

// Write never fails.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes = append(t.bytes, b...)
	if len(t.bytes) > 2*tailBytes {
		t.bytes = append(t.bytes[:0], t.bytes[len(t.bytes)-tailBytes:]...)
	}
	return len(b), nil
}

// String is the last lines, on one.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := t.bytes[max(0, len(t.bytes)-tailBytes):]
	var lines []string
	for line := range strings.Lines(strings.ToValidUTF8(string(last), "?")) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-5):], " | ")
}
