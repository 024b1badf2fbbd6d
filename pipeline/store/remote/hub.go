package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"bzdata/pipeline/store"
)

// hubScheme reads data sets of the Hugging Face hub. A revision is resolved to its commit
// once, and all that is read afterwards is of that commit.
type hubScheme struct {
	web      *client
	here     *http.Client // follows redirects within the hub only
	endpoint string
	token    secret
	tokenErr error
	cache    *hubCache
	offline  bool

	mu      sync.Mutex
	commits map[string]string // by repository and revision
}

// newHub reads the settings of the huggingface_hub library.
func newHub(web *client, opt Options) *hubScheme {
	home := hubHome(opt.Env)
	h := &hubScheme{web: web, endpoint: "https://huggingface.co", commits: map[string]string{},
		here: &http.Client{Transport: opt.Transport, CheckRedirect: stayOnHost}}
	if endpoint := getenv(opt.Env, "HF_ENDPOINT"); endpoint != "" {
		h.endpoint = strings.TrimRight(endpoint, "/")
	}
	h.cache = newHubCache(firstSet(getenv(opt.Env, "HF_HUB_CACHE"), filepath.Join(home, "hub")))
	switch strings.ToUpper(getenv(opt.Env, "HF_HUB_OFFLINE")) {
	case "1", "ON", "YES", "TRUE":
		h.offline = true
	}
	h.token = secret(strings.TrimSpace(firstSet(getenv(opt.Env, "HF_TOKEN"), getenv(opt.Env, "HUGGING_FACE_HUB_TOKEN"))))
	if h.token == "" {
		data, err := os.ReadFile(firstSet(getenv(opt.Env, "HF_TOKEN_PATH"), filepath.Join(home, "token")))
		h.token = secret(strings.TrimSpace(string(data)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			h.tokenErr = err // said only if the token is asked for
		}
	}
	return h
}

// hubHome is HF_HOME with its defaults.
func hubHome(env func(string) (string, bool)) string {
	if home := getenv(env, "HF_HOME"); home != "" {
		return home
	}
	return filepath.Join(firstSet(getenv(env, "XDG_CACHE_HOME"), filepath.Join(getenv(env, "HOME"), ".cache")), "huggingface")
}

func getenv(env func(string) (string, bool), name string) string {
	if env == nil {
		return ""
	}
	value, _ := env(name)
	return value
}

func firstSet(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// stayOnHost follows redirects of renamed repositories, but not those to where content is
// kept.
func stayOnHost(req *http.Request, via []*http.Request) error {
	if req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme {
		return http.ErrUseLastResponse
	}
	return checkRedirect(req, via)
}

// commit resolves the revision.
func (h *hubScheme) commit(ctx context.Context, l store.Location) (string, error) {
	if isCommit(l.Revision) {
		return l.Revision, nil
	}
	key := l.Root + "@" + l.Revision
	h.mu.Lock()
	known := h.commits[key]
	h.mu.Unlock()
	if known != "" {
		return known, nil
	}
	sha := ""
	if h.offline {
		if sha = h.cache.ref(l); sha == "" {
			return "", h.notCached(l)
		}
	} else {
		var answer struct{ SHA string }
		_, err := h.get(ctx, l, "/api/datasets/"+l.Root+"/revision/"+url.PathEscape(l.Revision), &answer)
		if err != nil {
			return "", err
		}
		if sha = answer.SHA; !isCommit(sha) {
			return "", &finalError{"the hub names no commit for the revision"}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.commits[key] = sha
	return sha, nil
}

// Commit returns the commit that the revision of a data set's name stands for. Names with it in place of the
// revision are of the same content always.
func (f *FS) Commit(name string) (commit string, err error) {
	l, s, err := f.at(name)
	if err != nil {
		return "", err
	}
	hub, ok := s.(*hubScheme)
	if !ok {
		return "", &store.LocationError{Msg: l.String() + " is no data set of the hub, and has no commit"}
	}
	err = f.web.try(f.ctx, l.String(), func(ctx context.Context) error {
		commit, err = hub.commit(ctx, l)
		return err
	})
	return commit, err
}

func isCommit(s string) bool {
	return len(s) == 40 && strings.Trim(s, "0123456789abcdef") == ""
}

func (h *hubScheme) notCached(l store.Location) error {
	return &store.LocationError{Msg: fmt.Sprintf("%s is not in the cache %s, and HF_HUB_OFFLINE is set; unset it, or fetch the "+
		"data set first", l, h.cache.dir)}
}

// get asks the API and returns the address of the next page, if any.
func (h *hubScheme) get(ctx context.Context, l store.Location, at string, answer any) (next string, err error) {
	if !strings.HasPrefix(at, "http") {
		at = h.endpoint + at
	}
	res, err := h.web.do(ctx, request{method: http.MethodGet, url: at, token: h.token})
	if err != nil {
		return "", h.explain(l, err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(http.MaxBytesReader(nil, res.Body, 64<<20)).Decode(answer); err != nil {
		return "", fmt.Errorf("the hub's answer cannot be read: %w", err)
	}
	return h.nextPage(res.Header.Get("Link"))
}

// nextPage reads a header Link: <URL>; rel="next". The token goes with it, so it must not
// lead elsewhere.
func (h *hubScheme) nextPage(link string) (string, error) {
	address, params, _ := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	if link == "" || !strings.Contains(params, `rel="next"`) {
		return "", nil
	}
	if !strings.HasPrefix(address, h.endpoint+"/") {
		return "", &finalError{"the hub's list goes on at another host"}
	}
	return address, nil
}

// treeEntry is one file or folder in the hub's answer.
type treeEntry struct {
	Type, OID, Path string
	Size            int64
	LFS             *struct{ OID string }
}

func (h *hubScheme) list(ctx context.Context, l store.Location) ([]*entry, error) {
	commit, err := h.commit(ctx, l)
	if err != nil {
		return nil, err
	}
	if h.offline {
		return h.cache.list(l, commit)
	}
	var out []*entry
	at := "/api/datasets/" + l.Root + "/tree/" + commit
	if l.Path != "" {
		at += "/" + escapePath(l.Path)
	}
	for at != "" {
		var page []treeEntry
		if at, err = h.get(ctx, l, at, &page); err != nil {
			return nil, err
		}
		for _, t := range page {
			e, err := t.entry(l, commit)
			if err != nil {
				return nil, err
			}
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b *entry) int { return strings.Compare(a.Name(), b.Name()) })
	return out, nil
}

func (t treeEntry) entry(dir store.Location, commit string) (*entry, error) {
	l := dir
	l.Path = path.Join(dir.Path, path.Base(t.Path))
	if l.Path != t.Path || !filepath.IsLocal(filepath.FromSlash(t.Path)) || t.Size < 0 {
		return nil, &finalError{"the hub lists a file that is not below the folder asked for"}
	}
	e := &entry{loc: l, dir: t.Type == "directory", size: t.Size, etag: t.OID, commit: commit}
	if t.LFS != nil {
		e.etag = t.LFS.OID
	}
	if !e.dir && !isDigest(e.etag) {
		return nil, &finalError{"the hub lists a file without its hash"}
	}
	return e, nil
}

// isDigest reports whether a tag is a git blob's SHA-1 or a large file's SHA-256.
func isDigest(tag string) bool {
	return (len(tag) == 40 || len(tag) == 64) && strings.Trim(tag, "0123456789abcdef") == ""
}

func (h *hubScheme) stat(ctx context.Context, l store.Location) (*entry, error) {
	commit, err := h.commit(ctx, l)
	if err != nil {
		return nil, err
	}
	if l.Path == "" {
		return &entry{loc: l, dir: true, commit: commit}, nil
	}
	if h.offline {
		return h.cache.stat(l, commit, h.notCached(l))
	}
	e, err := h.head(ctx, l, commit)
	if !errors.Is(err, fs.ErrNotExist) {
		return e, err
	}
	if below, err := h.list(ctx, l); err == nil && len(below) > 0 {
		return &entry{loc: l, dir: true, commit: commit}, nil
	} else if err != nil {
		return nil, err
	}
	return nil, fs.ErrNotExist
}

// head describes a file without fetching it.
func (h *hubScheme) head(ctx context.Context, l store.Location, commit string) (*entry, error) {
	c := client{http: h.here}
	res, err := c.do(ctx, request{method: http.MethodHead, url: h.resolve(l, commit), token: h.token},
		http.StatusFound, http.StatusTemporaryRedirect, http.StatusMovedPermanently, http.StatusPermanentRedirect,
		http.StatusSeeOther)
	if err != nil {
		return nil, h.explain(l, err)
	}
	defer res.Body.Close()
	e := &entry{loc: l, commit: commit, size: res.ContentLength, etag: etagOf(res.Header)}
	e.etag = firstSet(linkedTag(res.Header), strings.TrimPrefix(e.etag, "W/"))
	if size := res.Header.Get("X-Linked-Size"); size != "" {
		if _, err := fmt.Sscan(size, &e.size); err != nil {
			e.size = -1
		}
	}
	if e.size < 0 || !isDigest(e.etag) {
		return nil, &finalError{"the hub tells no size or hash of the file"}
	}
	return e, nil
}

// resolve is the address of a file's content.
func (h *hubScheme) resolve(l store.Location, commit string) string {
	return h.endpoint + "/datasets/" + l.Root + "/resolve/" + commit + "/" + escapePath(l.Path)
}

func escapePath(p string) string {
	parts := strings.Split(p, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

func (h *hubScheme) open(ctx context.Context, e *entry, from, to int64) (*answer, error) {
	if h.offline {
		return nil, h.notCached(e.loc)
	}
	res, err := h.web.do(ctx, request{method: http.MethodGet, url: h.resolve(e.loc, e.commit), token: h.token,
		header: map[string]string{"Range": rangeHeader(from, to)}})
	if err != nil {
		return nil, h.explain(e.loc, err)
	}
	skip, err := checkAnswer(res.Header, res.ContentLength, e, from)
	if err == nil {
		err = h.checkTag(res, e)
	}
	if err != nil {
		return nil, errors.Join(err, res.Body.Close())
	}
	return &answer{res.Body, skip}, nil
}

// checkTag compares the file's hash, as the hub tells it on the way to the content, with the one
// that was seen first. Content that another host sends has a tag of that host's own: If-Range,
// which would go to both, cannot bind a request.
func (h *hubScheme) checkTag(res *http.Response, e *entry) error {
	for r := res; r != nil; r = r.Request.Response {
		tag := linkedTag(r.Header)
		if tag == "" && strings.HasPrefix(r.Request.URL.String(), h.endpoint+"/") {
			tag = strings.TrimPrefix(etagOf(r.Header), "W/")
		}
		if isDigest(tag) && len(tag) == len(e.etag) && tag != e.etag {
			return errChanged
		}
	}
	return nil
}

// linkedTag is the hash of a large file, or "".
func linkedTag(h http.Header) string {
	return strings.TrimPrefix(etagOf(http.Header{"Etag": {h.Get("X-Linked-Etag")}}), "W/")
}

// explain says what the hub's refusals mean. It answers 401 for what is not there as well as
// for what needs a token.
func (h *hubScheme) explain(l store.Location, err error) error {
	var status *statusError
	if !errors.As(err, &status) {
		return err
	}
	say := func(format string, args ...any) error {
		return &store.LocationError{Msg: l.String() + ": " + fmt.Sprintf(format, args...)}
	}
	page := h.endpoint + "/datasets/" + l.Root
	switch {
	case status.code == "RevisionNotFound":
		return say("the data set has no revision %s; check the part behind @", l.Revision)
	case status.code == "EntryNotFound", status.status == http.StatusNotFound && status.code == "":
		return fs.ErrNotExist
	case status.code == "GatedRepo" && h.token == "", status.status == http.StatusUnauthorized && h.token == "":
		if h.tokenErr != nil {
			return say("the hub wants a token, and the token file cannot be read: %v", h.tokenErr)
		}
		return say("the hub wants a token, or there is no such data set; check the name, accept its terms at %s, "+
			"and set HF_TOKEN", page)
	case status.code == "GatedRepo", status.status == http.StatusForbidden:
		return say("this token is not let in; accept the terms at %s with its account", page)
	case status.status == http.StatusUnauthorized && status.code != "RepoNotFound":
		return say("the hub does not accept the token; make a new one and set HF_TOKEN")
	case status.code == "RepoNotFound", status.status == http.StatusUnauthorized:
		return say("there is no such data set, or this token does not see it; check the name")
	case status.status == http.StatusRequestedRangeNotSatisfiable, status.status == http.StatusPreconditionFailed:
		return errChanged
	}
	return err
}
