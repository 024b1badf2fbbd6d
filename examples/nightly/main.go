// Command nightly makes ten days of documents that overlap within and between days, runs
// exact_dedup and minhash with a kept index on one day after the other, and once over all days.
//
//	nightly BZDATA DIR [DOCUMENTS]
//
// It prints whether the days give what the one run gives, how long the last day takes against
// the first, and whether day 5 gives the same when it is run again after day 10.
package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const days = 10

const plan = `name: nightly
input: [INPUT]
stages:
  - exact_dedup: {EXACT}
  - minhash: {verify: 0.8, keep: first NEAR}
  - export: {format: jsonl}
`

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "nightly:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) < 3 {
		return fmt.Errorf("want BZDATA DIR [DOCUMENTS]")
	}
	program, dir, documents := os.Args[1], os.Args[2], 100_000
	if len(os.Args) > 3 {
		n, err := strconv.Atoi(os.Args[3])
		if err != nil {
			return err
		}
		documents = n
	}
	if err := makeDays(dir, documents); err != nil {
		return err
	}
	var inputs, nightly []string
	var took [days]time.Duration
	var fifth []string
	for day := range days {
		inputs = append(inputs, input(day))
		lines, t, err := night(program, dir, fmt.Sprintf("day%02d", day+1), day)
		if err != nil {
			return err
		}
		nightly, took[day] = append(nightly, lines...), t
		if day == 4 {
			fifth = lines
		}
	}
	all, _, err := one(program, dir, "all", strings.Join(inputs, ", "), "", "")
	if err != nil {
		return err
	}
	again, _, err := night(program, dir, "again", 4)
	if err != nil {
		return err
	}
	slices.Sort(nightly)
	slices.Sort(all)
	first, last := took[0].Seconds(), took[days-1].Seconds()
	fmt.Printf("%d documents stay of %d; day by day as in one run: %v\n", len(all), days*documents, slices.Equal(all, nightly))
	fmt.Printf("day 1 %.2f s, day 10 %.2f s: %.2f times\n", first, last, last/first)
	fmt.Printf("day 5 again after day 10 gives the same: %v\n", slices.Equal(again, fifth))
	return nil
}

func input(day int) string {
	return fmt.Sprintf("{path: days/%02d.jsonl, source: day%02d}", day+1, day+1)
}

func night(program, dir, name string, day int) ([]string, time.Duration, error) {
	index := fmt.Sprintf("index: {dir: state, generation: day%d}", day+1)
	return one(program, dir, name, input(day), index, ", "+index)
}

// one runs a plan and returns what it exports.
func one(program, dir, name, input, exact, near string) ([]string, time.Duration, error) {
	text := strings.NewReplacer("INPUT", input, "EXACT", exact, "NEAR", near).Replace(plan)
	file := filepath.Join(dir, name+".yaml")
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		return nil, 0, err
	}
	started := time.Now()
	workdir := filepath.Join(dir, "runs", name)
	if out, err := exec.Command(program, "run", file, "--workdir", workdir, "--progress", "none").CombinedOutput(); err != nil {
		return nil, 0, fmt.Errorf("%w: %s", err, out)
	}
	took := time.Since(started)
	files, err := filepath.Glob(filepath.Join(workdir, "out", "data", "data", "*"))
	var lines []string
	for _, f := range files {
		data, readErr := os.ReadFile(f)
		if readErr != nil {
			return nil, 0, readErr
		}
		lines = append(lines, strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")...)
	}
	return lines, took, err
}

// makeDays writes the documents: seven of ten are new, the others repeat one of any day so far
// with up to four words changed.
func makeDays(dir string, documents int) error {
	rng := rand.New(rand.NewPCG(1, 2))
	if err := os.MkdirAll(filepath.Join(dir, "days"), 0o777); err != nil {
		return err
	}
	var all [][]uint32
	for day := range days {
		f, err := os.Create(filepath.Join(dir, "days", fmt.Sprintf("%02d.jsonl", day+1)))
		if err != nil {
			return err
		}
		w := bufio.NewWriter(f)
		for range documents {
			all = append(all, draw(rng, all))
			writeDocument(w, all[len(all)-1])
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

func draw(rng *rand.Rand, all [][]uint32) []uint32 {
	if len(all) > 0 && rng.IntN(10) < 3 {
		words := slices.Clone(all[rng.IntN(len(all))])
		for range rng.IntN(5) {
			words[rng.IntN(len(words))] = rng.Uint32N(30_000)
		}
		return words
	}
	words := make([]uint32, 40+rng.IntN(80))
	for i := range words {
		words[i] = rng.Uint32N(30_000)
	}
	return words
}

func writeDocument(w *bufio.Writer, words []uint32) {
	_, _ = w.WriteString(`{"text":"`) // the writer keeps its error for Flush
	for _, word := range words {
		_, _ = w.WriteString("w" + strconv.FormatUint(uint64(word), 36) + " ")
	}
	_, _ = w.WriteString("\"}\n")
}
