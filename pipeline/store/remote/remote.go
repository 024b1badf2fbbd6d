// Package remote reads files of object stores, the Hugging Face hub and the web as if they
// were local, and keeps files in object stores.
//
// [FS] answers for local names as the operating system does, and for remote ones
// ([store.Location]) by the protocol of their scheme. What it finds out about a remote file
// when it first sees it, its size and entity tag, holds for its lifetime: each later request
// is bound to that tag, and a file that is another by then is an error, never a mixture.
//
//	Read      one download from start to end; where it breaks off, it goes on
//	ReadAt    requests for ranges, kept in a sparse local file until the last close
//
// Failures that may pass (broken connections, answers 408, 425, 429 and 5xx) are tried again a
// bounded number of times with growing, jittered pauses, longer if the server asks for it.
// A file of the hub is kept in the cache of the huggingface_hub library once all of it was read
// and its hash found right; files that are there are not fetched. A download of one that was broken
// off, even by the end of the process, is gone on with by the next that wants the file.
//
// Access data comes from the environment and the tools' own files only:
//
//	s3      AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, or AWS_PROFILE of
//	        AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials); without any, anonymous.
//	        AWS_REGION, AWS_DEFAULT_REGION; AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL
//	hf      HF_TOKEN, or the file HF_TOKEN_PATH (HF_HOME/token); HF_ENDPOINT; HF_HOME,
//	        HF_HUB_CACHE; HF_HUB_OFFLINE
//	https   addresses with a query, such as presigned ones: see [FS.Hide]
//
// No error of this package holds a token, user info or a query.
package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"path"
	"sync"
	"time"

	"bzdata/pipeline/store"
)

// Options configure [New]. The zero value of each but Env is a default.
type Options struct {
	// Env answers for the environment: os.LookupEnv.
	Env func(name string) (string, bool)
	// Scratch is the folder of temporary files; the default is the system's.
	Scratch string
	// Jitter spreads the pauses between attempts. They change no result.
	Jitter *rand.Rand
	// Sleep waits, or returns the context's error; tests replace it.
	Sleep func(ctx context.Context, d time.Duration) error
	// Transport carries requests; the default is a new one.
	Transport http.RoundTripper
	// Attempts is how often a request is tried that gains nothing; the default is 8.
	Attempts int
}

// FS is a [store.FS] and [store.ObjectStore] of local and remote names.
type FS struct {
	store.FS // for local names
	ctx      context.Context
	web      *client
	schemes  map[string]scheme
	opt      Options

	mu     sync.Mutex
	known  map[string]*entry
	spools map[string]*spool
	idle   []*spool // those of the hub's parts that nobody reads, longest first
}

var _ store.ObjectStore = (*FS)(nil)

// scheme is one protocol. Its methods try once; locations are clean.
type scheme interface {
	// stat describes a file or folder; fs.ErrNotExist says that neither is there.
	stat(ctx context.Context, l store.Location) (*entry, error)
	// list describes what a folder holds, sorted by name.
	list(ctx context.Context, l store.Location) ([]*entry, error)
	// open asks for the bytes from to to of a file.
	open(ctx context.Context, e *entry, from, to int64) (*answer, error)
}

// New returns a file system that is valid as long as ctx is. Local names are those of local.
func New(ctx context.Context, local store.FS, opt Options) *FS {
	if opt.Sleep == nil {
		opt.Sleep = sleep
	}
	if opt.Jitter == nil {
		opt.Jitter = rand.New(rand.NewPCG(1, 1))
	}
	if opt.Attempts == 0 {
		opt.Attempts = attemptsMax
	}
	if opt.Transport == nil {
		opt.Transport = newTransport()
	}
	f := &FS{FS: local, ctx: ctx, opt: opt, known: map[string]*entry{}, spools: map[string]*spool{}}
	f.web = newClient(opt)
	w := &webScheme{web: f.web, queries: map[string]string{}}
	f.schemes = map[string]scheme{"http": w, "https": w, "hf": newHub(f.web, opt), "s3": newBuckets(f.web, opt)}
	return f
}

// SetScratch names the folder of temporary files that are made from now on.
func (f *FS) SetScratch(dir string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opt.Scratch = dir
}

// Hide takes the query off a web address, which may be a signature, and returns the name by
// which the file goes from then on. Two queries of one address cannot be told apart by name
// and are refused.
func (f *FS) Hide(address string) (name string, err error) {
	return f.schemes["https"].(*webScheme).hide(address)
}

// entry is what is known of a remote file or folder.
type entry struct {
	loc    store.Location
	dir    bool
	size   int64
	etag   string
	time   time.Time
	commit string // of the hub: the commit that the revision stood for
	meta   string // SHA-256 that came with the upload
}

func (e *entry) Name() string               { return path.Base(e.loc.Path) }
func (e *entry) Size() int64                { return e.size }
func (e *entry) IsDir() bool                { return e.dir }
func (e *entry) ModTime() time.Time         { return e.time }
func (e *entry) Sys() any                   { return nil }
func (e *entry) Info() (fs.FileInfo, error) { return e, nil }
func (e *entry) Type() fs.FileMode          { return e.Mode().Type() }

// ETag implements [store.Tagged].
func (e *entry) ETag() string { return e.etag }

// Mode is that of a file or folder which is read only.
func (e *entry) Mode() fs.FileMode {
	if e.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// at parses a remote name and finds its scheme.
func (f *FS) at(name string) (store.Location, scheme, error) {
	l, err := store.ParseLocation(name)
	if err != nil {
		return l, nil, &store.LocationError{Msg: fmt.Sprintf("%s: %s", store.RedactText(name), err)}
	}
	return l, f.schemes[l.Scheme], nil
}

// Stat describes a file or folder, as it was when it was first seen.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	if !store.IsRemote(name) {
		return f.FS.Stat(name)
	}
	return f.entry(name)
}

func (f *FS) entry(name string) (*entry, error) {
	l, s, err := f.at(name)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	e := f.known[l.String()]
	f.mu.Unlock()
	if e != nil {
		return e, nil
	}
	err = f.web.try(f.ctx, l.String(), func(ctx context.Context) error {
		e, err = s.stat(ctx, l)
		return err
	})
	if err != nil {
		return nil, err
	}
	f.learn(e)
	return e, nil
}

func (f *FS) learn(e *entry) {
	if e.dir {
		return // only files are pinned
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known[e.loc.String()] == nil {
		f.known[e.loc.String()] = e
	}
}

// ReadDir lists a folder, sorted by name.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	if !store.IsRemote(name) {
		return f.FS.ReadDir(name)
	}
	l, s, err := f.at(name)
	if err != nil {
		return nil, err
	}
	var entries []*entry
	err = f.web.try(f.ctx, l.String(), func(ctx context.Context) error {
		entries, err = s.list(ctx, l)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make([]fs.DirEntry, len(entries))
	for i, e := range entries {
		f.learn(e)
		out[i] = e
	}
	return out, nil
}

// errReadOnly is the answer to changing what is remote.
func errReadOnly(op, name string) error {
	return &fs.PathError{Op: op, Path: name, Err: errors.New("remote names can only be read")}
}

// Create makes a local file.
func (f *FS) Create(name string) (store.File, error) {
	if store.IsRemote(name) {
		return nil, errReadOnly("create", name)
	}
	return f.FS.Create(name)
}

// Rename renames a local file.
func (f *FS) Rename(oldname, newname string) error {
	if store.IsRemote(oldname) || store.IsRemote(newname) {
		return errReadOnly("rename", newname)
	}
	return f.FS.Rename(oldname, newname)
}

// MkdirAll makes a local folder.
func (f *FS) MkdirAll(name string) error {
	if store.IsRemote(name) {
		return errReadOnly("mkdir", name)
	}
	return f.FS.MkdirAll(name)
}

// Readlink reads a local link; no remote file is one.
func (f *FS) Readlink(name string) (string, error) {
	if store.IsRemote(name) {
		return "", errReadOnly("readlink", name)
	}
	return f.FS.Readlink(name)
}
