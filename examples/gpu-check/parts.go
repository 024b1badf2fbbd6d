package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"bzdata/train/tensor/cuda"
)

// part is one thing to check.
type part struct {
	name, about string
	run         func(ctx context.Context, c *check) error
}

func parts() []part {
	return []part{
		{"devices", "the card, versions of libraries, and how long kernels take to compile", devices},
		{"kernels", "every operation against the processor's, at real and odd shapes; the same bits twice", kernels},
		{"model", "loss and gradient of two mixtures of 50 to 100 M weights against the processor's", models},
		{"training", "50 steps of one of them in every precision against the processor's", training},
		{"plan24", "DeepSeek-V2-Lite trained in 22.5 GB against the same run without a bound", plan24},
		{"throughput", "DeepSeek-V2-Lite: tokens per second, utilisation, peak memory, time by operation", throughput},
		{"evaluation", "DeepSeek-V2-Lite in the host's memory: base and candidate on 51 x 1024 tokens, 3 seeds", evaluation},
		{"faults", "what is said when memory, a card or a library is missing", faults},
	}
}

// choose finds parts by name.
func choose(names []string) ([]part, error) {
	all := parts()
	if slices.Equal(names, []string{"all"}) {
		return all, nil
	}
	var chosen []part
	for _, name := range names {
		i := slices.IndexFunc(all, func(p part) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no part %q; see --list", name)
		}
		chosen = append(chosen, all[i])
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("name the parts to run, or all; see --list")
	}
	return chosen, nil
}

// key is what results hold for: a part is run again when any of it changes.
type key struct {
	Program string `json:"program_sha256"`
	Sizes   string `json:"sizes"`
	Card    string `json:"card"`
	// Versions are those of driver, compiler and products.
	Versions string `json:"versions"`
}

func newKey(s sizes) (key, error) {
	path, err := os.Executable()
	if err != nil {
		return key{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return key{}, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return key{}, fmt.Errorf("%s: %w", path, err)
	}
	card, err := cuda.Find(0)
	if err != nil {
		return key{}, err
	}
	found := cuda.Inspect(nil)
	return key{Program: hex.EncodeToString(h.Sum(nil)), Sizes: s.name, Card: card.Name,
		Versions: fmt.Sprintf("driver %s, NVRTC %s, cuBLASLt %s", found.Driver.Version, found.Compiler.Version,
			found.Products.Version)}, nil
}

// check is a part under way.
type check struct {
	sizes
	result
	out io.Writer
}

// do runs a part within a time.
func (p part) do(ctx context.Context, out io.Writer, s sizes, limit time.Duration) result {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	c := &check{sizes: s, out: out, result: result{Part: p.name, When: began.UTC().Format(time.DateTime)}}
	if err := p.run(ctx, c); err != nil {
		c.Error = err.Error()
	}
	c.Seconds = time.Since(began).Seconds()
	c.Passed = c.Error == "" && !slices.ContainsFunc(c.Bounds, func(b bounded) bool { return !b.Held })
	return c.result
}

// within holds a value against a bound; NaN is outside of any.
func (c *check) within(what string, value, bound float64) {
	held := value <= bound
	c.Bounds = append(c.Bounds, bounded{What: what, Value: number(value), Bound: bound, Held: held})
	if !held {
		fmt.Fprintf(c.out, "  FAILED %s: %.3g, more than %.3g\n", what, value, bound)
	}
}

// figure keeps a measurement.
func (c *check) figure(what string, value float64, unit string) {
	c.Figures = append(c.Figures, figure{What: what, Value: number(value), Unit: unit})
	fmt.Fprintf(c.out, "  %s: %.6g %s\n", what, value, unit)
}

// note keeps a line for people.
func (c *check) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
	fmt.Fprintf(c.out, "  %s\n", c.Notes[len(c.Notes)-1])
}

// oneLine wants an error of one line that says something.
func (c *check) oneLine(what string, err error, mentions string) {
	off := 1.
	if err != nil {
		c.note("%s: %v", what, err)
		if text := err.Error(); !strings.Contains(text, "\n") && strings.Contains(text, mentions) {
			off = 0
		}
	}
	c.within(what+": errors that are not one line with "+mentions, off, 0)
}

// relative is how far a value is from another, as a part of it.
func relative(got, want float64) float64 { return math.Abs(got-want) / math.Abs(want) }
