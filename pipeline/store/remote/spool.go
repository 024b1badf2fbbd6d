package remote

import (
	"errors"
	"io"
	"os"
	"sync"
)

const (
	// blockBytes is how a spool is cut: the least that is asked for at a time.
	blockBytes = 256 << 10
	// aheadBlocks is the most that is asked for at once where reading goes on from what is
	// there: 8 MiB, some tenths of a second of a fast line, against one round trip.
	aheadBlocks = 32
)

// spool is a sparse local copy of a remote file, shared by all that have it open: each
// block is downloaded once. Its file has no name, unless it may end up in the hub's cache.
type spool struct {
	entry *entry
	file  *os.File
	users int // guarded by FS.mu
	// commit, if not nil, checks the whole file and gives it its place.
	commit func(*os.File) error

	mu      sync.Mutex
	moved   *sync.Cond // a block is no longer under way
	state   []blockState
	missing int
	settled bool
	err     error // of commit
}

type blockState uint8

const (
	blockMissing blockState = iota
	blockUnderWay
	blockThere
)

// spool opens the spool of a file.
func (f *FS) spool(e *entry) (*spool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := e.loc.String()
	s := f.spools[name]
	if s == nil {
		blocks := int((e.size + blockBytes - 1) / blockBytes)
		s = &spool{entry: e, state: make([]blockState, blocks), missing: blocks}
		s.moved = sync.NewCond(&s.mu)
		var err error
		if hub, ok := f.schemes[e.loc.Scheme].(*hubScheme); ok {
			s.file, s.commit = hub.cache.begin(e)
		}
		if s.file == nil {
			s.file, err = unnamed(f.opt.Scratch)
		}
		if err != nil {
			return nil, err
		}
		f.spools[name] = s
	}
	s.users++
	return s, nil
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

// release closes a spool for one of its users. A file of the hub stays open until it is
// whole or [FS.Close], as it is worth more the more of it is there.
func (f *FS) release(s *spool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.users--
	if s.users > 0 || s.commit != nil && !s.settled {
		return nil
	}
	delete(f.spools, s.entry.loc.String())
	return s.file.Close()
}

// Close deletes what is half downloaded. Files must be closed before.
func (f *FS) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for name, s := range f.spools {
		errs = append(errs, s.file.Close())
		if s.commit != nil && !s.settled {
			errs = append(errs, os.Remove(s.file.Name()))
		}
		delete(f.spools, name)
	}
	return errors.Join(errs...)
}

// there returns where the block at an offset ends, if it is there, and else the offset.
func (s *spool) there(at int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := at / blockBytes; s.state[b] == blockThere {
		return min((b+1)*blockBytes, s.entry.size)
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
	if _, err := s.file.WriteAt(p, at); err != nil {
		return err
	}
	// The start of a block may be that of an earlier call: the callers write from start to
	// end, so that a block is there when its last byte is.
	s.mu.Lock()
	defer s.mu.Unlock()
	end := at + int64(len(p))
	for b := at / blockBytes; b < int64(len(s.state)) && min((b+1)*blockBytes, s.entry.size) <= end; b++ {
		if s.state[b] != blockThere {
			s.state[b] = blockThere
			s.missing--
		}
	}
	s.moved.Broadcast()
	return nil
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
	if s.commit != nil && s.missing == 0 && !s.settled {
		s.settled, s.err = true, s.commit(s.file)
	}
	return s.err
}
