package checkpoint

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"bzdata/pipeline/store"
)

// FolderName is what the name of a network's checkpoint folder says: pairs of key and value, all joined
// by "_", such as globalver_17_inneropt_240 or uid_5_hotkey_X_globalver_17.
// Source: CognitoBlocks/BlockZero 907d2e4, mycelia/shared/checkpoints.py.
type FolderName struct {
	Folder  string `json:"folder"`         // the name itself
	Version int    `json:"global_version"` // value of globalver
	Step    int    `json:"inner_step"`     // value of inneropt, 0 without
}

// ParseFolderName reads a folder's name; ok is false if it is no such pairs, says something twice, or
// has no number for globalver. Other keys are passed over.
func ParseFolderName(name string) (f FolderName, ok bool) {
	words := strings.Split(name, "_")
	if len(words)%2 != 0 {
		return f, false
	}
	pairs := map[string]string{}
	for i := 0; i < len(words); i += 2 {
		if _, twice := pairs[words[i]]; twice {
			return f, false
		}
		pairs[words[i]] = words[i+1]
	}
	version, ok1 := pairNumber(pairs, "globalver")
	step, ok2 := pairNumber(pairs, "inneropt")
	_, stated := pairs["inneropt"]
	return FolderName{name, version, step}, ok1 && (ok2 || !stated)
}

// pairNumber reads a value of at most 18 digits.
func pairNumber(pairs map[string]string, key string) (int, bool) {
	text := pairs[key]
	if len(text) == 0 || len(text) > 18 || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}

// Newer reports whether a network made the folder after another: by version, then by step.
func (f FolderName) Newer(than FolderName) bool {
	return cmp.Or(cmp.Compare(f.Version, than.Version), cmp.Compare(f.Step, than.Step)) > 0
}

// CheckVersion returns an error that says what to do unless the version is the wanted one.
func (f FolderName) CheckVersion(want int) error {
	switch {
	case f.Version < want:
		return fmt.Errorf("checkpoint %s has global version %d, but %d is wanted; fetch the newer one",
			f.Folder, f.Version, want)
	case f.Version > want:
		return fmt.Errorf("checkpoint %s has global version %d, but %d is wanted; the network has moved on",
			f.Folder, f.Version, want)
	}
	return nil
}

// Folder is a complete checkpoint folder.
type Folder struct {
	FolderName
	Dir   string
	Files []string // paths of the files that [OpenFiles] takes, sorted
}

// Passed is a folder that was not taken, and why.
type Passed struct{ Dir, Why string }

// String is one line.
func (p Passed) String() string { return fmt.Sprintf("checkpoint %s is passed over: %s", p.Dir, p.Why) }

// ErrNone is the error of [Newest] for a folder without any checkpoint.
var ErrNone = errors.New("no folder globalver_V… is there")

// Newest finds the newest complete checkpoint folder at or below root: by version, then by step, as
// numbers; of equals the first by path. It is complete if every name of expect, which stands for
// NAME.safetensors or NAME.pt, is there, every file model*.safetensors and model*.pt can be read to
// its declared end and is the same file before and after that, and none named .tmp_model* is beside them,
// as the networks' software calls a file that it is writing. A link to a checkpoint folder counts as
// one; other links below root are not followed. Folders that are newer, but not
// complete, are returned too. Without a complete folder there is an error, [ErrNone] if there is none at all.
func Newest(fsys store.FS, root string, expect []string) (Folder, []Passed, error) {
	all, err := checkpointFolders(fsys, root)
	if err != nil {
		return Folder{}, nil, err
	}
	if len(all) == 0 {
		return Folder{}, nil, fmt.Errorf("%s: %w", root, ErrNone)
	}
	slices.SortStableFunc(all, func(a, b Folder) int {
		switch {
		case a.Newer(b.FolderName):
			return -1
		case b.Newer(a.FolderName):
			return 1
		}
		return cmp.Compare(a.Dir, b.Dir)
	})
	var passed []Passed
	for _, f := range all {
		if f.Files, err = completeFiles(fsys, f.Dir, expect); err == nil {
			return f, passed, nil
		}
		passed = append(passed, Passed{f.Dir, err.Error()})
	}
	return Folder{}, passed, fmt.Errorf("%s: none of %d checkpoints is complete; the newest is %s: %s",
		root, len(all), passed[0].Dir, passed[0].Why)
}

// folderDepthMax is how deep checkpoint folders may be: the networks have COLDKEY/HOTKEY/RUN above.
const folderDepthMax = 6

func checkpointFolders(fsys store.FS, root string) ([]Folder, error) {
	if f, ok := ParseFolderName(filepath.Base(root)); ok {
		return []Folder{{FolderName: f, Dir: root}}, nil
	}
	return foldersBelow(fsys, root, folderDepthMax)
}

func foldersBelow(fsys store.FS, dir string, depth int) ([]Folder, error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []Folder
	for _, e := range entries {
		name := store.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") || !isFolder(fsys, name, e) {
			continue
		}
		if f, ok := ParseFolderName(e.Name()); ok {
			out = append(out, Folder{FolderName: f, Dir: name})
			continue
		}
		if depth == 1 || e.Type()&fs.ModeSymlink != 0 { // links may lead in circles
			continue
		}
		more, err := foldersBelow(fsys, name, depth-1)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // what is removed meanwhile is not there
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// isFolder follows links: networks' software may link the latest checkpoint.
func isFolder(fsys store.FS, name string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir()
	}
	info, err := fsys.Stat(name)
	return err == nil && info.IsDir()
}

// unfinishedPrefix begins the name of a file of weights that the networks' software is writing.
const unfinishedPrefix = ".tmp_model"

// completeFiles returns the files of weights, or why the folder is not complete.
func completeFiles(fsys store.FS, dir string, expect []string) ([]string, error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unfinishedPrefix) {
			return nil, fmt.Errorf("%s is being written", e.Name())
		}
	}
	names, err := groupFileNames(fsys, dir)
	if err != nil {
		return nil, err
	}
	for _, stem := range expect {
		if !slices.Contains(names, stem+".safetensors") && !slices.Contains(names, stem+".pt") {
			return nil, fmt.Errorf("neither %s.safetensors nor %s.pt is there", stem, stem)
		}
	}
	var files []string
	for _, name := range names {
		path := store.Join(dir, name)
		if err := wholeFile(fsys, path); err != nil {
			return nil, err
		}
		files = append(files, path)
	}
	return files, nil
}

// wholeFile checks that a file of weights is all there: that it can be read to its declared end,
// and has the same size and time before and after.
func wholeFile(fsys store.FS, path string) error {
	before, err := fsys.Stat(path)
	if err != nil {
		return err
	}
	f, err := OpenAny(fsys, path)
	if err != nil {
		return err
	}
	tensors := len(f.names)
	if err := f.Close(); err != nil {
		return err
	}
	after, err := fsys.Stat(path)
	if err != nil {
		return err
	}
	if before.Size() != after.Size() || !before.ModTime().Equal(after.ModTime()) {
		return fmt.Errorf("%s is being written: its size or time changes", path)
	}
	if tensors == 0 {
		return fmt.Errorf("%s holds no tensor", path)
	}
	return nil
}
