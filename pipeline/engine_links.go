package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"bzdata/pipeline/store"
)

// own notes which stage an output below the work directory belongs to. Two stages must
// not write one: the later would take the place of the earlier.
func (b *builder) own(step *Step, links []Link) error {
	for _, l := range links {
		if other := b.owners[l.Name]; other != "" {
			return &UsageError{Msg: fmt.Sprintf("%s:%d: stages %s and %s both write %s; keep one of them, or give an export "+
				"another name with `to`", b.plan.File, step.Line, other, step.Label(), l.Name)}
		}
		b.owners[l.Name] = step.Label()
	}
	return nil
}

// link makes a node's outputs appear under out/. A task that refuses the update has
// written only what its reader needs to see why, and only that appears.
func (r *run) link(n *node) error {
	for _, l := range n.links {
		from := filepath.Join(n.dir(), filepath.FromSlash(l.From))
		if n.report.Refused != "" && !store.Exists(r.opt.FS, from) {
			continue
		}
		name := filepath.Join(r.opt.Workdir, filepath.FromSlash(l.Name))
		if err := r.opt.FS.MkdirAll(filepath.Dir(name)); err != nil {
			return err
		}
		target, err := filepath.Rel(filepath.Dir(name), from)
		if err != nil {
			return err
		}
		if err := store.SwapLink(r.opt.FS, target, name); err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
	}
	return nil
}

// unlinkStale removes the links under out/ that are of no task that this run has come to:
// what an earlier run had made must not stand beside this run's refusal.
func (r *run) unlinkStale() error {
	var mine []taskLink
	for _, w := range r.waves {
		for _, n := range w.nodes {
			if n.report == nil {
				continue
			}
			for _, l := range n.links {
				mine = append(mine, taskLink{path.Base(l.Name), n.key})
			}
		}
	}
	return unlink(r.opt.FS, r.opt.Workdir, func(l taskLink) bool { return !slices.Contains(mine, l) })
}

// taskLink is a link under out/ to an output of a task.
type taskLink struct {
	name string // below out/
	key  Key
}

// taskLinks lists the links under out/ that lead to tasks, and nothing else there.
func taskLinks(fsys store.FS, workdir string) ([]taskLink, error) {
	dir := filepath.Join(workdir, "out")
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var links []taskLink
	for _, e := range entries {
		target, err := fsys.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // no link
		}
		rest, below := strings.CutPrefix(filepath.ToSlash(target), "../stages/")
		if key, _, _ := strings.Cut(rest, "/"); below && isTaskKey(key) {
			links = append(links, taskLink{e.Name(), Key(key)})
		}
	}
	return links, nil
}

// unlink removes the links under out/ to tasks for which stale is true.
func unlink(fsys store.FS, workdir string, stale func(taskLink) bool) error {
	links, err := taskLinks(fsys, workdir)
	if err != nil {
		return err
	}
	dir, removed := filepath.Join(workdir, "out"), false
	for _, l := range links {
		if !stale(l) {
			continue
		}
		removed = true
		if err := fsys.Remove(filepath.Join(dir, l.name)); err != nil {
			return err
		}
	}
	if !removed {
		return nil
	}
	return fsys.SyncDir(dir)
}
