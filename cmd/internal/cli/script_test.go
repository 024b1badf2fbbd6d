package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
	"bzdata/pipeline/store/remote/remotetest"
	"bzdata/train/tensor/cuda/cudatest"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs testdata/script. Beside testscript's own commands there are
//
//	exits CODE PROGRAM ARGS…   run it, and want this exit code
//	lines FILE N               a file, stdout or stderr has N lines
//	corpus FILE                write the small corpus of [corpus]
//	base DIR                   write a tiny base model
//	card DIR                   put the libraries that stand in for a card's there, and use them
//	hold DIR                   hold a work directory until the script ends
//	flip FILE                  change one byte in the middle of a file
//	hub OWNER/NAME DIR         serve a folder as a data set of the hub until the script ends
//	pages                      serve rows of Subnet 9's data sets as the hub does until the script ends
//	same FILE FILE             two files have the same bytes, or with ! have not
func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": scriptExits, "lines": scriptLines, "corpus": scriptCorpus, "base": scriptBase,
			"card": scriptCard, "hold": scriptHold, "flip": scriptFlip, "hub": scriptHub, "same": scriptSame,
			"pages": scriptPages,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS…")
	}
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if want := args[0]; strconv.Itoa(code) != want {
		ts.Fatalf("exit code %d, want %s", code, want)
	}
}

func scriptLines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: lines FILE N")
	}
	text := ts.ReadFile(args[0])
	n, whole := strings.Count(text, "\n"), text == "" || strings.HasSuffix(text, "\n")
	if strconv.Itoa(n) != args[1] || !whole {
		ts.Fatalf("%s has %d lines, want %s:\n%s", args[0], n, args[1], text)
	}
}

func scriptCorpus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: corpus FILE")
	}
	name := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Dir(name), 0o777))
	ts.Check(os.WriteFile(name, []byte(corpus()), 0o666))
}

// corpus has 200 clean rows, d0 to d199, and a fault of each kind: row 200 is a copy of
// row 3, row 201 a near copy of row 5, row 202 too short, row 203 no JSON.
func corpus() string {
	rng := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields(`the of a to in and market river stone when child people would bring light over under
		morning because window great small year found where quick brown garden winter letter house that with have`)
	var b strings.Builder
	var texts []string
	row := func(id, text string) { fmt.Fprintf(&b, "{\"id\":%q,\"text\":%q}\n", id, text) }
	for i := range 200 {
		var text []string
		for j := range 96 {
			word := words[rng.IntN(len(words))]
			if j%12 == 11 {
				word += "."
			}
			text = append(text, word)
		}
		texts = append(texts, strings.Join(text, " "))
		row(fmt.Sprintf("d%d", i), texts[i])
	}
	row("copy", texts[3])
	row("near", texts[5]+" zebra")
	row("short", "too short")
	b.WriteString("{\"id\":\"bad\",\"text\":\"cut\n")
	return b.String()
}

func scriptCard(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: card DIR")
	}
	dir, err := cudatest.Build(filepath.Join(root, "train/tensor/cuda/fake"))
	ts.Check(err)
	ts.Check(os.Symlink(dir, ts.MkAbs(args[0])))
	ts.Setenv("BZDATA_CUDA_PATH", ts.MkAbs(args[0]))
	ts.Setenv("XDG_CACHE_HOME", cudatest.Kernels(dir))
}

func scriptHold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hold DIR")
	}
	lock, err := pipeline.Acquire(context.Background(), store.OS(), ts.MkAbs(args[0]), 0)
	ts.Check(err)
	ts.Defer(func() { ts.Check(lock.Release()) })
}

func scriptFlip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: flip FILE")
	}
	name := globbed(ts, args[0])
	data, err := os.ReadFile(name)
	ts.Check(err)
	data[len(data)/2] ^= 1
	ts.Check(os.WriteFile(name, data, 0o666))
}

func scriptHub(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: hub OWNER/NAME DIR")
	}
	dir, files := ts.MkAbs(args[1]), map[string][]byte{}
	ts.Check(filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err == nil {
			files[filepath.ToSlash(rel)], err = os.ReadFile(name)
		}
		return err
	}))
	hub := remotetest.NewHub(args[0], files)
	ts.Defer(hub.Close)
	for name, value := range map[string]string{"HF_ENDPOINT": hub.URL, "HF_HOME": ts.MkAbs("hf"), "HF_TOKEN": "", "HF_HUB_CACHE": "",
		"HF_HUB_OFFLINE": ""} {
		ts.Setenv(name, value)
	}
}

func scriptPages(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: pages")
	}
	split := func(config string, rows int64) remotetest.ViewerSplit {
		return remotetest.ViewerSplit{Config: config, Split: "train", Rows: rows}
	}
	viewer := remotetest.NewViewer(map[string][]remotetest.ViewerSplit{
		"HuggingFaceFW/fineweb":             {split("CC-MAIN-2013-20", 3000), split("sample-10BT", 1000)},
		"HuggingFaceFW/fineweb-edu-score-2": {split("CC-MAIN-2024-10", 2000)},
		"laion/Pes2oX-fulltext":             {split("pes2ov2", 8242000)},
		"HuggingFaceTB/finemath":            {split("finemath-3plus", 21400000), split("infiwebmath-3plus", 13900000)},
	}, func(dataset, config string, row int64) string {
		return fmt.Sprintf("the market of %s has %d stones in row %d and the river brings %d more", config, row%90, row%977, row%13)
	})
	ts.Defer(viewer.Close)
	for name, value := range map[string]string{"HF_ENDPOINT": viewer.URL, "HF_HOME": ts.MkAbs("hf"), "HF_TOKEN": "",
		"HF_HUB_OFFLINE": ""} {
		ts.Setenv(name, value)
	}
}

func scriptSame(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: same FILE FILE")
	}
	if same := ts.ReadFile(args[0]) == ts.ReadFile(args[1]); same == neg {
		ts.Fatalf("%s and %s: same bytes is %v", args[0], args[1], same)
	}
}

// globbed is the one file that a pattern matches.
func globbed(ts *testscript.TestScript, pattern string) string {
	names, err := filepath.Glob(ts.MkAbs(pattern))
	ts.Check(err)
	if len(names) != 1 {
		ts.Fatalf("%s matches %d files, want 1", pattern, len(names))
	}
	return names[0]
}
