package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// plan returns a contender that runs a plan of bzdata from nothing to out/data, and the
// folder of what it leaves. The stages are lines of YAML.
func (b *bench) plan(name, input string, cores int, stages ...string) (*contender, string, error) {
	slug := fmt.Sprintf("%s-%d", filepath.Base(filepath.Dir(filepath.Dir(input))), cores)
	for _, r := range strings.ToLower(name) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			slug += string(r)
		}
	}
	text := "name: bench\nseed: 42\ninput:\n  - path: " + input + "\n    text: text\nstages:\n"
	for _, s := range stages {
		text += "  - " + s + "\n"
	}
	file := filepath.Join(b.work, "plans", slug+".yaml")
	dir := filepath.Join(b.work, "runs", slug)
	err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o777), os.WriteFile(file, []byte(text), 0o666))
	out := filepath.Join(dir, "out", "data")
	return &contender{
		name: name, cores: cores,
		argv: []string{b.bzdata, "run", file, "--workdir", dir, "--workers", fmt.Sprint(cores), "--progress", "none",
			"--json", filepath.Join(b.work, "plans", slug+".json")},
		before: func() error { return os.RemoveAll(dir) },
		after:  countKept(out),
	}, out, err
}

// fresh makes a folder for a contender's output, and a function that empties it before
// each run.
func (b *bench) fresh(name string) (dir string, before func() error) {
	dir = filepath.Join(b.work, "out", name)
	return dir, func() error {
		return errors.Join(os.RemoveAll(dir), os.RemoveAll(dir+".work"), os.RemoveAll(dir+".log"), os.MkdirAll(dir, 0o777))
	}
}

// allCores is how many cores the claims without a core of their own use.
func allCores() int { return runtime.NumCPU() }
