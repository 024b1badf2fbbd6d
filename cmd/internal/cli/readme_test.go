package cli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bzdata/stages"
)

var update = flag.Bool("update", false, "rewrite the tables in README.md that the program knows")

// root is the module's folder, as seen from this package's tests.
const root = "../../.."

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestReadmeCommands runs the lines of README.md's blocks of shell in their order, where
// bin/bzdata is this program and data/ holds the small corpus. Lines that call make are
// only looked up in the Makefile.
func TestReadmeCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	dir := t.TempDir()
	program, err := exec.LookPath("bzdata")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := filepath.Abs(filepath.Join(root, "examples"))
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"bin", "data"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"bin/bzdata": program, "examples": examples} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "data", "a.jsonl"), []byte(corpus()), 0o666); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(readme(t), -1) {
		for _, line := range strings.Split(strings.TrimSpace(block[1]), "\n") {
			if strings.HasPrefix(line, "make") {
				continue
			}
			cmd := exec.Command("sh", "-c", line)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", line, err, out)
			}
			ran++
		}
	}
	if ran < 4 {
		t.Errorf("README.md has %d lines of shell to run, expected are at least 4", ran)
	}
}

// TestReadmeTargets looks every make target that README.md names up in the Makefile.
func TestReadmeTargets(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("make is not installed")
	}
	names := regexp.MustCompile("(?m)(?:^|`)make(?:\\s+([a-z0-9-]+))?").FindAllStringSubmatch(readme(t), -1)
	if len(names) < 5 {
		t.Fatalf("found only %q", names)
	}
	for _, m := range names {
		target := m[1]
		if target == "" {
			target = "help"
		}
		out, err := exec.Command("make", "-n", "-C", root, target).CombinedOutput()
		if err != nil {
			t.Errorf("make %s: %v\n%s", target, err, out)
		}
	}
}

// TestReadmeTables compares the tables of stages, commands and exit codes with the
// program; -update rewrites them.
func TestReadmeTables(t *testing.T) {
	text := readme(t)
	for _, table := range [][]string{stageTable(), commandTable(), exitTable()} {
		from := strings.Index(text, table[0]+"\n")
		if from < 0 {
			t.Errorf("README.md has no table with the head %s", table[0])
			continue
		}
		to := strings.Index(text[from:], "\n\n")
		want := strings.Join(table, "\n")
		if got := text[from : from+to]; got != want {
			if !*update {
				t.Errorf("README.md is stale; go test ./cmd/internal/cli -run TestReadmeTables -update "+
					"rewrites it\ngot:\n%s\nwant:\n%s", got, want)
			}
			text = text[:from] + want + text[from+to:]
		}
	}
	if *update && text != readme(t) {
		if err := os.WriteFile(filepath.Join(root, "README.md"), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func stageTable() []string {
	rows := []string{"| stage | what it does |", "| --- | --- |"}
	for _, k := range stages.All().Kinds() {
		rows = append(rows, fmt.Sprintf("| `%s` | %s |", k.Name, k.Summary))
	}
	return rows
}

func commandTable() []string {
	rows := []string{"| command | what it does |", "| --- | --- |"}
	for _, g := range commands(&environment{}) {
		for _, c := range g.commands {
			use := strings.ReplaceAll("bzdata "+c.Use, "|", `\|`)
			rows = append(rows, fmt.Sprintf("| `%s` | %s |", use, c.Short))
		}
	}
	return rows
}

func exitTable() []string {
	rows := []string{"| exit code | meaning |", "| --- | --- |"}
	for _, e := range exits() {
		rows = append(rows, fmt.Sprintf("| %s | %s |", e.shown, e.text))
	}
	return rows
}

// TestReadmeModules compares the table of modules with the direct requirements of go.mod.
func TestReadmeModules(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	var required, listed []string
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllSubmatch(mod, -1) {
		required = append(required, shortModule(string(m[1])))
	}
	_, table, ok := strings.Cut(readme(t), "\n| module | why |\n| --- | --- |\n")
	if !ok {
		t.Fatal("README.md has no table of modules")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	for _, row := range strings.Split(table, "\n") {
		for _, m := range strings.Split(strings.Split(row, "|")[1], ",") {
			listed = append(listed, strings.TrimSpace(m))
		}
	}
	slices.Sort(required)
	slices.Sort(listed)
	if !slices.Equal(required, listed) {
		t.Errorf("README.md lists %q\ngo.mod requires %q", listed, required)
	}
	if bytes.Contains(mod, []byte("\nreplace ")) {
		t.Error("go.mod replaces modules")
	}
}

// shortModule is a module's name without its usual host and its major version.
func shortModule(path string) string {
	return regexp.MustCompile(`/v\d+$`).ReplaceAllString(strings.TrimPrefix(path, "github.com/"), "")
}
