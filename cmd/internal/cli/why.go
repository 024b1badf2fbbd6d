package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
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
work directory. ROW counts records from 0, as the drop log does; FILE may be the end of a path.

` + exitStatus(exitDone, exitFailed, exitUsage),
		Args: func(cmd *cobra.Command, args []string) error {
			if want := map[bool]int{true: 1, false: 2}[text != ""]; len(args) != want {
				return &flagError{fmt.Errorf("bzdata why wants RUN and one of FILE:ROW, FIELD=VALUE and --text")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			match := func(d *pipeline.Doc) bool { return strings.Contains(d.Text, text) }
			if text == "" {
				var err error
				if match, err = matcher(args[1]); err != nil {
					return err
				}
			}
			return why(cmd.Context(), env, args[0], match, jsonFile)
		},
	}
	cmd.Flags().StringVar(&text, "text", "", "find documents whose text holds this")
	cmd.Flags().StringVar(&jsonFile, "json", "", "write the answer as JSON to this file; - is standard output")
	return cmd
}

// matcher reads FILE:ROW or FIELD=VALUE.
func matcher(query string) (func(d *pipeline.Doc) bool, error) {
	if field, value, ok := strings.Cut(query, "="); ok {
		return func(d *pipeline.Doc) bool { return hasField(d, field, value) }, nil
	}
	i := strings.LastIndexByte(query, ':')
	row, err := strconv.ParseUint(query[i+1:], 10, 64)
	if i <= 0 || err != nil {
		return nil, &flagError{fmt.Errorf("%q is neither FILE:ROW nor FIELD=VALUE", query)}
	}
	file := query[:i]
	if j := strings.LastIndexByte(file, ':'); j >= 0 {
		file = file[j+1:] // source:path:row, as reports write it
	}
	return func(d *pipeline.Doc) bool {
		same := d.Path == file || path.Base(d.Path) == file || strings.HasSuffix(file, "/"+d.Path)
		return same && d.Ref.Record == row
	}, nil
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

func why(ctx context.Context, env *environment, workdir string, match func(*pipeline.Doc) bool, jsonFile string) error {
	fates, more, err := pipeline.Why(ctx, store.OS(), workdir, match)
	if err != nil {
		return err
	}
	if len(fates) == 0 {
		return &pipeline.UsageError{Msg: "no document of the run matches; documents that were dropped are found " +
			"by FILE:ROW, and by text if the plan says keep_dropped: true"}
	}
	if jsonFile != "" {
		return writeJSON(env, jsonFile, func(w io.Writer) error {
			e := json.NewEncoder(w)
			e.SetIndent("", " ")
			return e.Encode(fates)
		})
	}
	for _, f := range fates {
		writeFate(env.stdout, f)
	}
	if more {
		fmt.Fprintf(env.stdout, "… and more; narrow the search\n")
	}
	return nil
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
