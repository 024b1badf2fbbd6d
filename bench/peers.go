package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// peers holds the drivers of peers in Python, and what each environment needs.
//
//go:embed peers
var peers embed.FS

// environment is a virtual environment of Python.
type environment struct {
	python string
	driver string // the folder of the drivers
	why    string // why it cannot be used, or ""
}

// environmentOf makes the virtual environment of a name, unless it is there with the
// very requirements that it should have. What stands in its way is kept as the reason.
func (b *bench) environmentOf(ctx context.Context, name string) environment {
	if e, ok := b.environments[name]; ok {
		return e
	}
	dir := filepath.Join(b.venv, name)
	e := environment{python: filepath.Join(dir, "bin", "python"), driver: filepath.Join(b.work, "peers")}
	if err := errors.Join(b.writeDrivers(), b.install(ctx, dir, name)); err != nil {
		e.why = "cannot be installed: " + oneLine(err.Error())
		fmt.Fprintf(b.progress, "%s %s\n", name, e.why)
	}
	b.environments[name] = e
	return e
}

// install makes a virtual environment. A copy of the requirements within marks it as whole.
func (b *bench) install(ctx context.Context, dir, name string) error {
	want, err := peers.ReadFile("peers/requirements-" + name + ".txt")
	if err != nil {
		return err
	}
	mark := filepath.Join(dir, "requirements.txt")
	if have, err := os.ReadFile(mark); err == nil && string(have) == string(want) {
		return nil
	}
	fmt.Fprintf(b.progress, "installing %s\n", name)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	list := filepath.Join(b.work, "peers", "requirements-"+name+".txt")
	steps := [][]string{
		{"python3", "-m", "venv", dir},
		{filepath.Join(dir, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", list},
	}
	if without, err := peers.ReadFile("peers/requirements-" + name + "-nodeps.txt"); err == nil && len(without) > 0 {
		steps = append(steps, []string{steps[1][0], "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
			"--no-deps", "-r", filepath.Join(b.work, "peers", "requirements-"+name+"-nodeps.txt")})
	}
	for _, argv := range steps {
		out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", filepath.Base(argv[0]), err, tail(string(out), 300))
		}
	}
	return os.WriteFile(mark, want, 0o666)
}

// writeDrivers lays the drivers out as files.
func (b *bench) writeDrivers() error {
	return fs.WalkDir(peers, "peers", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(b.work, name)
		if e.IsDir() {
			return os.MkdirAll(to, 0o777)
		}
		data, err := peers.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(to, data, 0o666)
	})
}

// python returns a contender that runs a driver in an environment.
func (b *bench) python(ctx context.Context, name, env, driver string, args ...string) *contender {
	e := b.environmentOf(ctx, env)
	argv := append([]string{e.python, filepath.Join(e.driver, driver)}, args...)
	return &contender{name: name, argv: argv, cores: 1, why: e.why}
}

// rust returns a contender that is a package of its own in a folder of the drivers, which cargo builds.
func (b *bench) rust(ctx context.Context, name, folder string, args ...string) *contender {
	if err := b.writeDrivers(); err != nil {
		return &contender{name: name, why: oneLine(err.Error())}
	}
	cmd := exec.CommandContext(ctx, "cargo", "build", "--quiet", "--release")
	cmd.Dir = filepath.Join(b.work, "peers", folder)
	c := &contender{name: name, argv: append([]string{filepath.Join(cmd.Dir, "target", "release", "peer")}, args...), cores: 1}
	fmt.Fprintf(b.progress, "building %s\n", folder)
	if out, err := cmd.CombinedOutput(); err != nil {
		c.why = oneLine(fmt.Sprintf("cannot be built: %v: %s", err, tail(string(out), 300)))
		fmt.Fprintf(b.progress, "%s %s\n", folder, c.why)
	}
	return c
}
