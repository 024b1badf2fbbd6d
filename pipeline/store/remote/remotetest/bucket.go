package remotetest

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bucket is a server with one bucket of S3.
type Bucket struct {
	*httptest.Server
	Name string
	// AccessKey, if set, must have signed each request. The signature itself is not checked.
	AccessKey string
	// Fail, if it is not nil, answers in place of the server if it returns true.
	Fail func(w http.ResponseWriter, r *http.Request) bool

	mu       sync.Mutex
	objects  map[string]*Object
	uploads  map[string]map[string][]byte
	requests []string
}

// Object is one object of a [Bucket].
type Object struct {
	Data   []byte
	ETag   string
	SHA256 string // user metadata
	Time   time.Time
}

// NewBucket starts a server; Close ends it.
func NewBucket(name string) *Bucket {
	b := &Bucket{Name: name, objects: map[string]*Object{}, uploads: map[string]map[string][]byte{}}
	b.Server = httptest.NewServer(http.HandlerFunc(b.serve))
	return b
}

// Put stores an object.
func (b *Bucket) Put(key string, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put(key, data, "", etagOf(data))
}

func (b *Bucket) put(key string, data []byte, sum, etag string) {
	b.objects[key] = &Object{Data: data, ETag: etag, SHA256: sum, Time: time.Unix(1_700_000_000, 0)}
}

// Objects are the objects by key.
func (b *Bucket) Objects() map[string]*Object {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.objects)
}

// Requests lists what was asked so far, as METHOD PATH, and forgets it.
func (b *Bucket) Requests() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.requests
	b.requests = nil
	return r
}

func etagOf(data []byte) string {
	sum := md5.Sum(data)
	return hex.EncodeToString(sum[:])
}

func refuseS3(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
}

func (b *Bucket) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	if strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		body = unchunk(body)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests = append(b.requests, r.Method+" "+r.URL.Path)
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	sum := md5.Sum(body)
	switch told := r.Header.Get("Content-Md5"); {
	case b.Fail != nil && b.Fail(w, r):
	case b.AccessKey != "" && !strings.Contains(r.Header.Get("Authorization"), "Credential="+b.AccessKey+"/"):
		refuseS3(w, http.StatusForbidden, "AccessDenied")
	case bucket != b.Name:
		refuseS3(w, http.StatusNotFound, "NoSuchBucket")
	case told != "" && told != base64.StdEncoding.EncodeToString(sum[:]):
		refuseS3(w, http.StatusBadRequest, "BadDigest")
	case key == "":
		b.list(w, r)
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		b.get(w, r, key)
	case r.Method == http.MethodDelete:
		delete(b.objects, key)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut && r.URL.Query().Has("uploadId"):
		b.uploads[r.URL.Query().Get("uploadId")][fmt.Sprintf("%6s", r.URL.Query().Get("partNumber"))] = body
		w.Header().Set("Etag", `"`+etagOf(body)+`"`)
	case r.Method == http.MethodPut:
		b.put(key, body, r.Header.Get("X-Amz-Meta-Bzdata-Sha256"), etagOf(body))
		w.Header().Set("Etag", `"`+etagOf(body)+`"`)
	case r.Method == http.MethodPost:
		b.multipart(w, r, key)
	}
}

// unchunk takes the signatures out of a body that was signed in chunks: each is
// SIZE;chunk-signature=…, its bytes, and the line ends between.
func unchunk(body []byte) []byte {
	var out []byte
	for {
		head, rest, _ := bytes.Cut(body, []byte("\r\n"))
		size := 0
		fmt.Sscanf(string(head), "%x;", &size)
		if size == 0 || size+2 > len(rest) {
			return out
		}
		out, body = append(out, rest[:size]...), rest[size+2:]
	}
}

func (b *Bucket) get(w http.ResponseWriter, r *http.Request, key string) {
	o := b.objects[key]
	if o == nil {
		refuseS3(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	w.Header().Set("Etag", `"`+o.ETag+`"`)
	if o.SHA256 != "" {
		w.Header().Set("X-Amz-Meta-Bzdata-Sha256", o.SHA256)
	}
	http.ServeContent(w, r, "", o.Time, bytes.NewReader(o.Data))
}

// multipart begins and ends uploads in parts. What an upload is told at its start comes back
// with its number.
func (b *Bucket) multipart(w http.ResponseWriter, r *http.Request, key string) {
	id := r.URL.Query().Get("uploadId")
	if id == "" {
		id = fmt.Sprintf("%d-%s", len(b.uploads), r.Header.Get("X-Amz-Meta-Bzdata-Sha256"))
		b.uploads[id] = map[string][]byte{}
		fmt.Fprintf(w, "<InitiateMultipartUploadResult><Bucket>%s</Bucket><Key>%s</Key><UploadId>%s</UploadId>"+
			"</InitiateMultipartUploadResult>", b.Name, key, id)
		return
	}
	var data []byte
	parts := b.uploads[id]
	for _, n := range slices.Sorted(maps.Keys(parts)) {
		data = append(data, parts[n]...)
	}
	_, sum, _ := strings.Cut(id, "-")
	etag := fmt.Sprintf("%s-%d", etagOf(data), len(parts))
	b.put(key, data, sum, etag)
	fmt.Fprintf(w, "<CompleteMultipartUploadResult><Bucket>%s</Bucket><Key>%s</Key><ETag>\"%s\"</ETag>"+
		"</CompleteMultipartUploadResult>", b.Name, key, etag)
}

type listing struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	Name, Prefix          string
	IsTruncated           bool
	NextContinuationToken string
	Contents              []listed
	CommonPrefixes        []struct{ Prefix string }
}

type listed struct {
	Key, ETag    string
	Size         int
	LastModified time.Time
}

// list answers with two entries to a page.
func (b *Bucket) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	out := listing{Name: b.Name, Prefix: q.Get("prefix")}
	after, folders := q.Get("continuation-token"), map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(b.objects)) {
		rest, below := strings.CutPrefix(key, out.Prefix)
		if !below {
			continue
		}
		shown, folder := key, false
		if i := strings.IndexByte(rest, '/'); i >= 0 && q.Get("delimiter") == "/" {
			shown, folder = out.Prefix+rest[:i+1], true
		}
		if shown <= after || folders[shown] {
			continue
		}
		if len(out.Contents)+len(folders) == 2 {
			out.IsTruncated = true
			break
		}
		out.NextContinuationToken = shown
		if folder {
			folders[shown] = true
			out.CommonPrefixes = append(out.CommonPrefixes, struct{ Prefix string }{shown})
			continue
		}
		o := b.objects[key]
		out.Contents = append(out.Contents, listed{key, `"` + o.ETag + `"`, len(o.Data), o.Time})
	}
	if !out.IsTruncated {
		out.NextContinuationToken = ""
	}
	xml.NewEncoder(w).Encode(out)
}
