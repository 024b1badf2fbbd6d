package mirror

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"bzdata/pipeline/store"
)

// ManifestName is the file that describes a mirror.
const ManifestName = "mirror.json"

const manifestVersion = 1

// Manifest is mirror.json.
type Manifest struct {
	Version int         `json:"version"`
	Sources []*Mirrored `json:"sources"`
}

// Mirrored is a data set of a mirror.
type Mirrored struct {
	Source
	Commit string `json:"commit"` // of Revision when its files were listed
	Folder string `json:"folder"` // of the copies, below the mirror
	// Files are all files of the split, in the order in which validators read them.
	Files []File `json:"files"`
}

// File is a file of a data set.
type File struct {
	Name  string `json:"file"` // path at the hub
	Bytes int64  `json:"bytes"`
	ETag  string `json:"etag"` // SHA-256 of a large file, git's SHA-1 of a small one
	// SHA256, in hexadecimal, is that of the copy, or "" if there is none.
	SHA256 string `json:"sha256,omitempty"`
	// Fetched is when it was fetched, in RFC 3339.
	Fetched string `json:"fetched,omitempty"`
}

// Read reads the manifest of a mirror; nil without one.
func Read(fsys store.FS, dir string) (*Manifest, error) {
	name := filepath.Join(dir, ManifestName)
	data, err := store.ReadAll(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m := &Manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("%s: %w; remove it, and run bzdata mirror again", name, err)
	}
	if m.Version != manifestVersion {
		return nil, fmt.Errorf("%s is of version %d, and this program knows version %d; run bzdata mirror again", name,
			m.Version, manifestVersion)
	}
	for _, s := range m.Sources {
		for _, f := range s.Files {
			if !filepath.IsLocal(filepath.Join(s.Folder, filepath.FromSlash(f.Name))) {
				return nil, fmt.Errorf("%s names %s, which lies outside of its folder", name, f.Name)
			}
		}
	}
	return m, nil
}

// Find returns the entry of a source, or nil.
func (m *Manifest) Find(s Source) *Mirrored {
	if m == nil {
		return nil
	}
	i := slices.IndexFunc(m.Sources, func(e *Mirrored) bool { return e.Source == s })
	if i < 0 {
		return nil
	}
	return m.Sources[i]
}

// Place is where the copy of a file is, or would be.
func (m *Mirrored) Place(dir string, file int) string {
	return filepath.Join(dir, m.Folder, filepath.FromSlash(m.Files[file].Name))
}

// FilesOf lists the files of a source that a mirror has, in the order in which validators read them; "" stands for
// one that the data set has and the mirror lacks. names are theirs for people. An error says that there is none.
func (m *Manifest) FilesOf(fsys store.FS, dir string, s Source) (files, names []string, err error) {
	if known := m.Find(s); known != nil {
		there := 0
		for i, f := range known.Files {
			place := known.Place(dir, i)
			if info, err := fsys.Stat(place); err != nil || info.Size() != f.Bytes || f.SHA256 == "" {
				place = ""
			} else {
				there++
			}
			files, names = append(files, place), append(names, f.Name)
		}
		if there == 0 {
			return nil, nil, fmt.Errorf("%s holds no file of %s; run bzdata mirror", dir, s)
		}
		return files, names, nil
	}
	folder := filepath.Join(dir, s.folder())
	if !store.Exists(fsys, folder) {
		folder = filepath.Join(dir, filepath.FromSlash(s.Path))
	}
	_, files, err = store.Expand(fsys, folder)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: no JSONL or Parquet file of %s is there; run bzdata mirror, or put them there", folder,
			s.Path)
	}
	for _, f := range files {
		rel, err := filepath.Rel(folder, f)
		if err != nil {
			return nil, nil, err
		}
		names = append(names, filepath.ToSlash(rel))
	}
	return files, names, nil
}

// Folder is a mirror that is being filled. It is not safe for concurrent use.
type Folder struct {
	Dir      string
	Manifest *Manifest

	fsys store.FS
	hub  Hub
	now  func() string
}

// OpenFolder opens a mirror for filling; it need not be there. now is the time in RFC 3339.
func OpenFolder(fsys store.FS, hub Hub, dir string, now func() string) (*Folder, error) {
	m, err := Read(fsys, dir)
	if err != nil {
		return nil, err
	}
	if m == nil {
		m = &Manifest{Version: manifestVersion}
	}
	return &Folder{dir, m, fsys, hub, now}, fsys.MkdirAll(dir)
}

// Update lists a source anew. Files that are the same by size and entity tag stay as they are.
func (f *Folder) Update(s Source) (*Mirrored, error) {
	listed, err := List(f.hub, s)
	if err != nil {
		return nil, err
	}
	old := f.Manifest.Find(s)
	if old == nil {
		f.Manifest.Sources = append(f.Manifest.Sources, listed)
		return listed, f.write()
	}
	known := map[string]File{}
	for _, e := range old.Files {
		known[e.Name] = e
	}
	for i, e := range listed.Files {
		if k := known[e.Name]; k.Bytes == e.Bytes && k.ETag == e.ETag {
			listed.Files[i] = k
		}
	}
	if old.Commit == listed.Commit && slices.Equal(old.Files, listed.Files) {
		return old, nil
	}
	*old = *listed
	return old, f.write()
}

// Has reports whether the copy of a file is there.
func (f *Folder) Has(m *Mirrored, file int) bool {
	e := m.Files[file]
	info, err := f.fsys.Stat(m.Place(f.Dir, file))
	return err == nil && e.SHA256 != "" && info.Size() == e.Bytes
}

// Fetch makes a copy of a file, if there is none, and tells how many bytes have come.
func (f *Folder) Fetch(ctx context.Context, m *Mirrored, file int, progress func(bytes int64)) error {
	if f.Has(m, file) {
		return nil
	}
	e, place := &m.Files[file], m.Place(f.Dir, file)
	sum, err := f.adopt(ctx, *e, place)
	if err != nil {
		return err
	}
	if sum == "" {
		if sum, err = f.download(ctx, m, *e, place, progress); err != nil {
			return err
		}
	}
	e.SHA256, e.Fetched = sum, f.now()
	return f.write()
}

// adopt takes a copy that is there already, such as one whose line in the manifest was lost in a crash. sum is "" if
// there is none.
func (f *Folder) adopt(ctx context.Context, e File, place string) (sum string, err error) {
	file, err := f.fsys.Open(place)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer file.Close()
	if file.Size() != e.Bytes {
		return "", nil
	}
	c := newChecker(ctx, e, io.Discard, nil)
	if _, err := io.Copy(c, file); err != nil {
		return "", err
	}
	sum, err = c.sum()
	if err != nil {
		return "", nil // another file of the same size
	}
	return sum, nil
}

func (f *Folder) download(
	ctx context.Context, m *Mirrored, e File, place string, progress func(bytes int64),
) (sum string, err error) {
	loc := store.Location{Scheme: "hf", Root: m.Path, Revision: m.Commit, Path: e.Name}
	if err := f.fsys.MkdirAll(filepath.Dir(place)); err != nil {
		return "", err
	}
	err = store.WriteFile(f.fsys, place, func(w io.Writer) (err error) {
		from, err := f.hub.Open(loc.String())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, from.Close()) }()
		c := newChecker(ctx, e, w, progress)
		if _, err := io.Copy(c, struct{ io.Reader }{from}); err != nil {
			return err
		}
		sum, err = c.sum()
		return err
	})
	return sum, err
}

func (f *Folder) write() error {
	data, err := json.MarshalIndent(f.Manifest, "", " ")
	if err != nil {
		return err
	}
	return store.WriteBytes(f.fsys, filepath.Join(f.Dir, ManifestName), append(data, '\n'))
}

// checker hashes what goes through it.
type checker struct {
	ctx    context.Context
	file   File
	to     io.Writer
	plain  hash.Hash
	git    hash.Hash // of "blob SIZE\0" and the content
	n      int64
	report func(int64)
}

func newChecker(ctx context.Context, e File, to io.Writer, report func(int64)) *checker {
	c := &checker{ctx: ctx, file: e, to: to, plain: sha256.New(), git: sha1.New(), report: report}
	fmt.Fprintf(c.git, "blob %d\x00", e.Bytes)
	return c
}

// Write passes bytes on.
func (c *checker) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.to.Write(p)
	c.plain.Write(p[:n])
	c.git.Write(p[:n])
	if c.n += int64(n); c.report != nil {
		c.report(c.n)
	}
	return n, err
}

// sum is the SHA-256, if the content has the file's size and entity tag.
func (c *checker) sum() (string, error) {
	plain, tag := hex.EncodeToString(c.plain.Sum(nil)), hex.EncodeToString(c.git.Sum(nil))
	if len(c.file.ETag) == 2*sha256.Size {
		tag = plain
	}
	if c.n != c.file.Bytes || tag != c.file.ETag {
		return "", fmt.Errorf("%s: what came has %d bytes and the hash %s, it should have %d and %s; run again", c.file.Name, c.n,
			tag, c.file.Bytes, c.file.ETag)
	}
	return plain, nil
}
