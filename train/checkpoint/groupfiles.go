package checkpoint

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"bzdata/pipeline/store"
)

// GroupFiles is a network's checkpoint folder: the files model*.safetensors and
// model*.pt, under native names. It is the natural overlay of a base model.
type GroupFiles struct {
	Source
	Files []string // base names, sorted
	open  []*File
}

// Close releases the files.
func (g *GroupFiles) Close() error {
	var errs []error
	for _, f := range g.open {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

var groupFilePattern = regexp.MustCompile(`^model_expgroup_([0-9]{1,9})\.`)

// OpenGroupFiles opens every model*.safetensors and model*.pt of a folder, see [OpenFiles]; of two that
// differ only in the extension, the .safetensors. A folder without any file is an error.
func OpenGroupFiles(fsys store.FS, dir string, naming Naming, groups []*Group) (*GroupFiles, error) {
	names, err := groupFileNames(fsys, dir)
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		names[i] = store.Join(dir, name)
	}
	return OpenFiles(fsys, names, naming, groups)
}

// OpenFiles opens files of weights. Experts' tensors are renamed from the network's naming
// to the native one: those of model_expgroup_G by the assignment of the group with that id, those of any
// other file as experts of no group, which a naming by running ids does not allow. Two
// files that hold one tensor are an error.
func OpenFiles(fsys store.FS, files []string, naming Naming, groups []*Group) (*GroupFiles, error) {
	g := &GroupFiles{}
	var all []Tensor
	for _, path := range files {
		f, err := OpenAny(fsys, path)
		if err != nil {
			return nil, errors.Join(err, g.Close())
		}
		name := filepath.Base(path)
		g.open, g.Files = append(g.open, f), append(g.Files, name)
		tensors, err := nativeTensors(f, name, naming, groups)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", path, err), g.Close())
		}
		all = append(all, tensors...)
	}
	var err error
	if g.Source, err = FromTensors(all); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", strings.Join(files, ", "), err), g.Close())
	}
	return g, nil
}

func groupFileNames(fsys store.FS, dir string) ([]string, error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	byStem := map[string]string{}
	for _, e := range entries {
		name := e.Name()
		ext := filepath.Ext(name)
		if e.IsDir() || !strings.HasPrefix(name, "model") || ext != ".pt" && ext != ".safetensors" {
			continue
		}
		if stem := strings.TrimSuffix(name, ext); byStem[stem] == "" || ext == ".safetensors" {
			byStem[stem] = name
		}
	}
	if len(byStem) == 0 {
		return nil, fmt.Errorf("%s: neither model*.safetensors nor model*.pt is there", dir)
	}
	return slices.Sorted(maps.Values(byStem)), nil
}

// nativeTensors lists a file's tensors under native names.
func nativeTensors(f *File, file string, naming Naming, groups []*Group) ([]Tensor, error) {
	all, err := Tensors(f)
	if err != nil {
		return nil, err
	}
	var experts, others []Tensor
	for _, t := range all {
		if _, ok := naming.Parse(t.Name); ok {
			experts = append(experts, t)
		} else {
			others = append(others, t)
		}
	}
	if len(experts) == 0 {
		return others, nil
	}
	group, err := assignmentOf(file, naming, groups, experts)
	if err != nil {
		return nil, err
	}
	native, err := naming.FromProfile(group, experts)
	return append(others, native...), err
}

func assignmentOf(file string, naming Naming, groups []*Group, experts []Tensor) (Assignment, error) {
	if m := groupFilePattern.FindStringSubmatch(file); m != nil {
		id, _ := strconv.Atoi(m[1]) // at most nine digits
		at := slices.IndexFunc(groups, func(g *Group) bool { return g.Config.GroupID == id })
		if at < 0 {
			return nil, fmt.Errorf("expert group %d is unknown; it must be among the expert groups that are read", id)
		}
		return groups[at].Assignment, nil
	}
	if naming == Qwen3Next {
		return nil, fmt.Errorf("tensor %q has a running id, which means nothing without a group",
			experts[0].Name)
	}
	a := Assignment{}
	for _, t := range experts {
		e, _ := naming.Parse(t.Name) // it was chosen for being one
		pair := Pair{My: e.Expert, Org: e.Expert}
		if !slices.Contains(a[e.Layer], pair) {
			a[e.Layer] = append(a[e.Layer], pair)
		}
	}
	return a, nil
}
