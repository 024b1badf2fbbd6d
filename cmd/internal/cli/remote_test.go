package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bzdata/pipeline/store/remote/remotetest"
)

// The secrets of the test: none of them may appear in anything that is written.
const (
	hubToken  = "hf_Secret1Token"
	s3Secret  = "Secret2Key"
	signature = "X-Amz-Signature=Secret3Signature"
	password  = "Secret4Password"
)

// remotes are servers with one corpus each, and a folder with a plan that reads them.
type remotes struct {
	t      *testing.T
	hub    *remotetest.Hub
	bucket *remotetest.Bucket
	web    *httptest.Server
	dir    string
	gets   int
}

// rows are documents of their own for each source.
func rows(source string, n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "{\"id\":%q,\"text\":\"the %s of number %d is not like that of any other\"}\n", source, source, i)
	}
	return b.Bytes()
}

func newRemotes(t *testing.T) *remotes {
	r := &remotes{t: t, dir: t.TempDir()}
	r.hub = remotetest.NewHub("owner/set", map[string][]byte{"data/one.jsonl": rows("hub", 300), "data/two.jsonl": rows("hub2", 2)})
	t.Cleanup(r.hub.Close)
	r.hub.Token, r.hub.Signature = hubToken, "X-Hub-"+signature
	r.bucket = remotetest.NewBucket("bucket")
	t.Cleanup(r.bucket.Close)
	r.bucket.AccessKey = "AKIAME"
	r.bucket.Put("raw/a.jsonl", rows("bucket", 200))
	r.bucket.Put("raw/deep/b.jsonl", rows("deep", 100))
	r.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.gets++
		if req.URL.RawQuery != signature {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Etag", `"w1"`)
		http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(rows("web", 50)))
	}))
	t.Cleanup(r.web.Close)
	for name, value := range map[string]string{"HF_ENDPOINT": r.hub.URL, "HF_HOME": filepath.Join(r.dir, "hf"), "HF_TOKEN": hubToken,
		"HF_HUB_CACHE": "", "HF_HUB_OFFLINE": "", "AWS_ENDPOINT_URL": r.bucket.URL, "AWS_ENDPOINT_URL_S3": "", "AWS_ACCESS_KEY_ID": "AKIAME",
		"AWS_SECRET_ACCESS_KEY": s3Secret, "AWS_SESSION_TOKEN": "", "SIGNED": r.web.URL + "/set/web.jsonl?" + signature} {
		t.Setenv(name, value)
	}
	r.plan(`
seed: 1
input:
  - {path: "hf://datasets/owner/set@main/data/*.jsonl", source: hub}
  - path: s3://bucket/raw/**/*.jsonl
  - {path: "${env:SIGNED}", source: web}
  - path: ` + r.web.URL + `/set/again.jsonl?` + signature + `   # in the open
stages:
  - exact_dedup: {}
  - export: {format: jsonl, files_multiple: 1}
`)
	return r
}

func (r *remotes) plan(text string) {
	if err := os.WriteFile(filepath.Join(r.dir, "plan.yaml"), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// run runs a command of the plan and looks for secrets in what it says.
func (r *remotes) run(want int, command string, args ...string) (stdout, stderr string) {
	r.t.Helper()
	var out, errs bytes.Buffer
	args = append([]string{command, filepath.Join(r.dir, "plan.yaml")}, args...)
	code := Main(args, strings.NewReader(""), &out, &errs)
	if code != want {
		r.t.Fatalf("%v: exit code %d, want %d\n%s%s", args, code, want, &out, &errs)
	}
	for what, text := range map[string]string{"standard output": out.String(), "standard error": errs.String()} {
		if strings.Contains(text, "Secret") {
			r.t.Errorf("%v: %s shows a secret:\n%s", args, what, text)
		}
	}
	return out.String(), errs.String()
}

// clean looks for secrets in every file below the work directory.
func (r *remotes) clean() {
	r.t.Helper()
	files := 0
	err := filepath.WalkDir(filepath.Join(r.dir, "runs"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		data, err := os.ReadFile(name)
		if bytes.Contains(data, []byte("Secret")) || strings.Contains(name, "Secret") {
			r.t.Errorf("%s holds a secret", name)
		}
		return err
	})
	if err != nil || files < 5 {
		r.t.Errorf("%d files, %v", files, err)
	}
}

func TestRemoteInputs(t *testing.T) {
	if testing.Short() {
		t.Skip("runs whole plans")
	}
	r := newRemotes(t)
	out, _ := r.run(0, "check")
	if !strings.Contains(out, "input     6 files, ") || strings.Contains(out, "0 B") {
		t.Errorf("check says\n%s", out)
	}
	r.run(0, "check", "--json", "-")
	_, log := r.run(0, "run", "--progress", "plain")
	_, events := r.run(0, "run", "--progress", "json")
	if !strings.Contains(events, "reused 2 of 2 stages") {
		t.Errorf("the second run says\n%s\nthe first\n%s", events, log)
	}
	data, err := filepath.Glob(filepath.Join(r.dir, "runs/plan/out/data/data/*.jsonl"))
	if err != nil || len(data) != 1 {
		t.Fatalf("%v, %v", data, err)
	}
	text, err := os.ReadFile(data[0])
	// again.jsonl holds copies only.
	if n := bytes.Count(text, []byte("\n")); err != nil || n != 300+2+200+100+50 {
		t.Errorf("%d rows, %v", n, err)
	}
	if r.hub.Leaked() {
		t.Error("the hub's token went to the second host")
	}
	r.clean()

	// An object whose ETag is the same is not read again, whatever its time; one that is
	// another is, and it alone.
	r.bucket.Requests()
	gets := r.gets
	r.run(0, "run", "--progress", "none")
	for _, request := range r.bucket.Requests() {
		if strings.HasPrefix(request, "GET /bucket/raw/") {
			t.Errorf("%s, though nothing has changed", request)
		}
	}
	if r.gets != gets+2 {
		t.Errorf("%d requests to the web, want one for each file", r.gets-gets)
	}
	r.bucket.Put("raw/a.jsonl", rows("fresh", 200))
	r.run(0, "run", "--progress", "none")
	read := strings.Join(r.bucket.Requests(), "\n")
	if !strings.Contains(read, "GET /bucket/raw/a.jsonl") || strings.Contains(read, "GET /bucket/raw/deep") {
		t.Errorf("after a change:\n%s", read)
	}
	r.clean()

	// Of the hub all is in the cache now.
	r.hub.Close()
	t.Setenv("HF_HUB_OFFLINE", "1")
	_, events = r.run(0, "run", "--progress", "json")
	if !strings.Contains(events, "reused 2 of 2 stages") {
		t.Errorf("offline:\n%s", events)
	}
}

// TestRemoteMistakes makes the mistakes that people make.
func TestRemoteMistakes(t *testing.T) {
	if testing.Short() {
		t.Skip("reads many plans")
	}
	r := newRemotes(t)
	const stages = "\nstages: [{export: {}}]\n"
	check := func(plan, want string) {
		t.Helper()
		r.plan(plan + stages)
		for _, command := range []string{"check", "run"} {
			if _, errs := r.run(2, command); !strings.Contains(errs, want) {
				t.Errorf("%s %s\nsays %s\nwant %s", command, plan, errs, want)
			}
		}
	}
	check("input: [{path: s3://AKIA:"+password+"@bucket/a.jsonl}]",
		"plan.yaml:1:16: input[0].path: user info (the part before @) does not belong into a plan; remove it and set AWS_ACCESS_KEY_ID")
	check("input: [{path: https://me:"+password+"@host/a.jsonl}]", "input[0].path: user info")
	check("input: [{path: \"https:\\x2f/me:"+password+"@host/a.jsonl\"}]", "input[0].path: user info")
	check("input: [{path: gs://bucket/a.jsonl}]", "unknown scheme; names begin with s3://, hf:// and https://, or are local paths")
	check("input: [{path: hf://owner/set/a.jsonl}]", "write hf://datasets/OWNER/NAME@REVISION/PATH")
	check("input: [{path: hf://datasets/owner/set@mian/data/*.jsonl}]", "has no revision mian; check the part behind @")
	check("input: [{path: hf://datasets/owner/set@main/date/*.jsonl}]",
		"input hf://datasets/owner/set@main/date/*.jsonl matches no file; check the path")
	check("input: [{path: hf://datasets/owner/set/data/three.jsonl}]", "matches no file")
	check("input: [{path: s3://bucket/row/}]", "input s3://bucket/row/ matches no file")
	check("input: [{path: s3://buckte/raw/}]", "there is no bucket buckte at this server; check the name and AWS_ENDPOINT_URL")
	check("input: [{path: "+r.web.URL+"/a.jsonl?"+password+"}]", "/a.jsonl: the server answers 403 Forbidden; a signed address may have run out")
	check("input: [{path: [\""+r.web.URL+"/a.jsonl?a="+password+"\", \""+r.web.URL+"/a.jsonl?b="+password+"\"]}]",
		"is named with two different queries")
	check("input: [{path: "+r.web.URL+"/*.jsonl, source: web}]", "files of the web cannot be listed; name each one")
	check("inptu: [{path: https://h/a.jsonl?"+password+"}]", "did you mean")
	t.Setenv("HF_TOKEN", "")
	check("input: [{path: hf://datasets/owner/set/data/}]", "the hub wants a token, or there is no such data set; check the name, accept")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAYOU")
	check("input: [{path: s3://bucket/raw/}]", "access is denied; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
	t.Setenv("HF_HUB_OFFLINE", "1")
	check("input: [{path: hf://datasets/owner/set/data/one.jsonl}]", "is not in the cache "+filepath.Join(r.dir, "hf", "hub")+
		", and HF_HUB_OFFLINE is set; unset it, or fetch the data set first")
}

// TestLimitEndsDownloads reads a few documents of files that are large.
func TestLimitEndsDownloads(t *testing.T) {
	if testing.Short() {
		t.Skip("runs whole plans")
	}
	large := rows("large", 200_000)
	sent := &countingWriter{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Etag", `"l1"`)
		http.ServeContent(sent.to(w), req, "", time.Time{}, bytes.NewReader(large))
	}))
	// A server that is ahead of a slow reader would fill what the system has for it, which may be megabytes.
	server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if err := c.(*net.TCPConn).SetWriteBuffer(64 << 10); err != nil {
			t.Error(err)
		}
		return ctx
	}
	server.Start()
	defer server.Close()
	r := &remotes{t: t, dir: t.TempDir()}
	r.plan("input: [{path: " + server.URL + "/large.jsonl, limit_documents: 100}]\nstages: [{export: {format: jsonl}}]\n")
	r.run(0, "run", "--progress", "none")
	server.Close() // waits for the handlers
	// What lies in the sockets' buffers was sent, but not read.
	t.Logf("%d of %d bytes were sent", sent.n, len(large))
	if int(sent.n) > len(large)*3/4 {
		t.Errorf("%d of %d bytes were sent for 100 documents", sent.n, len(large))
	}
	var record struct {
		Inputs []struct {
			ETag    string
			Records int64
		}
	}
	text, err := os.ReadFile(filepath.Join(r.dir, "runs/plan/run.json"))
	if err == nil {
		err = json.Unmarshal(text, &record)
	}
	if err != nil || record.Inputs[0].Records != 100 || record.Inputs[0].ETag != "l1" {
		t.Errorf("%+v, %v", record, err)
	}
}

// countingWriter counts what a handler sends.
type countingWriter struct {
	http.ResponseWriter
	n int64
}

func (c *countingWriter) to(w http.ResponseWriter) http.ResponseWriter {
	c.ResponseWriter = w
	return c
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n += int64(n)
	return n, err
}

// puts are the keys that were written or deleted, in order.
func (r *remotes) puts() string {
	var out []string
	for _, request := range r.bucket.Requests() {
		method, name, _ := strings.Cut(request, " ")
		if method == "PUT" || method == "DELETE" {
			out = append(out, method+" "+strings.TrimPrefix(name, "/bucket/sets/math/"))
		}
	}
	return strings.Join(out, "\n")
}

// TestExportToObjects publishes a set, is stopped in between, changes it, and finds a folder
// that is not its own.
func TestExportToObjects(t *testing.T) {
	if testing.Short() {
		t.Skip("runs whole plans")
	}
	r := newRemotes(t)
	plan := `
input: [{path: "s3://bucket/raw/*.jsonl"}]
stages:
  - export: {to: s3://bucket/sets/math, format: jsonl, files_multiple: %d}
`
	r.plan(fmt.Sprintf(plan, 3))
	out, _ := r.run(0, "check")
	if !strings.Contains(out, "publish: to do, added because the export goes to an object store") {
		t.Errorf("check says\n%s", out)
	}
	name := func(i, of int) string { return fmt.Sprintf("data/train-%05d-of-%05d.jsonl", i, of) }

	// The server refuses the second file.
	r.bucket.Fail = func(w http.ResponseWriter, req *http.Request) bool {
		refused := req.Method == http.MethodPut && strings.HasSuffix(req.URL.Path, name(1, 3))
		if refused {
			w.WriteHeader(http.StatusForbidden)
		}
		return refused
	}
	r.bucket.Requests()
	_, errs := r.run(2, "run", "--progress", "none")
	if !strings.Contains(errs, "access is denied") {
		t.Errorf("%s", errs)
	}
	if got, want := r.puts(), "PUT "+name(0, 3)+"\nPUT "+name(1, 3); got != want {
		t.Errorf("a refused upload:\n%s", got)
	}
	// What is missing is uploaded, and the list last.
	r.bucket.Fail = nil
	r.run(0, "run", "--progress", "none")
	if got, want := r.puts(), "PUT "+name(1, 3)+"\nPUT "+name(2, 3)+"\nPUT _SUCCESS"; got != want {
		t.Errorf("the rest:\n%s", got)
	}
	for i := range 3 {
		local, err := os.ReadFile(filepath.Join(r.dir, "runs/plan/out/math", name(i, 3)))
		o := r.bucket.Objects()["sets/math/"+name(i, 3)]
		if err != nil || o == nil || !bytes.Equal(o.Data, local) {
			t.Errorf("%s: %v", name(i, 3), err)
		}
	}
	r.publishAgain(plan)
}

// publishAgain goes on from a set of three files that is published.
func (r *remotes) publishAgain(plan string) {
	t := r.t
	name := func(i, of int) string { return fmt.Sprintf("data/train-%05d-of-%05d.jsonl", i, of) }
	// Nothing is left to do, also for a run that has forgotten all.
	r.run(0, "run", "--progress", "none")
	r.run(0, "run", "--progress", "none", "--fresh")
	if got := r.puts(); got != "" {
		t.Errorf("nothing to do:\n%s", got)
	}
	// Another set takes its place: the list goes first and comes last.
	r.plan(fmt.Sprintf(plan, 2))
	r.run(0, "run", "--progress", "none")
	want := "DELETE _SUCCESS\nDELETE " + name(0, 3) + "\nDELETE " + name(1, 3) + "\nDELETE " + name(2, 3) +
		"\nPUT " + name(0, 2) + "\nPUT " + name(1, 2) + "\nPUT _SUCCESS"
	if got := r.puts(); got != want {
		t.Errorf("another set:\n%s", got)
	}
	r.clean()
	// A file of somebody else is left alone, and so is everything beside it.
	r.bucket.Put("sets/math/theirs.txt", []byte("x"))
	r.plan(fmt.Sprintf(plan, 1))
	_, errs := r.run(2, "run", "--progress", "none")
	if !strings.Contains(errs, "s3://bucket/sets/math/theirs.txt is there, and was not uploaded by this program") || r.puts() != "" {
		t.Errorf("%s", errs)
	}
}
