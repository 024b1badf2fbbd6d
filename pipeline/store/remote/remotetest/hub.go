// Package remotetest has servers on loopback for tests: one that answers as the Hugging Face
// hub does, and one that speaks as much of S3 as this program asks for.
package remotetest

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// Commit is the commit of every data set of a [Hub].
const Commit = "0123456789abcdef0123456789abcdef01234567"

// Hub is a server with one data set, OWNER/NAME, of the branch main and the tag v1.0. Large
// files are handed out by a second host, as the hub's are, at signed addresses.
type Hub struct {
	*httptest.Server
	Repo string
	// Token, if set, is asked for; Gated says that even then access is not granted.
	Token string
	Gated bool
	// LargeBytes is the size from which a file counts as large.
	LargeBytes int
	// Signature is in the addresses of the second host, which wants it.
	Signature string
	// Content answers in place of the second host if it returns true.
	Content func(w http.ResponseWriter, r *http.Request) bool

	mu       sync.Mutex
	files    map[string][]byte
	requests []string
	leaked   bool
	large    *httptest.Server
}

// NewHub starts a hub; Close ends it. What changes make of it is there before the first request, also
// of another process.
func NewHub(repo string, files map[string][]byte, changes ...func(*Hub)) *Hub {
	h := &Hub{Repo: repo, files: files, LargeBytes: 100, Signature: "X-Amz-Signature=5ec2e7"}
	for _, change := range changes {
		change(h)
	}
	h.large = httptest.NewServer(http.HandlerFunc(h.serveLarge))
	h.Server = httptest.NewServer(http.HandlerFunc(h.serve))
	return h
}

// Close ends both hosts.
func (h *Hub) Close() {
	h.Server.Close()
	h.large.Close()
}

// Put replaces a file. The commit stays, as on no hub: a file that is another all the same must be
// noticed by its hash.
func (h *Hub) Put(name string, data []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.files[name] = data
}

func (h *Hub) file(name string) (data []byte, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	data, ok = h.files[name]
	return data, ok
}

// Requests lists what was asked so far, as METHOD PATH, and forgets it.
func (h *Hub) Requests() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.requests
	h.requests = nil
	return r
}

// Leaked reports whether the second host was ever sent a token.
func (h *Hub) Leaked() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.leaked
}

func (h *Hub) note(r *http.Request, second bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests = append(h.requests, r.Method+" "+r.URL.Path)
	h.leaked = h.leaked || second && r.Header.Get("Authorization") != ""
}

func refuse(w http.ResponseWriter, status int, code string) {
	if code != "" {
		w.Header().Set("X-Error-Code", code)
	}
	w.WriteHeader(status)
}

func (h *Hub) serve(w http.ResponseWriter, r *http.Request) {
	h.note(r, false)
	rest, api := strings.CutPrefix(r.URL.Path, "/api")
	rest, known := strings.CutPrefix(rest, "/datasets/"+h.Repo+"/")
	what, rest, _ := strings.Cut(rest, "/")
	revision, name, _ := strings.Cut(rest, "/")
	switch {
	case !known:
		refuse(w, http.StatusUnauthorized, "RepoNotFound")
	case h.Token != "" && r.Header.Get("Authorization") == "" && h.Gated:
		refuse(w, http.StatusUnauthorized, "GatedRepo")
	case h.Token != "" && r.Header.Get("Authorization") != "Bearer "+h.Token:
		refuse(w, http.StatusUnauthorized, "")
	case h.Gated && what == "resolve":
		refuse(w, http.StatusForbidden, "GatedRepo")
	case revision != "main" && revision != "v1.0" && revision != Commit:
		refuse(w, http.StatusNotFound, "RevisionNotFound")
	case api && what == "revision":
		json.NewEncoder(w).Encode(map[string]string{"sha": Commit})
	case api && what == "tree":
		h.tree(w, r, name)
	case what == "resolve":
		h.resolve(w, r, name)
	default:
		refuse(w, http.StatusNotFound, "")
	}
}

// tree lists a folder, two entries to a page.
func (h *Hub) tree(w http.ResponseWriter, r *http.Request, dir string) {
	type lfs struct {
		OID string `json:"oid"`
	}
	type item struct {
		Type string `json:"type"`
		OID  string `json:"oid"`
		Size int    `json:"size"`
		Path string `json:"path"`
		LFS  *lfs   `json:"lfs,omitempty"`
	}
	items := map[string]item{}
	h.mu.Lock()
	files := maps.Clone(h.files)
	h.mu.Unlock()
	for name, data := range files {
		rest, below := strings.CutPrefix(name, dir)
		if dir != "" {
			rest, below = strings.CutPrefix(rest, "/")
		}
		first, _, deep := strings.Cut(rest, "/")
		at := path.Join(dir, first)
		switch {
		case !below:
		case deep:
			items[at] = item{Type: "directory", Path: at, OID: gitSHA1(nil)}
		default:
			it := item{Type: "file", Path: at, OID: gitSHA1(data), Size: len(data)}
			if len(data) >= h.LargeBytes {
				it.LFS, it.OID = &lfs{hexSHA256(data)}, gitSHA1([]byte("pointer"))
			}
			items[at] = it
		}
	}
	if len(items) == 0 {
		refuse(w, http.StatusNotFound, "EntryNotFound")
		return
	}
	names := slices.Sorted(maps.Keys(items))
	from := 0
	fmt.Sscan(r.URL.Query().Get("cursor"), &from)
	to := min(from+2, len(names))
	if to < len(names) {
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?cursor=%d>; rel="next"`, h.URL, r.URL.Path, to))
	}
	page := []item{}
	for _, n := range names[from:to] {
		page = append(page, items[n])
	}
	json.NewEncoder(w).Encode(page)
}

func (h *Hub) resolve(w http.ResponseWriter, r *http.Request, name string) {
	data, ok := h.file(name)
	if !ok {
		refuse(w, http.StatusNotFound, "EntryNotFound")
		return
	}
	w.Header().Set("X-Repo-Commit", Commit)
	if len(data) < h.LargeBytes {
		w.Header().Set("Etag", `"`+gitSHA1(data)+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		return
	}
	w.Header().Set("X-Linked-Etag", `"`+hexSHA256(data)+`"`)
	w.Header().Set("X-Linked-Size", fmt.Sprint(len(data)))
	w.Header().Set("Location", h.large.URL+"/"+name+"?"+h.Signature)
	w.WriteHeader(http.StatusFound)
}

// serveLarge is the second host; its entity tags are its own.
func (h *Hub) serveLarge(w http.ResponseWriter, r *http.Request) {
	h.note(r, true)
	if h.Content != nil && h.Content(w, r) {
		return
	}
	if r.URL.RawQuery != h.Signature {
		refuse(w, http.StatusForbidden, "")
		return
	}
	w.Header().Set("Etag", `"of-the-second-host"`)
	data, _ := h.file(strings.TrimPrefix(r.URL.Path, "/"))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

func hexSHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func gitSHA1(data []byte) string {
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...))
	return hex.EncodeToString(sum[:])
}
