package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// bench is what all claims need.
type bench struct {
	bzdata   string // the program
	work     string // scratch, kept between calls
	venv     string // virtual environments
	results  string // the file of results
	command  string // how this was called, for the results
	rounds   int
	small    int    // rows of the corpus for slow peers
	large    int    // rows for fast ones
	text     string // what is tokenized, if not the sample
	progress io.Writer

	environments map[string]environment
}

// claim is one thing to show.
type claim struct {
	name    string
	measure func(context.Context, *bench) (*section, error)
}

// claims returns all claims in the order of the results.
func claims() []claim {
	return []claim{
		{"jsonl", measureJSONL},
		{"quality", measureQuality},
		{"minhash", measureMinHash},
		{"exact", measureExact},
		{"parquet", measureParquet},
		{"models", measureModels},
		{"train", measureTrain},
		{"tokens", measureTokens},
	}
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 0 && args[0] == "worker" {
		return runWorker(args[1:])
	}
	b := &bench{progress: os.Stderr, environments: map[string]environment{}}
	names, err := b.flags(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, c := range claims() {
		if !names[c.name] {
			continue
		}
		fmt.Fprintf(b.progress, "== %s\n", c.name)
		before := loadAverage()
		s, err := c.measure(ctx, b)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		text := s.render(c.name, b.command+" "+c.name, b.machine(ctx, before))
		if _, err := fmt.Println(text); err != nil {
			return err
		}
		if err := b.record(c.name, text); err != nil {
			return err
		}
	}
	return nil
}

// flags reads the command line and returns the claims that it names.
func (b *bench) flags(args []string) (map[string]bool, error) {
	var all []string
	for _, c := range claims() {
		all = append(all, c.name)
	}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "usage: bench [flags] %s | all\n", strings.Join(all, " | "))
		fs.PrintDefaults()
	}
	fs.StringVar(&b.bzdata, "bzdata", "../bin/bzdata", "the program to measure")
	fs.StringVar(&b.work, "work", ".work", "folder for corpora and outputs, kept for the next call")
	fs.StringVar(&b.venv, "venv", ".venv", "folder for the virtual environments of peers, kept for the next call")
	fs.StringVar(&b.results, "results", "RESULTS.md", "file in which the claim's section is replaced")
	fs.IntVar(&b.rounds, "rounds", 3, "times that every contender runs")
	fs.IntVar(&b.small, "small", 10_000, "rows of the corpus for peers below 1 MB/s")
	fs.IntVar(&b.large, "large", 200_000, "rows of the corpus for the others")
	fs.StringVar(&b.text, "text", "", "JSONL `file` with a field text, for tokens in place of the sample")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	b.command = "go run ."
	fs.Visit(func(f *flag.Flag) { // places are the machine's own, and change no figure
		if f.Name == "rounds" || f.Name == "small" || f.Name == "large" {
			b.command += " -" + f.Name + " " + f.Value.String()
		}
	})
	names := map[string]bool{}
	for _, name := range fs.Args() {
		for _, known := range all {
			names[known] = names[known] || name == known || name == "all"
		}
		if !names[name] && name != "all" {
			return nil, fmt.Errorf("no claim %q; there are %s and all", name, strings.Join(all, ", "))
		}
	}
	if len(names) == 0 || b.rounds < 1 {
		fs.Usage()
		return nil, errors.New("name a claim, and at least one round")
	}
	return names, b.places()
}

// places makes all paths absolute, and the folders.
func (b *bench) places() error {
	var err error
	for _, p := range []*string{&b.bzdata, &b.work, &b.venv, &b.results} {
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	if _, err := os.Stat(b.bzdata); err != nil {
		return fmt.Errorf("%w; \"make build\" makes it", err)
	}
	return errors.Join(os.MkdirAll(b.work, 0o777), os.MkdirAll(b.venv, 0o777))
}

// worker returns a contender that is a worker of this program.
func (b *bench) worker(name string, args ...string) *contender {
	return &contender{name: name, argv: append([]string{self(), "worker"}, args...), cores: 1}
}
