package pipeline

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"bzdata/pipeline/store"
)

// inputFile is one file of the plan's input, pinned.
type inputFile struct {
	source string
	full   string
	// place is the file's path from the plan's folder, or absolute if it is not below it.
	place string
	// identity is what the file is known by. Its time is that of an earlier run's reading if
	// the file has only been touched since; seenNS is the time that the file has now.
	identity       store.Identity
	seenNS         int64
	text           textRule
	rule           string // the text rule, as it stands in keys
	limit          int64  // documents over all files of its entry; -1 for no limit
	entry          int
	recordBytesMax int64
	rangeBytes     int64    // see [Options]
	columns        []string // the fields that are read; none stands for all
}

// key is the identity of what the file gives. The place belongs to it, since copies that
// keep their times make files of one name and size common; it enters no output.
func (f *inputFile) key() Key {
	known := fmt.Sprint(f.identity.Bytes, f.identity.ModTimeNS)
	if f.identity.ETag != "" {
		known = fmt.Sprint(f.identity.Bytes, " etag ", f.identity.ETag)
	}
	return keyOf("file", f.source, f.identity.Path, f.place, known, f.rule, fmt.Sprint(f.limit, f.recordBytesMax))
}

// inputFiles expands the entries and returns their files in the order of ids.
func inputFiles(plan *Plan, entries []Input, opt Options) ([]*inputFile, error) {
	var files []*inputFile
	for i, in := range entries {
		if in.Tokens != "" {
			continue // a stage takes them
		}
		mine, err := entryFiles(plan, i, in, opt)
		if err != nil {
			return nil, err
		}
		files = append(files, mine...)
	}
	slices.SortStableFunc(files, func(a, b *inputFile) int {
		return cmp.Or(strings.Compare(a.source, b.source), strings.Compare(a.identity.Path, b.identity.Path))
	})
	for i := 1; i < len(files); i++ {
		a, b := files[i-1], files[i]
		if a.source == b.source && a.identity.Path == b.identity.Path {
			return nil, &UsageError{Msg: fmt.Sprintf("source %s has %s twice (%s and %s); give one entry another `source:`",
				a.source, a.identity.Path, a.full, b.full)}
		}
	}
	return files, nil
}

// entryFiles expands the patterns of one entry. A file that several of them match is read
// once, under the first.
func entryFiles(plan *Plan, entry int, in Input, opt Options) ([]*inputFile, error) {
	rule, name, err := newTextRule(in)
	if err != nil {
		return nil, err
	}
	columns, more := in.columnsRead(rule)
	name += more
	var files []*inputFile
	taken := map[string]bool{}
	for _, pattern := range in.Paths {
		found, err := expandInput(opt.Inputs, plan.Path(pattern), opt.Workdir, in.Optional)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if taken[f.full] {
				continue
			}
			taken[f.full] = true
			f.text, f.rule, f.entry, f.recordBytesMax = rule, name, entry, int64(in.RecordBytesMax)
			f.columns = columns
			f.limit = entryLimit(in.LimitDocuments, opt.Limit)
			f.rangeBytes = cmp.Or(opt.RangeBytes, rangeBytes)
			f.source, f.place, f.seenNS = in.Source, plan.Place(f.full), f.identity.ModTimeNS
			files = append(files, f)
		}
	}
	return files, nil
}

// entryLimit combines an entry's own limit with the run's; 0 is no limit.
func entryLimit(entry, run int64) int64 {
	switch {
	case entry <= 0 && run <= 0:
		return -1
	case entry <= 0:
		return run
	case run <= 0:
		return entry
	}
	return min(entry, run)
}

// expandInput returns the files that a pattern names. Those in the work directory are none of
// them unless the pattern begins there: what a run writes would else be its next run's input.
func expandInput(fsys store.FS, pattern, workdir string, optional bool) ([]*inputFile, error) {
	prefix, names, err := store.Expand(fsys, pattern)
	if err == nil && workdir != "" && !isBelow(prefix, workdir) {
		names = slices.DeleteFunc(names, func(name string) bool { return isBelow(name, workdir) })
		if len(names) == 0 {
			err = &store.NoMatchError{Pattern: pattern}
		}
	}
	var none *store.NoMatchError
	if errors.As(err, &none) {
		if optional {
			return nil, nil
		}
		return nil, &UsageError{Msg: fmt.Sprintf("input %s matches no file; check the path, or set `optional: true`", pattern)}
	}
	if err != nil {
		return nil, err
	}
	var files []*inputFile
	for _, name := range names {
		if _, err := store.FormatOf(name); err != nil {
			return nil, &UsageError{Msg: err.Error()}
		}
		id, err := store.IdentityOf(fsys, prefix, name)
		if err != nil {
			return nil, err
		}
		files = append(files, &inputFile{full: name, identity: id})
	}
	return files, nil
}

// isBelow reports whether a local name is that of a folder or of something in it.
func isBelow(name, folder string) bool {
	if store.IsRemote(name) {
		return false
	}
	full, err := filepath.Abs(name)
	dir, dirErr := filepath.Abs(folder)
	if err != nil || dirErr != nil {
		return false // there is no working directory
	}
	rel, err := filepath.Rel(dir, full)
	return err == nil && filepath.IsLocal(rel)
}

// newTextRule returns an entry's rule and its name for keys.
func newTextRule(in Input) (textRule, string, error) {
	switch {
	case in.Template != "":
		parts, err := parseTemplate(in.Template)
		return textRule{template: parts}, "template:" + in.Template, err
	case in.Messages != "":
		return textRule{messages: in.Messages}, "messages:" + in.Messages, nil
	}
	field := cmp.Or(in.Text, "text")
	return textRule{field: field}, "text:" + field, nil
}

// Place is a file's path from the plan's folder, or its absolute path if it is not below it.
func (p *Plan) Place(name string) string {
	if strings.Contains(name, "://") {
		return name
	}
	full, err := filepath.Abs(name)
	dir, dirErr := filepath.Abs(p.Dir())
	if err != nil || dirErr != nil {
		return filepath.ToSlash(name) // there is no working directory
	}
	if rel, err := filepath.Rel(dir, full); err == nil && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return filepath.ToSlash(full)
}

// pinnedFile is a file that a stage reads beside documents, as it was when the tasks
// were laid out.
type pinnedFile struct {
	prefix, name, place string
	stat                store.Identity
	identity            string
	sha256              string // if it is known by content
}

// unchanged returns an error if the file is no longer the one that was pinned.
func (f pinnedFile) unchanged(fsys store.FS) error {
	now, err := store.IdentityOf(fsys, f.prefix, f.name)
	if err == nil && now == f.stat {
		return nil
	}
	if f.sha256 != "" {
		if again, err := hashAll(fsys, f.name); err == nil && again == f.sha256 {
			return nil // written anew with the same content
		}
	}
	return fmt.Errorf("%s changed during the run; run again when nothing writes to it", f.name)
}

// readFiles resolves one Read: its files, sorted, and a key of their identities.
// Files up to contentKeyedBytes are known by content, larger ones by place, size and time (or
// entity tag, if remote),
// so that a copied tokenizer is the same tokenizer and weights are not read twice. The content of a file
// with the size and time at which it was hashed before is not read again; see [identities].
func (r *run) readFiles(stage string, read Read) ([]pinnedFile, Key, error) {
	parts := []string{read.Name, read.Value, read.Suffix}
	var all []pinnedFile
	for _, pattern := range read.Paths {
		prefix, names, err := r.filesAt(stage, read, r.plan.Path(pattern))
		if err != nil && read.Optional && errors.Is(err, fs.ErrNotExist) {
			parts = append(parts, "absent:"+pattern)
			continue
		}
		if err != nil {
			return nil, "", err
		}
		before := len(all)
		for _, name := range names {
			if !strings.HasSuffix(name, read.Suffix) || read.Select != nil && !read.Select(name) {
				continue
			}
			f, err := pin(r.opt.Inputs, prefix, name, r.plan.Place(name), read.contentBytes(), r.known)
			if err != nil {
				return nil, "", err
			}
			all, parts = append(all, f), append(parts, f.identity)
		}
		if len(all) == before && read.Optional { // what is there and not wanted is no reason to work again
			parts = append(parts, "absent:"+pattern)
		}
	}
	if len(all) == 0 && len(read.Paths) > 0 && !read.Optional {
		return nil, "", &UsageError{Msg: fmt.Sprintf("%s holds no file *%s; check the path",
			r.plan.Path(read.Paths[0]), read.Suffix)}
	}
	return all, keyOf(parts...), r.checkRead(read, all)
}

// filesAt lists what a Read has at one path. What [Read.Find] remarks is noted at the first stage
// that reads it.
func (r *run) filesAt(stage string, read Read, path string) (prefix string, names []string, err error) {
	if read.Find == nil {
		return expandRead(r.opt.Inputs, path)
	}
	prefix = store.Dir(path) // the path's own name may mean something to Find
	key := read.Name + " " + path
	if names, ok := r.found[key]; ok {
		return prefix, names, nil
	}
	names, remarks, err := read.Find(r.opt.Inputs, path)
	if err != nil {
		return "", nil, err
	}
	for _, remark := range remarks {
		r.keepNote(stage, remark)
	}
	if r.found == nil {
		r.found = map[string][]string{}
	}
	r.found[key] = names
	return prefix, names, nil
}

func (r *run) checkRead(read Read, files []pinnedFile) error {
	if read.Check == nil {
		return nil
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.name
	}
	return read.Check(r.opt.Inputs, names)
}

// contentKeyedBytes is the size up to which a file's identity is its content.
const contentKeyedBytes = 64 << 20

// contentBytes is the size up to which the files of a Read are known by content.
func (r Read) contentBytes() int64 {
	if r.ByTime {
		return -1
	}
	return contentKeyedBytes
}

// pin takes a file's identity: its content up to a size, which known may know.
func pin(fsys store.FS, prefix, name, place string, contentBytes int64, known *identities) (pinnedFile, error) {
	id, err := store.IdentityOf(fsys, prefix, name)
	f := pinnedFile{prefix: prefix, name: name, place: place, stat: id,
		identity: fmt.Sprint(place, " ", id.Bytes, " ", id.ModTimeNS)}
	if id.ETag != "" {
		f.identity = fmt.Sprint(place, " ", id.Bytes, " etag ", id.ETag)
	}
	if err != nil || id.Bytes > contentBytes {
		return f, err
	}
	f.sha256, err = known.sha256(fsys, name, id)
	f.identity = id.Path + " " + f.sha256
	return f, err
}

// expandRead lists a file, all files of a folder, or a glob's files.
func expandRead(fsys store.FS, pattern string) (prefix string, names []string, err error) {
	info, err := fsys.Stat(pattern)
	switch {
	case err == nil && !info.IsDir():
		return store.Dir(pattern), []string{pattern}, nil
	case err == nil:
		names, err := folderFiles(fsys, pattern)
		return pattern, names, err
	case store.IsRemote(pattern) && !errors.Is(err, fs.ErrNotExist):
		return "", nil, err
	case !strings.ContainsAny(pattern, "*?["):
		return "", nil, &UsageError{Msg: fmt.Sprintf("%s is not there; check the path", pattern), Err: err}
	}
	prefix, names, err = store.Expand(fsys, pattern)
	var none *store.NoMatchError
	if errors.As(err, &none) {
		err = &UsageError{Msg: fmt.Sprintf("%s matches no file; check the path", pattern), Err: fs.ErrNotExist}
	}
	return prefix, names, err
}

func folderFiles(fsys store.FS, dir string) ([]string, error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		name := store.Join(dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case e.IsDir():
			more, err := folderFiles(fsys, name)
			if err != nil {
				return nil, err
			}
			names = append(names, more...)
		default:
			names = append(names, name)
		}
	}
	return names, nil
}
