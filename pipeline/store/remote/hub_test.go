package remote

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/pipeline/store"
	"bzdata/pipeline/store/remote/remotetest"
)

// hubFiles are small and large ones.
func hubFiles() map[string][]byte {
	return map[string][]byte{
		"README.md":           []byte("# A set\n"),
		"data/a.jsonl":        []byte(`{"text":"a"}` + "\n"),
		"data/b.jsonl":        bytes.Repeat([]byte(`{"text":"bbbbbbbbb"}`+"\n"), 50_000),
		"data/more/c.jsonl":   bytes.Repeat([]byte(`{"text":"ccccccc"}`+"\n"), 100),
		"data/more/d.parquet": randomBytes(1000),
		"empty.jsonl":         {},
	}
}

func newTestHub(t *testing.T) *remotetest.Hub {
	h := remotetest.NewHub("owner/name", hubFiles())
	t.Cleanup(h.Close)
	return h
}

func hubEnv(t *testing.T, h *remotetest.Hub) map[string]string {
	return map[string]string{"HF_ENDPOINT": h.URL, "HF_HOME": filepath.Join(t.TempDir(), "hf")}
}

func TestHubFilesAreFoundAndCached(t *testing.T) {
	h := newTestHub(t)
	env := hubEnv(t, h)
	fsys, _ := newTestFS(t, env)
	const root = "hf://datasets/owner/name"
	for pattern, want := range map[string][]string{
		root + "@main/data/*.jsonl":      {"data/a.jsonl", "data/b.jsonl"},
		root + "@main/**/*.jsonl":        {"data/a.jsonl", "data/b.jsonl", "data/more/c.jsonl", "empty.jsonl"},
		root + "@v1.0/data/more":         {"data/more/c.jsonl", "data/more/d.parquet"},
		root + "@v1.0/data/more/":        {"data/more/c.jsonl", "data/more/d.parquet"},
		root + "/data/b.jsonl":           {"data/b.jsonl"},
		root + "@" + remotetest.Commit:   {"data/a.jsonl", "data/b.jsonl", "data/more/c.jsonl", "data/more/d.parquet", "empty.jsonl"},
		root + "@main/d*/m?re/[cd].jso*": {"data/more/c.jsonl"},
	} {
		_, names, err := store.Expand(fsys, pattern)
		for i := range names {
			l, _ := store.ParseLocation(names[i])
			names[i] = l.Path
		}
		if err != nil || !slices.Equal(names, want) {
			t.Errorf("%s: %v, %v", pattern, names, err)
		}
	}
	for name, data := range hubFiles() {
		for way, read := range readWays {
			got, err := readName(fsys, root+"@v1.0/"+name, read)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s, %s: %d bytes, %v", name, way, len(got), err)
			}
		}
	}
	// What was read is in the cache as huggingface_hub keeps it, and is not fetched again.
	repo := filepath.Join(env["HF_HOME"], "hub", "datasets--owner--name")
	for name, data := range hubFiles() {
		link := filepath.Join(repo, "snapshots", remotetest.Commit, filepath.FromSlash(name))
		target, err := os.Readlink(link)
		got, err2 := os.ReadFile(link)
		if err != nil || err2 != nil || !bytes.Equal(got, data) || !strings.Contains(target, "../blobs/") {
			t.Errorf("%s: %s, %v, %v", name, target, err, err2)
		}
	}
	if ref, err := os.ReadFile(filepath.Join(repo, "refs", "v1.0")); string(ref) != remotetest.Commit {
		t.Errorf("refs: %q, %v", ref, err)
	}
	h.Requests()
	again, _ := newTestFS(t, env)
	if _, err := readName(again, root+"@v1.0/data/b.jsonl", readWays["Read"]); err != nil {
		t.Error(err)
	}
	for _, r := range h.Requests() {
		if strings.HasPrefix(r, "GET /datasets/") || strings.HasPrefix(r, "GET /data/") {
			t.Errorf("%s, though the file is in the cache", r)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(repo, "blobs", "*.incomplete")); len(left) > 0 {
		t.Errorf("left in the cache: %v", left)
	}
}

func TestHubOffline(t *testing.T) {
	h := newTestHub(t)
	env := hubEnv(t, h)
	const name = "hf://datasets/owner/name@main/data/b.jsonl"
	env["HF_HUB_OFFLINE"] = "1"
	fsys, _ := newTestFS(t, env)
	var location *store.LocationError
	if _, err := fsys.Open(name); !errors.As(err, &location) || !strings.Contains(err.Error(), "HF_HUB_OFFLINE is set") {
		t.Errorf("%v", err)
	}
	delete(env, "HF_HUB_OFFLINE")
	online, _ := newTestFS(t, env)
	want, err := readName(online, name, readWays["Read"])
	if err != nil {
		t.Fatal(err)
	}
	onlineID, err := store.IdentityOf(online, "hf://datasets/owner/name@main", name)
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	env["HF_HUB_OFFLINE"] = "TRUE"
	offline, _ := newTestFS(t, env)
	got, err := readName(offline, name, readWays["Read"])
	id, idErr := store.IdentityOf(offline, "hf://datasets/owner/name@main", name)
	if err != nil || idErr != nil || !bytes.Equal(got, want) || id != onlineID || id.ETag == "" {
		t.Errorf("%v, %v; %+v, was %+v", err, idErr, id, onlineID)
	}
	_, names, err := store.Expand(offline, "hf://datasets/owner/name@main/**/*.jsonl")
	if err != nil || !slices.Equal(names, []string{name}) {
		t.Errorf("%v, %v", names, err)
	}
	if _, err := offline.Open("hf://datasets/owner/name@main/data/a.jsonl"); !errors.As(err, &location) {
		t.Errorf("%v", err)
	}
}

func TestTokensStayWithTheHub(t *testing.T) {
	const token = "hf_verysecret"
	h := newTestHub(t)
	h.Token = token
	env := hubEnv(t, h)
	const name = "hf://datasets/owner/name@main/data/b.jsonl"
	for _, set := range []func(){
		func() { env["HF_TOKEN"] = token },
		func() {
			delete(env, "HF_TOKEN")
			if err := os.WriteFile(filepath.Join(env["HF_HOME"], "token"), []byte(token+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		set()
		if err := os.RemoveAll(filepath.Join(env["HF_HOME"], "hub")); err != nil {
			t.Fatal(err)
		}
		fsys, _ := newTestFS(t, env)
		got, err := readName(fsys, name, readWays["Read"])
		if err != nil || !bytes.Equal(got, hubFiles()["data/b.jsonl"]) || h.Leaked() {
			t.Errorf("%d bytes, %v, leaked: %v", len(got), err, h.Leaked())
		}
	}
}

func TestHubRefusals(t *testing.T) {
	const file = "hf://datasets/owner/name@main/data/a.jsonl"
	for what, c := range map[string]struct {
		name, hubToken, token string
		gated                 bool
		want                  string
	}{
		"no token":      {name: file, hubToken: "t", want: "the hub wants a token, or there is no such data set; check the name, accept"},
		"gated":         {name: file, hubToken: "t", gated: true, want: "and set HF_TOKEN"},
		"not accepted":  {name: file, hubToken: "t", token: "t", gated: true, want: "this token is not let in; accept the terms at "},
		"wrong token":   {name: file, hubToken: "t", token: "x", want: "the hub does not accept the token"},
		"wrong set":     {name: "hf://datasets/owner/nam/a.jsonl", token: "t", want: "there is no such data set, or this token"},
		"wrong set too": {name: "hf://datasets/owner/nam/a.jsonl", want: "there is no such data set; check the name"},
		"revision":      {name: "hf://datasets/owner/name@mian/a.jsonl", want: "the data set has no revision mian; check the part behind @"},
	} {
		h := newTestHub(t)
		h.Token, h.Gated = c.hubToken, c.gated
		env := hubEnv(t, h)
		env["HF_TOKEN"] = c.token
		fsys, waited := newTestFS(t, env)
		_, err := fsys.Open(c.name)
		var location *store.LocationError
		if !errors.As(err, &location) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "hf://") {
			t.Errorf("%s: %v", what, err)
		}
		if len(waited.list) > 0 {
			t.Errorf("%s: tried again", what)
		}
	}
	h := newTestHub(t)
	fsys, _ := newTestFS(t, hubEnv(t, h))
	if _, err := fsys.Open("hf://datasets/owner/name@main/data/x.jsonl"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// TestHubContentIsChecked has the second host send something else of the same length.
func TestHubContentIsChecked(t *testing.T) {
	for way, read := range readWays {
		h := newTestHub(t)
		h.Content = func(w http.ResponseWriter, r *http.Request) bool {
			data := bytes.Repeat([]byte("x"), len(hubFiles()["data/b.jsonl"]))
			http.ServeContent(w, r, "", fixedTime(), bytes.NewReader(data))
			return true
		}
		env := hubEnv(t, h)
		fsys, _ := newTestFS(t, env)
		_, err := readName(fsys, "hf://datasets/owner/name@main/data/b.jsonl", read)
		if err == nil || !strings.Contains(err.Error(), "what was downloaded has the hash") {
			t.Errorf("%s: %v", way, err)
		}
		files, _ := filepath.Glob(filepath.Join(env["HF_HOME"], "hub", "*", "blobs", "*"))
		if len(files) > 0 {
			t.Errorf("%s: kept %v", way, files)
		}
	}
}

// TestSignedRedirectsStaySecret breaks the second host; no error may show its address.
func TestSignedRedirectsStaySecret(t *testing.T) {
	for status := range map[int]bool{http.StatusForbidden: true, http.StatusInternalServerError: true, http.StatusFound: true, 0: true} {
		h := newTestHub(t)
		h.Content = func(w http.ResponseWriter, _ *http.Request) bool {
			if status == 0 {
				conn, _, _ := w.(http.Hijacker).Hijack()
				conn.Close()
				return true
			}
			w.Header().Set("Location", "http://[bad/?"+h.Signature)
			w.WriteHeader(status)
			return true
		}
		fsys, _ := newTestFS(t, hubEnv(t, h))
		f, err := fsys.Open("hf://datasets/owner/name@main/data/b.jsonl")
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadAll(f)
		if err == nil || strings.Contains(err.Error(), "Signature") || strings.Contains(err.Error(), "5ec2e7") {
			t.Errorf("%d: %v", status, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
