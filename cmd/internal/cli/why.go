package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"bzdata/pipeline"
	"bzdata/pipeline/store"

	"github.com/spf13/cobra"
)

func newWhy(env *environment) *cobra.Command {
	var text, jsonFile string
	cmd := &cobra.Command{
		Use:   "why RUN (FILE:ROW | FIELD=VALUE | --text SUBSTRING)",
		Short: "Tell what became of a document, and why",
		Long: `Why follows documents through a finished or interrupted run: which stages kept them, which one
dropped them, for what reason and measured value, and which document they matched. RUN is the
work directory. ROW counts records from 0, as the drop log does; FILE is a file's path as the run
names it, SOURCE:PATH, its path on the disk, or as much of the end of that as tells it from others.
Dropped documents are found by FILE:ROW, by their fields or text only if they were dropped behind
other stages, or the plan says keep_dropped: true.

` + exitStatus(exitDone, exitFailed, exitUsage),
		Args: func(cmd *cobra.Command, args []string) error {
			if want := map[bool]int{true: 1, false: 2}[text != ""]; len(args) != want {
				return &flagError{errors.New("why wants RUN and one of FILE:ROW, FIELD=VALUE and --text; " +
					"see bzdata why --help")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			q := query{said: fmt.Sprintf("--text %q", text),
				match: func(d *pipeline.Doc) bool { return strings.Contains(d.Text, text) }}
			if text == "" {
				var err error
				if q, err = parseQuery(args[1]); err != nil {
					return err
				}
			}
			if err := checkOutput("--json", jsonFile); err != nil {
				return err
			}
			return why(cmd.Context(), env, args[0], q, jsonFile)
		},
	}
	cmd.Flags().StringVar(&text, "text", "", "find documents whose text holds this `SUBSTRING`")
	cmd.Flags().StringVar(&jsonFile, "json", "", "write the answer as JSON to this `FILE`; - is standard output")
	return cmd
}

// query says which documents are asked for.
type query struct {
	said  string // on the command line
	file  string // of FILE:ROW
	row   uint64
	match func(d *pipeline.Doc) bool // nil for FILE:ROW
}

// parseQuery reads FILE:ROW or FIELD=VALUE.
func parseQuery(said string) (query, error) {
	i := strings.LastIndexByte(said, ':')
	row, err := strconv.ParseUint(said[i+1:], 10, 64)
	if i > 0 && err == nil {
		return query{said: said, file: said[:i], row: row}, nil
	}
	if field, value, ok := strings.Cut(said, "="); ok && field != "" {
		return query{said: said, match: func(d *pipeline.Doc) bool { return hasField(d, field, value) }}, nil
	}
	return query{}, &flagError{fmt.Errorf("%q is neither FILE:ROW, such as a.jsonl:7, nor FIELD=VALUE", said)}
}

func hasField(d *pipeline.Doc, field, value string) bool {
	for _, f := range d.Fields {
		if f.Key == field {
			if text, err := store.Unquote(nil, f.Value); err == nil {
				return string(text) == value
			}
			return string(f.Value) == value
		}
	}
	return false
}

func why(ctx context.Context, env *environment, workdir string, q query, jsonFile string) error {
	if q.file != "" {
		files, err := filesRead(workdir)
		if err != nil {
			return err
		}
		q.match = isRowOf(namedFiles(files, q.file), q.row)
	}
	fates, more, err := pipeline.Why(ctx, store.OS(), workdir, q.match)
	if err != nil {
		return err
	}
	if len(fates) == 0 {
		return notFound(workdir, q)
	}
	if jsonFile != "" {
		return writeJSON(env, jsonFile, indented(fates))
	}
	for _, f := range fates {
		writeFate(env.stdout, f)
	}
	if more {
		fmt.Fprintf(env.stdout, "… and more; narrow the search\n")
	}
	return nil
}

// filesShown bounds how many files an error lists.
const filesShown = 5

// notFound says why there may be no answer.
func notFound(workdir string, q query) error {
	usage := func(format string, args ...any) error {
		hint := fmt.Sprintf(format, args...)
		return &pipeline.UsageError{Msg: "no document of the run matches " + q.said + "; " + hint}
	}
	if q.file == "" {
		return usage("documents that were dropped are found by FILE:ROW, or if the plan says keep_dropped: true")
	}
	all, err := filesRead(workdir)
	if err != nil {
		return err
	}
	var names []string
	if named := namedFiles(all, q.file); len(named) > 0 {
		return usage("%s has %d records, counted from 0", named[0].Source+":"+named[0].Path, named[0].Records)
	}
	for _, in := range all {
		names = append(names, in.Source+":"+in.Path)
	}
	if n := len(names) - filesShown; n > 0 {
		names = append(names[:filesShown], fmt.Sprintf("%d more", n))
	}
	return usage("the run has read %s", strings.Join(names, ", "))
}

func writeFate(w io.Writer, f pipeline.Fate) {
	fmt.Fprintf(w, "%s: %s", f.Name, f.Outcome)
	if f.Stage != "" {
		fmt.Fprintf(w, " by %s: %s", f.Stage, f.Reason)
	}
	if f.Value != "" {
		fmt.Fprintf(w, " (%s)", f.Value)
	}
	fmt.Fprintln(w)
	for _, line := range [][2]string{{"matched", f.Matched}, {"detail", f.Detail},
		{"passed", strings.Join(f.Passed, ", ")}, {"copies", strings.Join(f.Copies, ", ")},
		{"text", strings.Join(strings.Fields(f.Text), " ")}} {
		if line[1] != "" {
			fmt.Fprintf(w, "  %-8s %s\n", line[0], line[1])
		}
	}
}
