package mirror

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"bzdata/pipeline/store"
)

// Hub is a file system that reads the Hugging Face hub, and knows the commit of a data set's revision.
type Hub interface {
	store.FS
	// Commit returns the commit that a remote name's revision stands for.
	Commit(name string) (string, error)
	Viewer
}

// List finds the files of a source at the hub, in the order in which validators read them. None is fetched but
// the README.
func List(hub Hub, s Source) (*Mirrored, error) {
	loc := store.Location{Scheme: "hf", Root: s.Path, Revision: s.Revision}
	if _, err := store.ParseLocation(loc.String()); err != nil {
		return nil, &store.LocationError{Msg: fmt.Sprintf("%s at revision %s is no data set of the hub; put its files into "+
			"the mirror yourself", s.Path, s.Revision)}
	}
	commit, err := hub.Commit(loc.String())
	if err != nil {
		return nil, err
	}
	loc.Revision = commit
	names, err := listNames(hub, loc, s)
	if err != nil {
		return nil, err
	}
	out := &Mirrored{Source: s, Commit: commit, Folder: s.folder()}
	for _, name := range ofOneKind(names) {
		info, err := hub.Stat(loc.String() + "/" + name)
		if err != nil {
			return nil, err
		}
		tagged, ok := info.(store.Tagged)
		if !ok {
			return nil, fmt.Errorf("%s: the hub tells no hash of it", name)
		}
		out.Files = append(out.Files, File{Name: name, Bytes: info.Size(), ETag: tagged.ETag()})
	}
	return out, nil
}

// listNames are the paths of a source's files.
func listNames(hub Hub, loc store.Location, s Source) ([]string, error) {
	configs, err := readConfigs(hub, loc)
	if err != nil {
		return nil, err
	}
	wrong := func(err error) error { return &store.LocationError{Msg: fmt.Sprintf("%s: %v", s.Path, err)} }
	if s.DataDir != "" || len(configs) == 0 {
		dir := s.DataDir
		if dir == "" && s.Name != "" && s.Name != "default" {
			// No configuration has a name where the README gives none. One that is called like a folder can
			// only mean it.
			dir = s.Name
		}
		return splitBelow(hub, loc, dir, s)
	}
	c, err := choose(configs, s.Name)
	if err != nil {
		return nil, wrong(err)
	}
	patterns, stated, err := c.patterns(s.Split)
	if err != nil {
		return nil, wrong(err)
	}
	if !stated {
		return splitBelow(hub, loc, c.DataDir, s)
	}
	var out []string
	for _, p := range patterns {
		names, err := expand(hub, loc, p)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	if len(out) == 0 {
		return nil, wrong(fmt.Errorf("no JSONL or Parquet file is called %s; data sets that are scripts or of other formats "+
			"are to be put into the mirror as JSONL", list(patterns)))
	}
	return out, nil
}

// splitBelow finds a split by the names of the files below a folder.
func splitBelow(hub Hub, loc store.Location, dir string, s Source) ([]string, error) {
	dir = strings.Trim(dir, "/")
	names, err := expand(hub, loc, dir)
	if err == nil && len(names) == 0 {
		err = &store.LocationError{Msg: fmt.Sprintf("%s has no JSONL or Parquet file below %q; check name and data_dir, or put "+
			"its files into the mirror yourself", s.Path, dir)}
	}
	if err != nil {
		return nil, err
	}
	prefix := ""
	if dir != "" {
		prefix = dir + "/"
	}
	for i := range names {
		names[i] = strings.TrimPrefix(names[i], prefix)
	}
	names, err = SplitFiles(names, s.Split)
	if err != nil {
		return nil, &store.LocationError{Msg: fmt.Sprintf("%s %v", s.Path, err)}
	}
	for i := range names {
		names[i] = prefix + names[i]
	}
	return names, nil
}

// expand lists the files that a pattern below the data set names, by their paths in it.
func expand(hub Hub, loc store.Location, pattern string) ([]string, error) {
	root := loc.String()
	at := root
	if pattern = strings.Trim(strings.TrimPrefix(pattern, "./"), "/"); pattern != "" {
		at += "/" + pattern
	}
	_, names, err := store.Expand(hub, at)
	var none *store.NoMatchError
	if errors.As(err, &none) || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for i := range names {
		names[i] = strings.TrimPrefix(names[i], root+"/")
	}
	return names, err
}
