package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// NoMatchError says that a pattern names no file that could be read.
type NoMatchError struct {
	Pattern string
	Unknown int // files that match, but whose type [FormatOf] does not know
}

// Error returns the message.
func (e *NoMatchError) Error() string {
	if e.Unknown > 0 {
		return fmt.Sprintf("%s: %d files match, but none is %s", e.Pattern, e.Unknown, knownFormats)
	}
	return fmt.Sprintf("%s: no file matches: check the path", e.Pattern)
}

// Expand lists the files that a pattern names, sorted bytewise, and the directory
// prefix that all of them share by the pattern's text: the part before its first
// wildcard. A pattern is
//
//   - a file: itself, whatever its name; prefix is its directory;
//   - a directory: all files below it; prefix is the directory;
//   - a glob: a path whose components may hold *, ? and [a-z] or [^a-z] (as in
//     [path.Match], within one component), or be **, any number of directories;
//     prefix is the path before the first such component.
//
// A path that exists is taken literally even if it holds wildcards. Directories and
// globs give only files of a known format ([FormatOf]) and pass over names that start
// with a dot, unless the pattern's component does too; temporary names are among
// them. Links to files are followed; links to directories only where the pattern names
// them or matches them by a component other than **. No file is a [*NoMatchError].
//
// A pattern may be a remote name ([Location]) if fsys knows remote names; its wildcards
// stand behind the bucket or data set, and make a glob of it in any case.
func Expand(fsys FS, pattern string) (prefix string, names []string, err error) {
	if !IsRemote(pattern) {
		pattern = filepath.Clean(pattern)
	} else if _, parts := splitPattern(pattern); len(parts) > 0 {
		return expandGlob(fsys, pattern)
	}
	info, err := fsys.Stat(pattern)
	switch {
	case err == nil && !info.IsDir():
		return Dir(pattern), []string{pattern}, nil
	case err == nil:
		return expand(fsys, pattern, pattern, []string{"**", "*"})
	case !errors.Is(err, fs.ErrNotExist):
		return "", nil, err
	}
	return expandGlob(fsys, pattern)
}

func expandGlob(fsys FS, pattern string) (prefix string, names []string, err error) {
	prefix, parts := splitPattern(pattern)
	if len(parts) == 0 {
		return "", nil, &NoMatchError{Pattern: pattern}
	}
	for _, part := range parts {
		if _, err := path.Match(part, ""); err != nil {
			return "", nil, fmt.Errorf("%s: bad pattern %q: close the bracket or escape it", pattern, part)
		}
	}
	return expand(fsys, pattern, prefix, parts)
}

func expand(fsys FS, pattern, prefix string, parts []string) (string, []string, error) {
	g := globber{fsys: fsys, parts: parts}
	if IsRemote(prefix) || Exists(fsys, prefix) {
		err := g.walk(prefix, g.closure([]int{0}))
		if IsRemote(prefix) && errors.Is(err, fs.ErrNotExist) {
			err = nil // nothing is there, as with a local folder that is not
		}
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", pattern, err)
		}
	}
	if len(g.names) == 0 {
		return "", nil, &NoMatchError{pattern, g.unknown}
	}
	slices.Sort(g.names)
	return prefix, g.names, nil
}

// splitPattern cuts a clean pattern into the directory before its first wildcard and
// the components from there on.
func splitPattern(pattern string) (prefix string, parts []string) {
	rest := pattern
	if !IsRemote(pattern) {
		rest = filepath.ToSlash(pattern)
	}
	all := strings.Split(rest, "/")
	first := slices.IndexFunc(all, func(p string) bool { return strings.ContainsAny(p, `*?[\`) })
	if first < 0 {
		return pattern, nil
	}
	switch prefix = strings.Join(all[:first], "/"); {
	case first == 0:
		prefix = "."
	case prefix == "":
		prefix = "/"
	}
	if IsRemote(pattern) {
		return prefix, all[first:]
	}
	return filepath.FromSlash(prefix), all[first:]
}

// globber walks a tree once. A state is an index into parts: the component that the
// next name must match. Several can be live because of **.
type globber struct {
	fsys    FS
	parts   []string
	names   []string
	unknown int
}

// closure adds to the states those behind each **, which may match no directory.
func (g *globber) closure(states []int) []int {
	for i := 0; i < len(states); i++ {
		s := states[i]
		if s < len(g.parts) && g.parts[s] == "**" && !slices.Contains(states, s+1) {
			states = append(states, s+1)
		}
	}
	return states
}

func (g *globber) walk(dir string, states []int) error {
	entries, err := g.fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := g.entry(dir, e, states); err != nil {
			return err
		}
	}
	return nil
}

func (g *globber) entry(dir string, e fs.DirEntry, states []int) error {
	next, named := g.step(e.Name(), states)
	if len(next) == 0 {
		return nil
	}
	name := Join(dir, e.Name())
	isDir := e.IsDir()
	if e.Type()&fs.ModeSymlink != 0 {
		info, err := g.fsys.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a link to nowhere is no file
		}
		if err != nil {
			return err
		}
		if isDir = info.IsDir(); isDir {
			next = named // each is further on in the pattern, so that no cycle of links is endless
		}
	}
	if isDir {
		return g.walk(name, g.closure(next))
	}
	if slices.Contains(next, len(g.parts)) {
		if _, err := FormatOf(name); err != nil {
			g.unknown++
		} else {
			g.names = append(g.names, name)
		}
	}
	return nil
}

// step returns the states after name, and those among them that a component other
// than ** led to. A ** at the end matches files at any depth, as **/* does.
func (g *globber) step(name string, states []int) (next, named []int) {
	add := func(s int) {
		if !slices.Contains(next, s) {
			next = append(next, s)
		}
	}
	for _, s := range states {
		if s == len(g.parts) {
			continue
		}
		part := g.parts[s]
		if strings.HasPrefix(name, ".") && !strings.HasPrefix(part, ".") {
			continue
		}
		if part == "**" {
			add(s)
			if s == len(g.parts)-1 {
				add(s + 1)
			}
		} else if ok, _ := path.Match(part, name); ok {
			add(s + 1)
			named = append(named, s+1)
		}
	}
	return next, named
}

// Identity pins an input file: a file of the same identity is taken to be unchanged.
type Identity struct {
	Path  string // relative to the pattern's prefix, with slashes
	Bytes int64
	// ModTimeNS is the time of the last change, since 1970-01-01 UTC; 0 if ETag is set.
	ModTimeNS int64
	// ETag is what a remote server knows the content by (RFC 9110, section 8.8.3), without
	// quotes; of a local file it is empty.
	ETag string
}

// Tagged is implemented by what describes a file that has an entity tag.
type Tagged interface{ ETag() string }

// IdentityOf returns the identity of a file that [Expand] gave with prefix.
func IdentityOf(fsys FS, prefix, name string) (Identity, error) {
	info, err := fsys.Stat(name)
	if err != nil {
		return Identity{}, err
	}
	rel, err := relativeTo(prefix, name)
	if err != nil {
		return Identity{}, err
	}
	if tagged, ok := info.(Tagged); ok && tagged.ETag() != "" {
		return Identity{Path: rel, Bytes: info.Size(), ETag: tagged.ETag()}, nil
	}
	return Identity{Path: rel, Bytes: info.Size(), ModTimeNS: info.ModTime().UnixNano()}, nil
}
