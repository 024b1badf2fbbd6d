package stages

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// Exec is the configuration of the exec stage.
type Exec struct {
	Command          []string          `yaml:"command" required:"true" doc:"Program and arguments; no shell reads them. It runs in the plan's folder, once for each part of the input, so that it must remember nothing from one document to the next. An argument that names a file there counts as one of files."`
	Files            pipeline.Paths    `yaml:"files" doc:"Files that the program's answers depend on, such as its modules and models; a change of one repeats the stage."`
	Version          string            `yaml:"version" doc:"Any text; another one repeats the stage. For what no file says, such as the program's own release."`
	Env              map[string]string `yaml:"env" doc:"Environment variables of the program, beside the few that it gets anyway. Another value repeats the stage; reports show it."`
	PassEnv          []string          `yaml:"pass_env" doc:"Names of environment variables that the program gets as they are where bzdata runs: the way for secrets, which no file then holds. Their values repeat nothing."`
	AnswerSecondsMax int               `yaml:"answer_seconds_max" min:"1" max:"86400" doc:"Longest wait for a program that neither reads nor answers, and for its end."`
	AnswerBytesMax   pipeline.Bytes    `yaml:"answer_bytes_max" min:"1KiB" max:"1GiB" doc:"Longest answer."`
}

func execSpec() pipeline.Spec[Exec] {
	return pipeline.Spec[Exec]{
		Name: "exec", Version: 1,
		Summary: "Edits or drops documents by the answers of a program of your own.",
		Doc: code(`
The program is started once for each part of the input: a file, or 64 to 128 MiB of a larger one. As
many run at a time as there are workers, and none is started anew unless the run is. It reads one JSON
object a line from standard input, a document with all its fields, until the end, and answers each with
one line on standard output, in the same order:

- the object, edited or as it is: fields may be changed, added and left out;
- ‹null› to drop the document as ‹exec›, or ‹{"drop": "some_reason"}› to drop it for a named reason.

It may read ahead, answer in batches, or answer nothing before it has read all: lines are written as fast
as it reads them, and the documents that wait for their answers are held, those beyond a few MiB in
temporary files. It need not flush. Lines are matched with documents by their order alone, so that a program
that leaves a line out is found out at the end.

The text is in the field that it came from, or in ‹text› if a template or messages made it; a
conversation is edited in its messages. At the end of standard input the program must end with exit
status 0. A program that fails, hangs, or answers with anything else stops the run with an error that
names the document, or the first one without an answer, and the last lines of the program's standard
error; the run can be resumed.

Since a plan may come from someone else, ‹bzdata run› runs commands only with ‹--allow-exec›. The program gets
‹PATH›, ‹HOME› and ‹TMPDIR›, ‹LANG=C.UTF-8›, ‹BZDATA_SEED› (follows from the plan's seed), ‹PYTHONUNBUFFERED=1›
and ‹PYTHONHASHSEED=0›. It must answer the same to the same documents, or runs will differ. In Python:

    import json, sys
    for line in sys.stdin:
        doc = json.loads(line)
        keep = len(doc["text"].split()) >= 20
        print(json.dumps(doc) if keep else '{"drop": "short"}')

‹examples/exec› has the same for filters of datatrove.`),
		Example: `
exec:
  command: [python3, filter.py]
  version: "1"`,
		Takes: documentsOnly, Makes: documentsOnly,
		Default: Exec{AnswerSecondsMax: 300, AnswerBytesMax: 256 << 20},
		New:     func(c Exec) (pipeline.Program, error) { return c.program(), nil },
	}
}

// envName is the form of an environment variable's name.
var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Check reports commands that cannot be run.
func (c *Exec) Check(at *pipeline.Fields) {
	if len(c.Command) > 0 && c.Command[0] == "" {
		at.Errorf("command", "names no program")
	}
	if slices.ContainsFunc(c.Command, func(s string) bool { return strings.ContainsRune(s, 0) }) {
		at.Errorf("command", "holds a NUL byte; leave it out")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		value := c.Env[name]
		if !envName.MatchString(name) || strings.ContainsRune(value, 0) {
			at.Errorf("env", "%q is no name, or its value no value, of an environment variable", name)
		}
		if at.FromEnvironment("env." + name) {
			at.Errorf("env."+name, "would put a value of the environment into reports; add the variable's name to pass_env")
		}
	}
	for i, name := range c.PassEnv {
		if !envName.MatchString(name) {
			at.Errorf(fmt.Sprintf("pass_env[%d]", i), "%q is no name of an environment variable", name)
		}
	}
}

// Note shows the command that a run would start.
func (c Exec) Note() string {
	return fmt.Sprintf("runs %s once for each part of the input; a run needs --allow-exec", c.line())
}

// line is the command for people to read.
func (c Exec) line() string { return fmt.Sprintf("%q", c.Command) }

func (c Exec) program() pipeline.Program {
	return pipeline.Program{
		Executes: c.line(),
		Reads: func(*pipeline.Plan) []pipeline.Read {
			reads := []pipeline.Read{{Name: "files", Paths: c.Files}}
			for _, arg := range c.Command {
				if ext := filepath.Ext(arg); len(ext) > 1 && !strings.ContainsAny(arg, "*?[") && !strings.HasPrefix(arg, "-") {
					reads = append(reads, pipeline.Read{Name: "argument " + arg, Paths: []string{arg}, Optional: true})
				}
			}
			return reads
		},
		Passes: []pipeline.Pass{{Edits: true, Open: c.open, Config: func() any {
			c := c
			c.AnswerSecondsMax, c.AnswerBytesMax = 0, 0
			return c
		}}},
	}
}

// execMapper asks a program about documents.
type execMapper struct {
	ctx     context.Context
	program *coprocess
	// lines are gathered until they are worth a write. The two are used in turn: when the
	// program takes one, it is done with the one before.
	lines [2][]byte
	turn  int
	// Counts of documents: those seen, those of them in lines that the program was given, and
	// the answers that came.
	seen, asked, answered int

	answer []byte // to the document that is due
	failed error  // of the program, put down to the document that is due
	ended  bool   // the program has closed its output
	asking []byte // the line of the document that is due
	record store.Record
}

// linesBytes is how many bytes are gathered before they are written.
const linesBytes = 64 << 10

func (c Exec) open(ctx context.Context, t *pipeline.Task) (pipeline.Mapper, error) {
	p, err := startProcess(c, t.Plan.Dir(), t.Seed("program"))
	if err != nil {
		return nil, err
	}
	return &execMapper{ctx: ctx, program: p}, nil
}

// See asks about one document.
func (m *execMapper) See(d *pipeline.Doc, due func() error) error {
	lines := m.lines[m.turn]
	from := len(lines)
	lines = store.AppendFields(lines, d.ExportFields())
	if bytes.IndexByte(lines[from:], '\n') >= 0 {
		return errors.New("holds a line end outside of its texts, which the program could not read as one line")
	}
	m.lines[m.turn] = append(lines, '\n')
	m.seen++
	for len(m.lines[m.turn]) >= linesBytes {
		if err := m.step(due); err != nil {
			return err
		}
	}
	return nil
}

// step waits for the program to take lines or to answer, whichever is first.
func (m *execMapper) step(due func() error) error {
	answer, what, err := m.program.next(m.ctx, m.lines[m.turn])
	switch {
	case m.ctx.Err() != nil:
		return m.ctx.Err()
	case err != nil && m.answered == m.seen:
		return m.program.failure("%v after the last document", err)
	case err != nil:
		m.failed = m.program.failure("%v; it has answered %d documents", err, m.answered)
		return due()
	case what == tookLines:
		m.asked, m.turn = m.seen, 1-m.turn
		m.lines[m.turn] = m.lines[m.turn][:0]
		return nil
	case what == closedOutput && m.answered == m.seen:
		m.ended = true
		return nil
	case what == closedOutput:
		m.failed = m.program.died(m.ctx, m.answered)
		return due()
	case m.answered == m.asked:
		return m.program.failure("printed more lines than it was asked, %d, such as %s", m.asked, excerptOf(answer))
	}
	m.answered++
	m.answer = answer
	return due()
}

// End asks about the last documents, waits for all answers and sees the program to its end.
func (m *execMapper) End(due func() error) error {
	for len(m.lines[m.turn]) > 0 {
		if err := m.step(due); err != nil {
			return err
		}
	}
	m.program.closeInput()
	for !m.ended {
		if err := m.step(due); err != nil {
			return err
		}
	}
	return m.program.finish(m.ctx)
}

// Map does what the program answers about a document.
func (m *execMapper) Map(d *pipeline.Doc, out *pipeline.Out) error {
	if m.failed != nil {
		return m.failed
	}
	m.asking = store.AppendFields(m.asking[:0], d.ExportFields())
	if bytes.Equal(m.answer, m.asking) {
		return nil
	}
	return m.carryOut(m.answer, d, out)
}

// carryOut does what an answer says.
func (m *execMapper) carryOut(answer []byte, d *pipeline.Doc, out *pipeline.Out) error {
	if string(bytes.TrimSpace(answer)) == "null" {
		out.Drop("exec", 1)
		return nil
	}
	if err := store.Scan(answer, &m.record); err != nil {
		return m.program.failure("answered %s, which is neither a JSON object nor null (%v)", excerptOf(answer), err)
	}
	fields := make([]store.Field, len(m.record.Fields))
	for i, f := range m.record.Fields {
		key, err := store.Unquote(nil, f.Key)
		if err != nil {
			return m.program.failure("answered %s: %v", excerptOf(answer), err)
		}
		fields[i] = store.Field{Key: string(key), RawKey: f.Key, Value: f.Value} // the answer is the document's own
	}
	if len(fields) == 1 && fields[0].Key == "drop" {
		return m.drop(fields[0].Value, out)
	}
	before := d.Text
	if err := d.Replace(fields); err != nil {
		return m.program.failure("answered %s: %v", excerptOf(answer), err)
	}
	out.Edit("records", 1) // in other bytes, if only by a space
	if d.Text != before {
		out.Edit("documents", 1)
	}
	return nil
}

// reasonName is the form of a reason in the ledger.
var reasonName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

func (m *execMapper) drop(value []byte, out *pipeline.Out) error {
	reason, err := store.Unquote(nil, value)
	if err != nil || !reasonName.Match(reason) {
		return m.program.failure("drops for the reason %s; want a text of at most 64 lower-case letters, digits and _",
			excerptOf(value))
	}
	out.Drop(string(reason), 1)
	return nil
}

// Stop ends the program if it still runs.
func (m *execMapper) Stop() { m.program.stop() }

// excerptOf is the start of an answer, for people to read.
func excerptOf(answer []byte) string {
	const most = 120
	if len(answer) <= most {
		return fmt.Sprintf("%q", answer)
	}
	return fmt.Sprintf("%q… (%d bytes)", answer[:most], len(answer))
}
