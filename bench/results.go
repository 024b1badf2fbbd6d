package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"bzdata/pipeline/store"
)

// section is what a claim found.
type section struct {
	title string
	// about says what is compared with what, and on which corpus; a paragraph each.
	about  []string
	groups []group
	found  []comparison
	notes  []string // what came out: rows kept, copies found
}

// group is contenders that did the same work on the same input.
type group struct {
	title      string
	bytes      int64 // of the input, by which speeds are stated; 0 states none
	contenders []*contender
}

// comparison is a ratio of two contenders.
type comparison struct {
	what        string
	over, under *contender
	// value is what is divided, of both; overValue, if set, is that of the contender above.
	value, overValue func(sample) float64
	bar              float64 // the least ratio to show, or 0
}

// spread returns the ratios of all rounds.
func (c comparison) spread() spread {
	value := c.overValue
	if value == nil {
		value = c.value
	}
	return spreadOf(ratios(c.over.of(value), c.under.of(c.value)))
}

// verdict says whether the bar is reached.
func (c comparison) verdict() string {
	s := c.spread()
	switch {
	case s.n == 0:
		return "not measured"
	case c.bar == 0:
		return ""
	case s.median >= c.bar:
		return "reached"
	}
	return "**missed**"
}

// render writes the section as Markdown.
func (s *section) render(name, command string, machine []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n    %s\n\n", s.title, command)
	for _, line := range machine {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	for _, p := range s.about {
		fmt.Fprintf(&b, "\n%s\n", p)
	}
	for _, g := range s.groups {
		g.render(&b)
	}
	b.WriteString("\n| ratio | median (least … greatest) | bar | |\n| --- | --- | --- | --- |\n")
	for _, c := range s.found {
		bar := ""
		if c.bar > 0 {
			bar = digitsOfBar(c.bar)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", c.what, c.spread(), bar, c.verdict())
	}
	if len(s.notes) > 0 {
		b.WriteByte('\n')
	}
	for _, n := range s.notes {
		fmt.Fprintf(&b, "- %s\n", n)
	}
	return strings.TrimRight(b.String(), "\n")
}

func digitsOfBar(bar float64) string {
	return "≥ " + strings.TrimRight(strings.TrimRight(digits(bar), "0"), ".")
}

// render writes the measurements of a group.
func (g group) render(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s\n\n| contender | cores | wall s | processor s | of it start-up | MB for a processor second | "+
		"peak MiB | kept |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n", g.title)
	for _, c := range g.contenders {
		if len(c.runs) == 0 {
			fmt.Fprintf(b, "| %s | %d | not measured: %s | | | | | |\n", c.name, c.cores, strings.ReplaceAll(c.why, "|", "/"))
			continue
		}
		last := c.runs[len(c.runs)-1].said
		title := c.name
		if last.Version != "" {
			title += " (" + last.Version + ")"
		}
		kept, speed := "", ""
		if last.Kept > 0 {
			kept = count(last.Kept)
		}
		if g.bytes > 0 {
			speed = digits(float64(g.bytes) / 1e6 / spreadOf(c.of(workOf)).median)
		}
		rss := spreadOf(c.of(func(s sample) float64 { return float64(s.rss) / (1 << 20) })).median
		fmt.Fprintf(b, "| %s | %d | %s | %s | %s | %s | %.0f | %s |\n", title, c.cores, digits(spreadOf(c.of(wallOf)).median),
			digits(spreadOf(c.of(cpuOf)).median), digits(last.Startup), speed, rss, kept)
	}
}

const resultsHead = `# Results

Written by the commands of this folder; see [README.md](README.md) for how they measure. A ratio is
the other's time divided by bzdata's unless its line says otherwise, so more is better for bzdata.
Absolute times are those of the machine named, and of what else it did at the time: trust the ratios.
`

// record replaces the section of a claim in the file of results, or adds it in the order
// of the claims.
func (b *bench) record(name, text string) error {
	old, err := os.ReadFile(b.results)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var order []string
	for _, c := range claims() {
		order = append(order, c.name)
	}
	return store.WriteBytes(store.OS(), b.results, []byte(replaceSection(string(old), name, text, order)))
}

// replaceSection returns a file of results with one section replaced. Sections stand
// between comments that name them; those of no known name are dropped.
func replaceSection(old, name, text string, order []string) string {
	sections := map[string]string{}
	marks := regexp.MustCompile(`(?s)<!-- begin (\w+) -->\n(.*?)\n<!-- end -->`)
	for _, m := range marks.FindAllStringSubmatch(old, -1) {
		sections[m[1]] = m[2]
	}
	sections[name] = text
	var out strings.Builder
	out.WriteString(resultsHead)
	for _, n := range order {
		if sections[n] != "" {
			fmt.Fprintf(&out, "\n<!-- begin %s -->\n%s\n<!-- end -->\n", n, sections[n])
		}
	}
	return out.String()
}

// machine says what was measured on what, and how busy that was before and after.
func (b *bench) machine(ctx context.Context, loadBefore string) []string {
	model := "unknown processor"
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	out := []string{
		fmt.Sprintf("%s, %d cores, %s/%s, %s", model, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version()),
		time.Now().UTC().Format(time.DateOnly),
		b.version(ctx),
	}
	if pin(1) == nil {
		out = append(out, "taskset is missing: nothing was pinned to a core")
	}
	if loadBefore != "" {
		out = append(out, fmt.Sprintf("load average of the last minute: %s before, %s after (this program itself makes about 1)",
			loadBefore, loadAverage()))
	}
	return out
}

// version says which build of bzdata was measured, and from which commit if that is known.
func (b *bench) version(ctx context.Context) string {
	version, err := exec.CommandContext(ctx, b.bzdata, "version").Output()
	if err != nil {
		return "bzdata of unknown version"
	}
	out := oneLine(string(version))
	commit, err := exec.CommandContext(ctx, "git", "-C", filepath.Dir(b.bzdata), "describe", "--always", "--dirty").Output()
	if err == nil {
		out += ", commit " + oneLine(string(commit))
	}
	return out
}

// loadAverage returns the system's load of the last minute, or "".
func loadAverage() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	return strings.Fields(string(data) + " ")[0]
}
