package stages

import (
	"bufio"
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
	"syscall"
	"time"
)

// coprocess is a program that answers lines with lines. One goroutine writes to it and one
// reads from it, so that neither side waits for the other's pipe: it is asked one line at a
// time, whatever its size and that of the answer.
type coprocess struct {
	name    string
	patient time.Duration
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	stdout  io.ReadCloser
	stderr  *tail
	asks    chan []byte
	answers chan []byte   // closed at the end of the program's output
	quit    chan struct{} // closed by stop
	stopped sync.Once
	busy    sync.WaitGroup // of the two goroutines
	readErr error          // set before answers is closed
	ended   bool           // waited for
}

func startProcess(c Exec, dir string, seed uint64) (*coprocess, error) {
	p := &coprocess{name: c.Command[0], patient: time.Duration(c.AnswerSecondsMax) * time.Second, stderr: &tail{},
		asks: make(chan []byte), answers: make(chan []byte, 1), quit: make(chan struct{})}
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

// write passes lines on. A program that reads no more shows by its missing answer.
func (p *coprocess) write(asks <-chan []byte) {
	var failed error
	for line := range asks {
		if failed == nil {
			_, failed = p.stdin.Write(line)
		}
	}
	_ = p.stdin.Close() // it says only that the program ended, which is found out otherwise
}

func (p *coprocess) read(bytesMax int) {
	defer close(p.answers)
	r := bufio.NewReaderSize(p.stdout, 1<<16)
	for {
		line, err := readLine(r, bytesMax)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				p.readErr = err
			}
			return
		}
		select {
		case p.answers <- line:
		case <-p.quit:
			return
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

// answer asks one line, which must stay as it is until the next call, and returns its answer.
func (p *coprocess) answer(ctx context.Context, line []byte) ([]byte, error) {
	timer := time.NewTimer(p.patient)
	defer timer.Stop()
	asks := p.asks
	for {
		select {
		case asks <- line:
			asks = nil
		case answer, ok := <-p.answers:
			switch {
			case !ok:
				return nil, p.died()
			case asks != nil:
				return nil, p.failure("answered before it was asked: more lines than documents")
			}
			return answer, nil
		case <-timer.C:
			return nil, p.failure("did not answer for %s, which is answer_seconds_max; does it flush each line?", p.patient)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// died says why there are no more answers.
func (p *coprocess) died() error {
	if p.readErr != nil {
		return p.failure("printed %v", p.readErr)
	}
	if err := p.wait(); err != nil {
		return p.failure("ended without an answer: %v", err)
	}
	return p.failure("ended, or closed its output, without an answer")
}

// finish closes the program's input and sees it end well.
func (p *coprocess) finish(ctx context.Context) error {
	close(p.asks)
	p.asks = nil
	timer := time.NewTimer(p.patient)
	defer timer.Stop()
	select {
	case answer, more := <-p.answers:
		switch {
		case more:
			return p.failure("printed more lines than it was asked, such as %s", excerptOf(answer))
		case p.readErr != nil:
			return p.failure("printed %v", p.readErr)
		}
	case <-timer.C:
		return p.failure("did not end for %s after the last document, which is answer_seconds_max", p.patient)
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := p.wait(); err != nil {
		return p.failure("failed after the last document: %v", err)
	}
	return nil
}

// wait waits for the program's end, at most as long as for an answer.
func (p *coprocess) wait() error {
	timer := time.AfterFunc(p.patient, p.kill)
	defer timer.Stop()
	p.ended = true
	return p.cmd.Wait()
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
