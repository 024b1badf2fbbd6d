package stages_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline"

	"github.com/parquet-go/parquet-go"
)

// TestColumnsAreWhatGoesOn reads Parquet and JSONL of the same records with columns: the
// others are not in the output, and asking for other columns is another task.
func TestColumnsAreWhatGoesOn(t *testing.T) {
	type row struct {
		ID       int64   `parquet:"id"`
		Question string  `parquet:"question"`
		Answer   string  `parquet:"answer"`
		Vector   []int32 `parquet:"vector,list"`
	}
	var rows []row
	var lines, want []string
	for i := range 20 {
		r := row{int64(i), fmt.Sprintf("question %d", i), fmt.Sprintf("answer %d", i), []int32{1, int32(i)}}
		rows = append(rows, r)
		lines = append(lines, fmt.Sprintf(`{"id":%d,"question":"%s","answer":"%s","vector":[1,%d]}`, i, r.Question, r.Answer, i))
		want = append(want, fmt.Sprintf(`{"id":%d,"question":"%s","answer":"%s","text":"%s=%s"}`, i, r.Question, r.Answer, r.Question, r.Answer))
	}
	var b bytes.Buffer
	if err := parquet.Write(&b, rows); err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	for name, data := range map[string]string{"in.parquet": b.String(), "in.jsonl": strings.Join(lines, "\n")} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, name), data)
		opt := options(dir)
		plan := func(columns string) string {
			return "name: p\ninput:\n  - {path: " + name + ", template: '{{question}}={{answer}}'" + columns +
				"}\nstages:\n  - export: {format: jsonl}\n"
		}
		run(t, dir, plan(", columns: [id]"), opt)
		if got := exportedLines(t, opt); !slices.Equal(got, want) {
			t.Errorf("%s: exported\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		run(t, dir, plan(""), opt)
		if got := exportedLines(t, opt); !strings.Contains(got[0], `"vector":`) {
			t.Errorf("%s: without columns: %s", name, got[0])
		}
	}
}

// TestColumnThatIsNotThere is the plan's mistake, not the file's.
func TestColumnThatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	var b bytes.Buffer
	if err := parquet.Write(&b, []struct {
		Text string `parquet:"text"`
	}{{"a text"}}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "in.parquet"), b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	plan := parse(t, dir, "name: p\ninput: [{path: in.parquet, columns: [url]}]\nstages: [{export: {}}]\n")
	_, err := pipeline.Run(context.Background(), plan, options(dir))
	var usage *pipeline.UsageError
	if !errors.As(err, &usage) || !strings.HasSuffix(usage.Msg, `in.parquet: there is no column "url"; the file has "text"`) {
		t.Errorf("%v", err)
	}
}
