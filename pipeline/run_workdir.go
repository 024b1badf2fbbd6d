package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"bzdata/pipeline/store"
)

// CheckWorkdir returns a [*UsageError] if no run of the plan in planFile may write into a
// folder: one that holds something and no run, or the plan itself. A folder that is not
// there yet may be written. It writes nothing.
func CheckWorkdir(fsys store.FS, workdir, planFile string) error {
	entries, err := fsys.ReadDir(workdir)
	if err != nil {
		return nil // it is not there, or what is wrong with it shows when it is written
	}
	refuse := func(format string, args ...any) error {
		return &UsageError{Msg: fmt.Sprintf("work directory %s %s; choose a new or empty folder with --workdir", workdir,
			fmt.Sprintf(format, args...))}
	}
	if sameFolder(fsys, workdir, filepath.Dir(planFile)) && store.Exists(fsys, planFile) {
		return refuse("holds the plan %s, which would be overwritten", filepath.Base(planFile))
	}
	foreign := ""
	for _, e := range entries {
		switch name := e.Name(); {
		case name == recordName && holdsRecord(fsys, workdir):
			return nil
		case isEarlyName(name) || foreign != "":
		default:
			foreign = name
		}
	}
	if foreign != "" {
		return refuse("is not empty and holds no run, but %s", foreign)
	}
	return nil
}

// isEarlyName reports whether a name is of a file that stands in a work directory before
// its run.json does. An empty disk has lost+found.
func isEarlyName(name string) bool {
	return strings.HasPrefix(name, lockName) || name == filepath.Base(store.TempName(lockName)) ||
		name == filepath.Base(store.TempName(recordName)) || name == "lost+found" || name == WindowName || name == WindowsName
}

// holdsRecord reports whether run.json is that of a run, and not of another program. One that
// is damaged is known by the tasks beside it.
func holdsRecord(fsys store.FS, workdir string) bool {
	data, err := store.ReadAll(fsys, filepath.Join(workdir, recordName))
	var has map[string]json.RawMessage
	if err == nil && json.Unmarshal(data, &has) == nil && has["status"] != nil && has["tasks"] != nil {
		return true
	}
	entries, err := fsys.ReadDir(filepath.Join(workdir, "stages"))
	for _, e := range entries {
		if isTaskKey(e.Name()) {
			return true
		}
	}
	return false
}

// sameFolder reports whether two names are of one folder.
func sameFolder(fsys store.FS, a, b string) bool {
	absA, errA := filepath.Abs(a)
	absB, errB := filepath.Abs(b)
	if errA == nil && errB == nil && absA == absB {
		return true
	}
	infoA, errA := fsys.Stat(a)
	infoB, errB := fsys.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// forget deletes what runs have left in a work directory, but run.json, which is written
// anew, and nothing that is not theirs: the files that tasks name in their reports, what
// is unfinished or a checkpoint by its name, the links under out/ to tasks, the gathered
// files, and the folders that this leaves empty.
func forget(fsys store.FS, workdir string) error {
	named := map[Key]bool{}
	if rec, err := ReadRecord(fsys, workdir); err == nil && rec != nil { // a damaged one names nothing
		for _, t := range rec.Tasks {
			named[t.Key] = true
		}
	}
	if err := forgetTasks(fsys, workdir, named); err != nil {
		return err
	}
	if err := unlink(fsys, workdir, func(taskLink) bool { return true }); err != nil {
		return err
	}
	for _, name := range []string{DropsName, RejectsName, reportJSON, reportHTML, eventsName, planName, identitiesName} {
		if err := removeIfThere(fsys, filepath.Join(workdir, filepath.FromSlash(name))); err != nil {
			return err
		}
	}
	for _, dir := range []string{"stages", "scratch", "out", filepath.Dir(DropsName), filepath.Dir(RejectsName)} {
		if err := removeIfEmpty(fsys, filepath.Join(workdir, dir)); err != nil {
			return err
		}
	}
	return nil
}

// forgetTasks deletes tasks, unfinished ones, and checkpoints. named are the tasks of the
// last run: of those that are too damaged to name their files, all is deleted.
func forgetTasks(fsys store.FS, workdir string, named map[Key]bool) error {
	stages, scratch := filepath.Join(workdir, "stages"), filepath.Join(workdir, "scratch")
	if err := eachName(fsys, stages, func(name string) error {
		dir := filepath.Join(stages, name)
		key, unfinished := strings.CutPrefix(name, store.TempPrefix)
		report, err := TaskReportOf(fsys, workdir, Key(name))
		switch {
		case !isTaskKey(key):
			return nil
		case err == nil && string(report.Key) == name:
			return forgetTask(fsys, dir, report)
		case unfinished || named[Key(name)]:
			return store.RemoveAll(fsys, dir)
		}
		return nil
	}); err != nil {
		return err
	}
	return eachName(fsys, scratch, func(name string) error {
		if !isTaskKey(name) {
			return nil
		}
		return store.RemoveAll(fsys, filepath.Join(scratch, name))
	})
}

// forgetTask deletes the files of a task that its report names, the report last.
func forgetTask(fsys store.FS, dir string, report *TaskReport) error {
	for _, o := range report.Outputs {
		name := filepath.FromSlash(o.Name)
		if !filepath.IsLocal(name) {
			continue
		}
		if err := removeIfThere(fsys, filepath.Join(dir, name)); err != nil {
			return err
		}
		for parent := filepath.Dir(name); parent != "."; parent = filepath.Dir(parent) {
			if err := removeIfEmpty(fsys, filepath.Join(dir, parent)); err != nil {
				return err
			}
		}
	}
	if err := removeIfThere(fsys, filepath.Join(dir, reportName)); err != nil {
		return err
	}
	return removeIfEmpty(fsys, dir)
}

// eachName calls visit with the names in a folder, of which there are none if it is not there.
func eachName(fsys store.FS, dir string, visit func(name string) error) error {
	entries, err := fsys.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if err := visit(e.Name()); err != nil {
			return err
		}
	}
	return nil
}

func removeIfThere(fsys store.FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeIfEmpty deletes a folder that holds nothing.
func removeIfEmpty(fsys store.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) > 0 {
		return nil
	}
	if err != nil {
		return err
	}
	return removeIfThere(fsys, dir)
}
