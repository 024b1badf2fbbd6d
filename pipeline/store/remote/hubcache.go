package remote

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"bzdata/pipeline/store"
)

// hubCache is the cache of the huggingface_hub library, in its layout (huggingface_hub 2.4.0,
// "Understand caching"):
//
//	datasets--OWNER--NAME/blobs/ETAG              content, by SHA-256 or by git's SHA-1
//	                      snapshots/COMMIT/PATH   links to it
//	                      refs/REVISION           the commit of a branch or tag
//
// Blobs on their way are [part]s. The library's own locks, in .locks, keep its processes from
// doing work twice; a blob appears whole by a rename, so that nothing hangs on them.
type hubCache struct {
	dir string
	// locks reports whether locks in a folder keep all processes apart; tests replace it.
	locks func(dir string) bool

	mu   sync.Mutex
	used map[string]bool // folders of blobs that were looked at
}

func newHubCache(dir string) *hubCache {
	return &hubCache{dir: dir, locks: locksHold, used: map[string]bool{}}
}

func (c *hubCache) repo(l store.Location) string {
	return filepath.Join(c.dir, "datasets--"+strings.ReplaceAll(l.Root, "/", "--"))
}

// blobs is the folder of an entry's blob.
func (c *hubCache) blobs(e *entry) string {
	dir := filepath.Join(c.repo(e.loc), "blobs")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used[dir] = true
	return dir
}

// ref is the commit that a revision was last seen at, or "".
func (c *hubCache) ref(l store.Location) string {
	data, err := os.ReadFile(filepath.Join(c.repo(l), "refs", filepath.FromSlash(l.Revision)))
	if sha := strings.TrimSpace(string(data)); err == nil && isCommit(sha) {
		return sha
	}
	return ""
}

func (c *hubCache) snapshot(l store.Location, commit string) string {
	return filepath.Join(c.repo(l), "snapshots", commit, filepath.FromSlash(l.Path))
}

// stat describes what the cache has under a name.
func (c *hubCache) stat(l store.Location, commit string, missing error) (*entry, error) {
	name := c.snapshot(l, commit)
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	e := &entry{loc: l, dir: info.IsDir(), size: info.Size(), commit: commit, time: info.ModTime()}
	if target, err := os.Readlink(name); err == nil && isDigest(filepath.Base(target)) {
		e.etag = filepath.Base(target)
	}
	return e, nil
}

// list describes what the cache has of a folder.
func (c *hubCache) list(l store.Location, commit string) ([]*entry, error) {
	names, err := os.ReadDir(c.snapshot(l, commit))
	if err != nil {
		return nil, err
	}
	var out []*entry
	for _, n := range names {
		below := l
		below.Path = path.Join(l.Path, n.Name())
		e, err := c.stat(below, commit, fs.ErrNotExist)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a link to content that is gone
		}
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// cached opens a file that the cache has, or returns nil.
func (f *FS) cached(h *hubScheme, e *entry) (store.ReadFile, error) {
	for _, name := range []string{h.cache.snapshot(e.loc, e.commit), filepath.Join(h.cache.blobs(e), e.etag)} {
		file, err := store.OS().Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if file.Size() == e.size {
			return file, nil
		}
		file.Close()
	}
	if h.offline {
		return nil, h.notCached(e.loc)
	}
	return nil, nil
}

// place makes a file that was checked the blob of an entry, and links to it.
func (c *hubCache) place(e *entry, file string) error {
	repo := c.repo(e.loc)
	if err := os.Rename(file, filepath.Join(repo, "blobs", e.etag)); err != nil {
		return err
	}
	link := c.snapshot(e.loc, e.commit)
	up := strings.Repeat("../", 2+strings.Count(e.loc.Path, "/"))
	if err := os.MkdirAll(filepath.Dir(link), 0o777); err != nil {
		return err
	}
	if err := os.Symlink(up+"blobs/"+e.etag, link); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return c.writeRef(e)
}

// writeRef notes the commit of a branch or tag. Others may do so at the same moment; and what
// stands below refs for only a moment would be a branch to the library.
func (c *hubCache) writeRef(e *entry) error {
	if isCommit(e.loc.Revision) || c.ref(e.loc) == e.commit {
		return nil
	}
	repo := c.repo(e.loc)
	ref := filepath.Join(repo, "refs", filepath.FromSlash(e.loc.Revision))
	if err := os.MkdirAll(filepath.Dir(ref), 0o777); err != nil {
		return err
	}
	file, err := os.CreateTemp(repo, store.TempPrefix+"ref-*")
	if err != nil {
		return err
	}
	_, err = file.WriteString(e.commit)
	err = errors.Join(err, file.Chmod(0o644), file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), ref)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

// checkDigest compares a file with its entity tag, which on the hub is its hash: SHA-256 of
// large files, of others git's SHA-1 of "blob SIZE\0" and the content.
func checkDigest(e *entry, file *os.File) error {
	var h hash.Hash = sha256.New()
	if len(e.etag) == 2*sha1.Size {
		h = sha1.New()
		fmt.Fprintf(h, "blob %d\x00", e.size)
	}
	if _, err := io.Copy(h, io.NewSectionReader(file, 0, e.size)); err != nil {
		return err
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != e.etag {
		return fmt.Errorf("%s: what was downloaded has the hash %s, it should be %s; run again", e.loc, sum, e.etag)
	}
	return nil
}
