package stages_test

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// TestMinHashWithLittleMemory groups in memory that is ample, that sorting exceeds, and that
// grouping exceeds, too, with documents of against and without: the results are the same, down
// to the file of groups.
func TestMinHashWithLittleMemory(t *testing.T) {
	docs := nearCorpus(t, 3, 3000)
	dir := t.TempDir()
	writeNear(t, dir, docs)
	jsonl(t, filepath.Join(dir, "b.jsonl"), docs[3].text, docs[1500].text, docs[10].text)
	for _, step := range []string{"{verify: 0.7, keep: longest}", "{verify: 0.7, rows: 2, against: [{path: b.jsonl}]}"} {
		plan := parse(t, dir, strings.Replace(nearPlan, "{verify: 0.7, keep: %s}", step, 1))
		var want map[string]string
		for _, c := range []struct {
			bytes  int64
			onDisk bool
		}{{512 << 20, false}, {2 << 20, false}, {20_000, true}} {
			opt := options(dir)
			opt.MemoryBytes, opt.Workdir = c.bytes, filepath.Join(dir, fmt.Sprint("run", c.bytes, len(step)))
			got := outTree(t, plan, opt)
			got["groups"] = groupsFile(t, opt)
			if want == nil {
				want = got
			}
			sameTree(t, fmt.Sprintf("%s in %d bytes", step, c.bytes), got, want)
			if figure := candidatesFigure(t, plan, opt); strings.Contains(figure, "grouped on disk in ") != c.onDisk {
				t.Errorf("in %d bytes: %s", c.bytes, figure)
			}
		}
		if len(want["groups"]) < 16*1000 {
			t.Errorf("%s: only %d bytes of candidates", step, len(want["groups"]))
		}
	}
}

// groupsFile is the content of the only file of groups that a run left.
func groupsFile(t *testing.T, opt pipeline.Options) (content string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(opt.Workdir, "stages"), func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "groups" {
			data, err := store.ReadAll(opt.FS, name)
			if content != "" {
				t.Error("there are several files of groups")
			}
			content = string(data)
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// candidatesFigure is what a finished run says about candidates.
func candidatesFigure(t *testing.T, plan *pipeline.Plan, opt pipeline.Options) string {
	t.Helper()
	res, err := pipeline.Run(t.Context(), plan, opt)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range must(res.Stage("minhash")).Summary {
		if f.Name == "candidates" {
			return f.Value
		}
	}
	t.Fatal("no figure about candidates")
	return ""
}
