package remote

import (
	"cmp"
	"context"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"

	"bzdata/pipeline/store"

	"github.com/minio/minio-go/v7"
)

// partMin is the size of an upload's parts; a file of no more goes in one piece.
const partMin = 16 << 20

// Upload implements [store.ObjectStore] for s3:// names. The server checks each part against
// its MD5, parts that fail are sent again, and the object appears whole or not at all.
func (f *FS) Upload(name string, content store.ReadFile, sha256 string) error {
	l, b, err := f.bucket(name)
	if err != nil {
		return err
	}
	defer f.forget(l)
	u := &upload{fs: f, to: l, bucket: b, content: content, opt: minio.PutObjectOptions{
		ContentType: "application/octet-stream", UserMetadata: map[string]string{hashKey: sha256}}}
	if content.Size() <= partMin {
		return u.whole()
	}
	return u.parts()
}

// upload is one file on its way.
type upload struct {
	fs      *FS
	to      store.Location
	bucket  *bucketScheme
	content store.ReadFile
	opt     minio.PutObjectOptions
	id      string
}

// try carries one request of the upload out, again if need be.
func (u *upload) try(do func(ctx context.Context, c *minio.Core) error) error {
	return u.fs.web.try(u.fs.ctx, u.to.String(), func(ctx context.Context) error {
		return u.bucket.call(ctx, u.to, do)
	})
}

// part is a piece of the content and its MD5.
func (u *upload) part(from, bytes int64) (*io.SectionReader, string, error) {
	h := md5.New()
	if _, err := io.Copy(h, io.NewSectionReader(u.content, from, bytes)); err != nil {
		return nil, "", err
	}
	return io.NewSectionReader(u.content, from, bytes), base64.StdEncoding.EncodeToString(h.Sum(nil)), nil
}

func (u *upload) whole() error {
	return u.try(func(ctx context.Context, c *minio.Core) error {
		data, sum, err := u.part(0, u.content.Size())
		if err == nil {
			_, err = c.PutObject(ctx, u.to.Root, u.to.Path, data, data.Size(), sum, "", u.opt)
		}
		return err
	})
}

// parts uploads in parts, and leaves none behind if it fails.
func (u *upload) parts() error {
	err := u.try(func(ctx context.Context, c *minio.Core) (err error) {
		u.id, err = c.NewMultipartUpload(ctx, u.to.Root, u.to.Path, u.opt)
		return err
	})
	if err != nil {
		return err
	}
	if err = u.send(); err != nil {
		// Parts that stay are seen by nobody; the error that counts is the first.
		u.bucket.call(context.WithoutCancel(u.fs.ctx), u.to, func(ctx context.Context, c *minio.Core) error {
			return c.AbortMultipartUpload(ctx, u.to.Root, u.to.Path, u.id)
		})
	}
	return err
}

func (u *upload) send() error {
	size, step := u.content.Size(), partBytes(u.content.Size())
	var done []minio.CompletePart
	for from := int64(0); from < size; from += step {
		number := len(done) + 1
		err := u.try(func(ctx context.Context, c *minio.Core) error {
			data, sum, err := u.part(from, min(step, size-from))
			if err != nil {
				return err
			}
			part, err := c.PutObjectPart(ctx, u.to.Root, u.to.Path, u.id, number, data, data.Size(),
				minio.PutObjectPartOptions{Md5Base64: sum})
			if err == nil {
				done = append(done, minio.CompletePart{PartNumber: number, ETag: part.ETag})
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	err := u.try(func(ctx context.Context, c *minio.Core) error {
		_, err := c.CompleteMultipartUpload(ctx, u.to.Root, u.to.Path, u.id, done, u.opt)
		return err
	})
	if err == nil {
		return nil
	}
	// The answer may have got lost behind an upload that was completed.
	sum, statErr := u.fs.UploadedSHA256(u.to.String())
	if statErr == nil && sum == u.opt.UserMetadata[hashKey] {
		return nil
	}
	return cmp.Or(err, statErr)
}

// partBytes is the size of an upload's parts: at least 16 MiB, and at most 10,000 parts, the
// protocol's limit.
func partBytes(size int64) int64 {
	part := int64(partMin)
	for size > part*10_000 {
		part *= 2
	}
	return part
}

// UploadedSHA256 implements [store.ObjectStore] for s3:// names.
func (f *FS) UploadedSHA256(name string) (string, error) {
	l, _, err := f.bucket(name)
	if err != nil {
		return "", err
	}
	f.forget(l)
	e, err := f.entry(name)
	if err != nil {
		return "", err
	}
	return e.meta, nil
}

// Remove deletes a local file or an object. An object that is not there is no error.
func (f *FS) Remove(name string) error {
	if !store.IsRemote(name) {
		return f.FS.Remove(name)
	}
	l, b, err := f.bucket(name)
	if err != nil {
		return err
	}
	defer f.forget(l)
	return f.web.try(f.ctx, l.String(), func(ctx context.Context) error {
		return b.call(ctx, l, func(ctx context.Context, c *minio.Core) error {
			return c.RemoveObject(ctx, l.Root, l.Path, minio.RemoveObjectOptions{})
		})
	})
}

// bucket parses a name that can be written.
func (f *FS) bucket(name string) (store.Location, *bucketScheme, error) {
	l, s, err := f.at(name)
	b, ok := s.(*bucketScheme)
	if err == nil && !ok {
		err = &store.LocationError{Msg: fmt.Sprintf("%s: only s3:// names can be written", l)}
	}
	return l, b, err
}

// forget makes the next look at a file a new one, now that it was written.
func (f *FS) forget(l store.Location) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.known, l.String())
}
