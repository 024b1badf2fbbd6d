package store

import "io"

const (
	// aheadBuffers is how many buffers are on their way at most.
	aheadBuffers = 3
	// aheadBufferBytes is their size. A reader faster than the decompression sleeps after each
	// buffer; at 256 KiB being woken takes 5 to 10 % of the time, above 1 MiB memory does.
	aheadBufferBytes = 512 << 10
)

// aheadReader reads a stream in a goroutine of its own, so that decompressing goes on
// beside what is done with the text where a second core is free.
type aheadReader struct {
	full, free chan aheadPiece
	stop       chan struct{}
	done       chan struct{}
	now        aheadPiece
	rest       []byte // of now, not yet given out
}

type aheadPiece struct {
	buf []byte
	n   int
	err error
}

// newAheadReader starts to read r. Close must be called.
func newAheadReader(r io.Reader) *aheadReader {
	a := &aheadReader{full: make(chan aheadPiece, aheadBuffers), free: make(chan aheadPiece, aheadBuffers),
		stop: make(chan struct{}), done: make(chan struct{})}
	for range aheadBuffers {
		a.free <- aheadPiece{}
	}
	go a.run(r)
	return a
}

func (a *aheadReader) run(r io.Reader) {
	defer close(a.done)
	for {
		var p aheadPiece
		select {
		case p = <-a.free:
		case <-a.stop:
			return
		}
		if p.buf == nil {
			p.buf = make([]byte, aheadBufferBytes)
		}
		for p.n = 0; p.n < len(p.buf) && p.err == nil; {
			var n int
			n, p.err = r.Read(p.buf[p.n:])
			p.n += n
		}
		a.full <- p // there is room for every buffer
		if p.err != nil {
			return
		}
	}
}

// Read gives out what was read ahead. The stream's error comes after all its bytes.
func (a *aheadReader) Read(to []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.buf != nil {
			a.free <- aheadPiece{buf: a.now.buf}
		}
		a.now = <-a.full
		a.rest = a.now.buf[:a.now.n]
	}
	n := copy(to, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Close ends the reading and waits for its end.
func (a *aheadReader) Close() {
	close(a.stop)
	<-a.done
}
