package remote

import (
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/zeebo/xxh3"
)

const (
	// blockBytes is how a spool is cut: the least that is asked for at a time.
	blockBytes = 256 << 10
	// aheadBlocks is the most that is asked for at once where reading goes on from what is
	// there: 8 MiB, some tenths of a second of a fast line, against one round trip.
	aheadBlocks = 32
	// idleMax is how many files of the hub that were read in part stay open without a reader, since
	// a format opens its file again and again. What is there of more is given up.
	idleMax = 32
)

// spool is a sparse local copy of a remote file, shared by all that have it open: each
// block is downloaded once. Its file has no name, unless it is a [part] of the hub's cache.
type spool struct {
	entry *entry
	users int // guarded by FS.mu

	once    sync.Once
	openErr error
	file    *os.File
	part    *part // or nil

	mu      sync.Mutex
	moved   *sync.Cond // a block is no longer under way
	state   []blockState
	missing int
	// brokenOff says that a download did not come to its end, here or in the process that the part
	// was taken over from.
	brokenOff bool
	settled   bool
	err       error // of settling
}

type blockState uint8

const (
	blockMissing blockState = iota
	blockUnderWay
	blockThere
)

// blocksOf is how many blocks a file of a size has.
func blocksOf(size int64) int64 { return (size + blockBytes - 1) / blockBytes }

// spool opens the spool of a file.
func (f *FS) spool(e *entry) (*spool, error) {
	f.mu.Lock()
	name := e.loc.String()
	s := f.spools[name]
	if s == nil {
		s = &spool{entry: e, state: make([]blockState, blocksOf(e.size)), missing: int(blocksOf(e.size))}
		s.moved = sync.NewCond(&s.mu)
		f.spools[name] = s
	}
	if s.users++; s.users == 1 {
		f.idle = slices.DeleteFunc(f.idle, func(i *spool) bool { return i == s })
	}
	scratch := f.opt.Scratch
	f.mu.Unlock()
	// Taking a part over reads it; only those wait that want the same file.
	s.once.Do(func() { s.openErr = s.open(f.schemes[e.loc.Scheme], scratch) })
	if s.openErr != nil {
		return nil, errors.Join(s.openErr, f.release(s))
	}
	return s, nil
}

func (s *spool) open(from scheme, scratch string) (err error) {
	if hub, ok := from.(*hubScheme); ok {
		s.part = hub.cache.begin(s.entry)
	}
	if s.part == nil {
		s.file, err = unnamed(scratch)
		return err
	}
	s.file = s.part.file
	for b, sum := range s.part.sums() {
		if sum == 0 {
			continue
		}
		if now, err := s.sum(int64(b)); err == nil && now == sum {
			s.state[b] = blockThere
			s.missing--
			s.brokenOff = true
		}
	}
	return nil
}

// unnamed makes a file that goes with its last user, also in a crash.
func unnamed(dir string) (*os.File, error) {
	if dir != "" {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, err
		}
	}
	file, err := os.CreateTemp(dir, ".tmp-remote-")
	if err != nil {
		return nil, err
	}
	return file, os.Remove(file.Name())
}

// release closes a spool for one of its users. A file of the hub that is not whole stays
// open for the next one, for which what is there need not be fetched again, unless more were
// released since than may stay.
func (f *FS) release(s *spool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.users--; s.users > 0 {
		return nil
	}
	if s.part != nil && !s.settled {
		if f.idle = append(f.idle, s); len(f.idle) <= idleMax {
			return nil
		}
		s = f.idle[0]
		f.idle = slices.Delete(f.idle, 0, 1)
	}
	delete(f.spools, s.entry.loc.String())
	return s.end(f.ctx.Err() != nil)
}

// Close deletes what is half downloaded by choice: of a file of the hub that the end of the
// context or a failure broke off, the next run goes on with what is there. Files must be closed before.
func (f *FS) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for name, s := range f.spools {
		errs = append(errs, s.end(f.ctx.Err() != nil))
		delete(f.spools, name)
	}
	f.idle = nil
	errs = append(errs, f.schemes["hf"].(*hubScheme).cache.sweep(time.Now()))
	return errors.Join(errs...)
}

// end closes a spool that has no users. A part of it stays in the cache if the download was
// broken off.
func (s *spool) end(brokenOff bool) (err error) {
	if s.file == nil {
		return nil
	}
	keep := (brokenOff || s.brokenOff) && s.missing < len(s.state) && s.part != nil && s.part.locked
	if s.part != nil && !s.settled && !keep {
		err = s.part.remove() // before the lock goes
	}
	return errors.Join(err, s.file.Close())
}

// there returns where the block at an offset ends, if it is there, and else the offset.
func (s *spool) there(at int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := at / blockBytes; s.state[b] == blockThere {
		return s.blockEnd(b)
	}
	return at
}

// gap returns where the blocks end that are not there, from the one at an offset on.
func (s *spool) gap(at int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := at / blockBytes
	for b < int64(len(s.state)) && s.state[b] != blockThere {
		b++
	}
	return min(b*blockBytes, s.entry.size)
}

// keep stores what came at an offset; blocks count as there once all of them came in one go.
func (s *spool) keep(p []byte, at int64) error {
	end := at + int64(len(p))
	if s.whole(at, end) {
		return nil
	}
	if _, err := s.file.WriteAt(p, at); err != nil {
		return err
	}
	// The start of a block may be that of an earlier call: the callers write from start to
	// end, so that a block is there when its last byte is.
	for b := at / blockBytes; b < int64(len(s.state)) && s.blockEnd(b) <= end; b++ {
		if err := s.arrive(b); err != nil {
			return err
		}
	}
	return nil
}

// whole reports whether the blocks of a range are there.
func (s *spool) whole(from, to int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for b := from / blockBytes; b*blockBytes < to; b++ {
		if s.state[b] != blockThere {
			return false
		}
	}
	return true
}

func (s *spool) blockEnd(b int64) int64 { return min((b+1)*blockBytes, s.entry.size) }

// arrive marks a block that was written as there.
func (s *spool) arrive(b int64) error {
	var sum uint64
	if s.part != nil {
		var err error
		if sum, err = s.sum(b); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state[b] == blockThere {
		return nil // another caller's; a part that is whole may be a blob by now, without sums
	}
	if s.part != nil {
		if err := s.part.record(b, sum); err != nil {
			return err
		}
	}
	s.state[b] = blockThere
	s.missing--
	s.moved.Broadcast()
	return nil
}

// blockBuffers are what blocks are read into for their sums.
var blockBuffers = sync.Pool{New: func() any { return new([blockBytes]byte) }}

// sum is the sum of a block in the file; it is not 0.
func (s *spool) sum(b int64) (uint64, error) {
	buf := blockBuffers.Get().(*[blockBytes]byte)
	defer blockBuffers.Put(buf)
	data := buf[:s.blockEnd(b)-b*blockBytes]
	if _, err := s.file.ReadAt(data, b*blockBytes); err != nil {
		return 0, err
	}
	return max(1, xxh3.Hash(data)), nil
}

// breakOff notes that a download did not come to its end.
func (s *spool) breakOff() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.brokenOff = true
}

// fetch makes sure that the bytes from to to are there. Blocks that another caller has
// under way are waited for.
func (s *spool) fetch(from, to int64, ranges func(from, to int64) io.ReadCloser) error {
	for b := from / blockBytes; b*blockBytes < to; b++ {
		first, last := s.claim(b, (to+blockBytes-1)/blockBytes)
		if first == last {
			continue
		}
		if err := s.download(first, last, ranges); err != nil {
			return err
		}
	}
	return s.settle()
}

// claim marks missing blocks from b as under way, up to the block end, and as many more as
// are there right before b, so that what is asked for doubles while reading goes on. It
// returns none if b is there.
func (s *spool) claim(b, end int64) (first, last int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.state[b] == blockUnderWay {
		s.moved.Wait()
	}
	if s.state[b] == blockThere {
		return b, b
	}
	run := int64(0)
	for run < min(b, aheadBlocks) && s.state[b-run-1] == blockThere {
		run++
	}
	end = max(end, b+run)
	for last = b; last < min(end, int64(len(s.state))) && s.state[last] == blockMissing; last++ {
		s.state[last] = blockUnderWay
	}
	return b, last
}

// download fetches claimed blocks.
func (s *spool) download(first, last int64, ranges func(from, to int64) io.ReadCloser) (err error) {
	at, end := first*blockBytes, min(last*blockBytes, s.entry.size)
	body := ranges(at, end)
	defer func() { err = errors.Join(err, body.Close(), s.unclaim(first, last)) }()
	buf := make([]byte, blockBytes)
	for at < end {
		n, err := io.ReadFull(body, buf[:min(blockBytes, end-at)])
		if err != nil {
			s.breakOff()
			return err
		}
		if err := s.keep(buf[:n], at); err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

// unclaim gives back the blocks that did not come.
func (s *spool) unclaim(first, last int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for b := first; b < last; b++ {
		if s.state[b] == blockUnderWay {
			s.state[b] = blockMissing
		}
	}
	s.moved.Broadcast()
	return nil
}

// settle commits a file that is whole, once.
func (s *spool) settle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.part != nil && s.missing == 0 && !s.settled {
		s.settled, s.err = true, s.part.commit()
	}
	return s.err
}
