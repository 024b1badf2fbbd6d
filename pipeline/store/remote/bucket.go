package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"bzdata/pipeline/store"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// bucketScheme reads and writes objects of S3 and servers that speak its protocol.
type bucketScheme struct {
	opt Options

	once   sync.Once
	client *minio.Core
	err    error
}

func newBuckets(_ *client, opt Options) *bucketScheme { return &bucketScheme{opt: opt} }

// defaultEndpoint is that of AWS, which finds the bucket's region itself.
const defaultEndpoint = "https://s3.amazonaws.com"

// core connects at first use, so that a plan without objects needs no settings.
func (b *bucketScheme) core() (*minio.Core, error) {
	b.once.Do(func() { b.client, b.err = b.connect() })
	return b.client, b.err
}

func (b *bucketScheme) connect() (*minio.Core, error) {
	env := b.opt.Env
	endpoint := firstSet(getenv(env, "AWS_ENDPOINT_URL_S3"), getenv(env, "AWS_ENDPOINT_URL"), defaultEndpoint)
	u, err := url.Parse(endpoint)
	web := err == nil && (u.Scheme == "https" || u.Scheme == "http")
	if !web || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" {
		return nil, &store.LocationError{Msg: "AWS_ENDPOINT_URL is no address of a server; write https://HOST"}
	}
	o := &minio.Options{
		Creds: b.credentials(), Secure: u.Scheme == "https", Transport: askedPauses{b.opt.Transport},
		Region: firstSet(getenv(env, "AWS_REGION"), getenv(env, "AWS_DEFAULT_REGION")), MaxRetries: 1,
	}
	if endpoint != defaultEndpoint {
		o.BucketLookup, o.Region = minio.BucketLookupPath, firstSet(o.Region, "us-east-1")
	}
	return minio.NewCore(u.Host, o)
}

// credentials finds access data where the tools of AWS do: the environment, then the shared
// file. Without any, requests are anonymous.
func (b *bucketScheme) credentials() *credentials.Credentials {
	env := b.opt.Env
	if id := getenv(env, "AWS_ACCESS_KEY_ID"); id != "" {
		return credentials.NewStaticV4(id, getenv(env, "AWS_SECRET_ACCESS_KEY"), getenv(env, "AWS_SESSION_TOKEN"))
	}
	file := firstSet(getenv(env, "AWS_SHARED_CREDENTIALS_FILE"), filepath.Join(getenv(env, "HOME"), ".aws", "credentials"))
	return credentials.New(&credentials.Chain{Providers: []credentials.Provider{
		&credentials.FileAWSCredentials{Filename: file, Profile: firstSet(getenv(env, "AWS_PROFILE"), "default")}}})
}

// askedPauses notes the header Retry-After of answers, which minio-go does not pass on.
type askedPauses struct{ http.RoundTripper }

type pauseKey struct{}

func (t askedPauses) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := t.RoundTripper.RoundTrip(req)
	if asked, ok := req.Context().Value(pauseKey{}).(*time.Duration); ok && err == nil {
		*asked = retryAfter(res.Header, time.Now())
	}
	return res, err
}

// call carries one request out and explains its failure.
func (b *bucketScheme) call(ctx context.Context, l store.Location, do func(context.Context, *minio.Core) error) error {
	core, err := b.core()
	if err != nil {
		return err
	}
	asked := new(time.Duration)
	if err := do(context.WithValue(ctx, pauseKey{}, asked), core); err != nil {
		return b.explain(l, err, *asked)
	}
	return nil
}

// explain says what an error of minio-go means.
func (b *bucketScheme) explain(l store.Location, err error, asked time.Duration) error {
	var answer minio.ErrorResponse
	if !errors.As(err, &answer) {
		return plainError(err)
	}
	say := func(text string) error {
		return &store.LocationError{Msg: l.String() + ": " + text}
	}
	switch {
	case answer.Code == "NoSuchBucket":
		return say("there is no bucket " + l.Root + " at this server; check the name and AWS_ENDPOINT_URL")
	case answer.StatusCode == http.StatusNotFound, answer.Code == "NoSuchKey":
		return fs.ErrNotExist
	case answer.Code == "InvalidAccessKeyId", answer.Code == "SignatureDoesNotMatch", answer.Code == "ExpiredToken",
		answer.Code == "InvalidToken":
		return say("the server does not accept the access data (" + answer.Code + "); check AWS_ACCESS_KEY_ID, " +
			"AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or AWS_PROFILE")
	case answer.StatusCode == http.StatusForbidden, answer.StatusCode == http.StatusUnauthorized:
		return say("access is denied; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, to an account that may")
	case answer.Code == "PreconditionFailed", answer.StatusCode == http.StatusPreconditionFailed, answer.Code == "InvalidRange":
		return errChanged
	}
	return &statusError{answer.StatusCode, plainCode(answer.Code), asked}
}

// hashKey is the name of the user metadata that holds an upload's SHA-256.
const hashKey = "Bzdata-Sha256"

func (b *bucketScheme) stat(ctx context.Context, l store.Location) (*entry, error) {
	if l.Path == "" {
		return &entry{loc: l, dir: true}, nil
	}
	var info minio.ObjectInfo
	err := b.call(ctx, l, func(ctx context.Context, c *minio.Core) (err error) {
		info, err = c.StatObject(ctx, l.Root, l.Path, minio.StatObjectOptions{})
		return err
	})
	if err == nil {
		e := objectEntry(l, info)
		e.meta = info.UserMetadata[hashKey]
		return e, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// A folder is there if a key is below it.
	found := false
	err = b.each(ctx, l, minio.ListObjectsOptions{Prefix: l.Path + "/", MaxKeys: 1}, func(minio.ObjectInfo) bool {
		found = true
		return false
	})
	if err == nil && !found {
		err = fs.ErrNotExist
	}
	return &entry{loc: l, dir: true}, err
}

func objectEntry(l store.Location, info minio.ObjectInfo) *entry {
	return &entry{loc: l, size: info.Size, etag: strings.Trim(info.ETag, `"`), time: info.LastModified}
}

// each calls visit with what a listing has until it returns false.
func (b *bucketScheme) each(ctx context.Context, l store.Location, opt minio.ListObjectsOptions,
	visit func(minio.ObjectInfo) bool) error {
	return b.call(ctx, l, func(ctx context.Context, c *minio.Core) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		for info := range c.Client.ListObjects(ctx, l.Root, opt) {
			if info.Err != nil {
				return info.Err
			}
			if !visit(info) {
				return nil
			}
		}
		return ctx.Err()
	})
}

func (b *bucketScheme) list(ctx context.Context, l store.Location) ([]*entry, error) {
	prefix := l.Path
	if prefix != "" {
		prefix += "/"
	}
	var out []*entry
	var bad error
	err := b.each(ctx, l, minio.ListObjectsOptions{Prefix: prefix}, func(info minio.ObjectInfo) bool {
		name, folder := strings.CutSuffix(strings.TrimPrefix(info.Key, prefix), "/")
		if name == "" && info.Key == prefix {
			return true // the marker of the folder itself
		}
		if name == "" || name == "." || name == ".." {
			bad = &store.LocationError{Msg: fmt.Sprintf("%s holds the key %s, which cannot be named as a path; rename or move it",
				l, strconv.Quote(info.Key))}
			return false
		}
		below := l
		below.Path = prefix + name
		if folder {
			out = append(out, &entry{loc: below, dir: true})
		} else {
			out = append(out, objectEntry(below, info))
		}
		return true
	})
	if err == nil {
		err = bad
	}
	if err == nil && len(out) == 0 && l.Path != "" {
		err = fs.ErrNotExist
	}
	return out, err
}

func (b *bucketScheme) open(ctx context.Context, e *entry, from, to int64) (*answer, error) {
	var opt minio.GetObjectOptions
	if err := errors.Join(opt.SetRange(from, to-1), opt.SetMatchETag(e.etag)); err != nil {
		return nil, err
	}
	var a *answer
	err := b.call(ctx, e.loc, func(ctx context.Context, c *minio.Core) error {
		ctx, cancel := context.WithCancel(ctx)
		body, info, header, err := c.GetObject(ctx, e.loc.Root, e.loc.Path, opt)
		if err != nil {
			cancel()
			return err
		}
		a = &answer{body: &watchedBody{ReadCloser: body, cancel: cancel}}
		length := info.Size
		if a.skip, err = checkAnswer(header, length, e, from); err != nil {
			a.body.Close()
		}
		return err
	})
	return a, err
}
