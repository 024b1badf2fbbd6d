package remote

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bzdata/pipeline/store"
	"bzdata/pipeline/store/remote/remotetest"
)

func fixedTime() time.Time { return time.Unix(1_600_000_000, 0) }

func newTestBucket(t *testing.T) (*remotetest.Bucket, map[string]string) {
	b := remotetest.NewBucket("bucket")
	t.Cleanup(b.Close)
	return b, map[string]string{"AWS_ENDPOINT_URL": b.URL, "AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "s3cret"}
}

func TestObjectsAreFoundAndRead(t *testing.T) {
	b, env := newTestBucket(t)
	b.AccessKey = "AKIATEST"
	files := map[string][]byte{"raw/a.jsonl": []byte("{}\n"), "raw/b.jsonl.gz": randomBytes(700_000), "raw/x/c.parquet": randomBytes(10),
		"raw/x/d.txt": []byte("no"), "raw/x/y/e.jsonl": {}, "rawer/f.jsonl": []byte("{}")}
	for key, data := range files {
		b.Put(key, data)
	}
	b.Put("raw/", nil) // a marker, as consoles make them
	checkBucket(t, env, "s3://bucket", files)
}

// checkBucket reads files below root in all ways.
func checkBucket(t *testing.T, env map[string]string, root string, files map[string][]byte) {
	fsys, _ := newTestFS(t, env)
	for pattern, want := range map[string][]string{
		"/raw/*":         {"/raw/a.jsonl", "/raw/b.jsonl.gz"},
		"/raw":           {"/raw/a.jsonl", "/raw/b.jsonl.gz", "/raw/x/c.parquet", "/raw/x/y/e.jsonl"},
		"/raw/":          {"/raw/a.jsonl", "/raw/b.jsonl.gz", "/raw/x/c.parquet", "/raw/x/y/e.jsonl"},
		"/**/*.jsonl":    {"/raw/a.jsonl", "/raw/x/y/e.jsonl", "/rawer/f.jsonl"},
		"/raw?r/*.jsonl": {"/rawer/f.jsonl"},
		"/raw/a.jsonl":   {"/raw/a.jsonl"},
	} {
		_, names, err := store.Expand(fsys, root+pattern)
		for i := range names {
			names[i] = strings.TrimPrefix(names[i], root)
		}
		if err != nil || !slices.Equal(names, want) {
			t.Errorf("%s: %v, %v", pattern, names, err)
		}
	}
	for name, data := range files {
		for way, read := range readWays {
			got, err := readName(fsys, root+"/"+name, read)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s, %s: %d bytes, %v", name, way, len(got), err)
			}
		}
	}
	var none *store.NoMatchError
	for _, name := range []string{"/raw/none.jsonl", "/no/*.jsonl", "/no"} {
		if _, _, err := store.Expand(fsys, root+name); !errors.As(err, &none) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestObjectsMendAndChange(t *testing.T) {
	b, env := newTestBucket(t)
	data := randomBytes(2 << 20)
	b.Put("a.jsonl", data)
	n := 0
	b.Fail = func(w http.ResponseWriter, r *http.Request) bool {
		if n++; n%2 == 1 {
			w.Header().Set("Retry-After", "70")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return n%2 == 1
	}
	for way, read := range readWays {
		fsys, waited := newTestFS(t, env)
		got, err := readName(fsys, "s3://bucket/a.jsonl", read)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v", way, len(got), err)
		}
		if len(waited.list) == 0 || waited.list[0] != 70*time.Second {
			t.Errorf("%s: waited %v", way, waited.list)
		}
	}
	b.Fail = nil
	fsys, _ := newTestFS(t, env)
	if _, err := fsys.Stat("s3://bucket/a.jsonl"); err != nil {
		t.Fatal(err)
	}
	b.Put("a.jsonl", randomBytes(2<<20 + 1)[1:]) // as long as before
	if _, err := readName(fsys, "s3://bucket/a.jsonl", readWays["Read"]); !errors.Is(err, errChanged) {
		t.Errorf("%v", err)
	}
}

func TestObjectRefusals(t *testing.T) {
	b, env := newTestBucket(t)
	b.AccessKey = "AKIAOTHER"
	fsys, _ := newTestFS(t, env)
	for name, want := range map[string]string{
		"s3://bucket/*.jsonl":      "access is denied; set AWS_ACCESS_KEY_ID",
		"s3://bucket/a.jsonl":      "access is denied",
		"s3://u:pw@bucket/a.jsonl": "user info (the part before @) does not belong into a plan",
	} {
		_, _, err := store.Expand(fsys, name)
		var location *store.LocationError
		if !errors.As(err, &location) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pw") {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.AccessKey = ""
	_, _, err := store.Expand(fsys, "s3://bucke/a.jsonl")
	if err == nil || !strings.Contains(err.Error(), "there is no bucket bucke at this server") {
		t.Errorf("%v", err)
	}
}

func TestSharedCredentials(t *testing.T) {
	b, env := newTestBucket(t)
	b.AccessKey = "AKIAFILE"
	b.Put("a.jsonl", []byte("{}"))
	env = map[string]string{"AWS_ENDPOINT_URL": env["AWS_ENDPOINT_URL"], "AWS_PROFILE": "work",
		"AWS_SHARED_CREDENTIALS_FILE": filepath.Join(t.TempDir(), "credentials")}
	text := "[work]\naws_access_key_id = AKIAFILE\naws_secret_access_key = s\n"
	if err := os.WriteFile(env["AWS_SHARED_CREDENTIALS_FILE"], []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	fsys, _ := newTestFS(t, env)
	if _, err := readName(fsys, "s3://bucket/a.jsonl", readWays["Read"]); err != nil {
		t.Error(err)
	}
}

func TestUploads(t *testing.T) {
	b, env := newTestBucket(t)
	checkUploads(t, env, "s3://bucket/up")
	n := 0
	b.Fail = func(w http.ResponseWriter, r *http.Request) bool {
		if n++; n%3 == 1 {
			w.WriteHeader(http.StatusInternalServerError)
		}
		return n%3 == 1
	}
	checkUploads(t, env, "s3://bucket/failing")
}

// checkUploads uploads a small and a large file, reads them back and deletes one.
func checkUploads(t *testing.T, env map[string]string, root string) {
	t.Helper()
	dir := t.TempDir()
	fsys, _ := newTestFS(t, env)
	for name, data := range map[string][]byte{"small.jsonl": []byte("{}\n"), "large.bin": randomBytes(17<<20 + 5), "empty": {}} {
		local := filepath.Join(dir, name)
		sum := sha256.Sum256(data)
		hash := hex.EncodeToString(sum[:])
		if err := os.WriteFile(local, data, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := fsys.Open(local)
		if err == nil {
			err = cmp.Or(fsys.Upload(root+"/"+name, f, hash), f.Close())
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := readName(fsys, root+"/"+name, readWays["Read"])
		told, err2 := fsys.UploadedSHA256(root + "/" + name)
		if err != nil || err2 != nil || !bytes.Equal(got, data) || told != hash {
			t.Errorf("%s: %d bytes, %v; hash %s, %v", name, len(got), err, told, err2)
		}
	}
	if err := fsys.Remove(root + "/small.jsonl"); err != nil {
		t.Error(err)
	}
	if _, err := fsys.Stat(root + "/small.jsonl"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a removed object: %v", err)
	}
	if err := fsys.Upload("hf://datasets/a/b/c", nil, ""); err == nil {
		t.Error("the hub takes an upload")
	}
}
