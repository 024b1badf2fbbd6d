package remote

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// partInfix and a number stand between an entity tag and partSuffix. The library counts and
	// prunes every *.incomplete; its own are ETAG.XXXXXXXX.incomplete, which are left alone.
	partInfix  = ".bzdata-"
	partSuffix = ".incomplete"
	// partsMax is how many processes may have a part of one file each.
	partsMax = 16
	// partTries is how often a name is tried that others are taking away.
	partTries = 4
	// partAge is how long a part is kept that nobody asks for.
	partAge   = 7 * 24 * time.Hour
	partMagic = "bzpart1\n"
)

// part is a blob on its way. Its file is locked as long as a process has it, and one that nobody
// has is taken over by the next process that wants the blob:
//
//	content      of the blob's size, with holes
//	sums         8 bytes for each block: 0, or the block's XXH3 as it was written
//	"bzpart1\n"  8 bytes
//
// What stands in a block counts if its sum is right, so that it does not matter what a crash has
// left, nor in which order it was written. The content is bound to the entity tag by the
// file's name, and on the hub that is its hash.
//
// Where locks cannot be trusted to keep processes apart, a part has a random name, has no sums, and
// is only its maker's.
type part struct {
	cache  *hubCache
	entry  *entry
	file   *os.File
	locked bool
}

// begin makes a part or takes one over. If the cache cannot be written, there is none, and
// nothing is kept.
func (c *hubCache) begin(e *entry) *part {
	blobs := c.blobs(e)
	if err := os.MkdirAll(blobs, 0o777); err != nil {
		return nil
	}
	p := &part{cache: c, entry: e}
	if !c.locks(blobs) {
		var err error
		if p.file, err = os.CreateTemp(blobs, e.etag+".*"+partSuffix); err != nil {
			return nil
		}
		return p
	}
	p.locked = true
	for n := range partsMax {
		p.file = openPart(filepath.Join(blobs, fmt.Sprintf("%s%s%d%s", e.etag, partInfix, n, partSuffix)), e.size)
		if p.file != nil {
			return p
		}
	}
	return nil
}

// openPart opens or makes a part and locks it. It returns nil if another process has it, or
// the name is of no use. What is no part is removed.
func openPart(name string, size int64) *os.File {
	for range partTries {
		file, err := openLocked(name, os.O_CREATE)
		if errors.Is(err, errMoved) {
			continue
		}
		if err != nil {
			return nil
		}
		if preparePart(file, size) {
			return file
		}
		if err := errors.Join(os.Remove(name), file.Close()); err != nil {
			return nil
		}
	}
	return nil
}

// errMoved says that a file got another name, or none, while it was opened.
var errMoved = errors.New("the file was renamed or removed")

// preparePart reports whether a locked file is a part of a blob of that size; an empty file is made
// one.
func preparePart(file *os.File, size int64) bool {
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	end := partFileBytes(size)
	if info.Size() == 0 {
		_, err := file.WriteAt([]byte(partMagic), end-int64(len(partMagic)))
		return err == nil
	}
	magic := make([]byte, len(partMagic))
	if info.Size() != end {
		return false
	}
	_, err = file.ReadAt(magic, end-int64(len(magic)))
	return err == nil && string(magic) == partMagic
}

func partFileBytes(size int64) int64 { return size + 8*blocksOf(size) + int64(len(partMagic)) }

// sums are those of the blocks that an earlier process has left; 0 says that there is none.
func (p *part) sums() []uint64 {
	sums := make([]uint64, blocksOf(p.entry.size))
	data := make([]byte, 8*len(sums))
	if !p.locked {
		return sums
	}
	if _, err := p.file.ReadAt(data, p.entry.size); err != nil {
		return sums // nothing is there, then
	}
	for b := range sums {
		sums[b] = binary.LittleEndian.Uint64(data[8*b:])
	}
	return sums
}

// record notes the sum of a block that was written.
func (p *part) record(b int64, sum uint64) error {
	if !p.locked {
		return nil
	}
	_, err := p.file.WriteAt(binary.LittleEndian.AppendUint64(nil, sum), p.entry.size+8*b)
	return err
}

// named reports whether the part still has its name: the cache may have been cleared.
func (p *part) named() bool { return sameName(p.file, p.file.Name()) }

func sameName(file *os.File, name string) bool {
	open, err := file.Stat()
	if err != nil {
		return false
	}
	now, err := os.Lstat(name)
	return err == nil && os.SameFile(open, now)
}

// remove takes the part's name away.
func (p *part) remove() error {
	if !p.named() {
		return nil
	}
	return os.Remove(p.file.Name())
}

// commit checks the part, which is whole, by its hash and makes it the blob.
func (p *part) commit() error {
	if err := checkDigest(p.entry, p.file); err != nil {
		return errors.Join(err, p.remove())
	}
	if !p.named() {
		return nil // nothing is kept, but what is open is right
	}
	// The content must be safe before the sums go, and the file's end before it is a blob.
	if err := errors.Join(p.file.Sync(), p.file.Truncate(p.entry.size), p.file.Sync(), p.file.Chmod(0o644)); err != nil {
		return err
	}
	return p.cache.place(p.entry, p.file.Name())
}

// sweep removes the parts of the data sets in use that are of no more use: their blob is there,
// or nobody has asked for them for long. What another process has stays.
func (c *hubCache) sweep(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for blobs := range c.used {
		if !c.locks(blobs) {
			continue
		}
		entries, err := os.ReadDir(blobs)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			etag, rest, ours := strings.Cut(e.Name(), partInfix)
			if ours && strings.HasSuffix(rest, partSuffix) && useless(e, filepath.Join(blobs, etag), now) {
				errs = append(errs, removeUnheld(filepath.Join(blobs, e.Name())))
			}
		}
	}
	return errors.Join(errs...)
}

func useless(e fs.DirEntry, blob string, now time.Time) bool {
	if _, err := os.Stat(blob); err == nil {
		return true
	}
	info, err := e.Info()
	return err == nil && now.Sub(info.ModTime()) > partAge
}

// removeUnheld removes a file that no process has locked.
func removeUnheld(name string) error {
	file, err := openLocked(name, 0)
	if err != nil {
		return nil // another process has it, or it has gone
	}
	return errors.Join(os.Remove(name), file.Close())
}
