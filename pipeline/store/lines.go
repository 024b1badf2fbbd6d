package store

import (
	"bytes"
	"fmt"
	"io"
	"math"
)

// RecordBytesMax is the default limit on one record: longer ones are malformed.
const RecordBytesMax = 64 << 20

// tooLongKept is how much of a record over the limit is kept to show.
const tooLongKept = 4 << 10

// smallBufferBytes is the buffer of a range of no bytes.
const smallBufferBytes = 256

// Line is one line of a JSONL file.
type Line struct {
	Number int64  // of the line, from 0; empty lines are counted
	Offset int64  // of the line's first byte, in the decompressed file
	Bytes  []byte // without the line end and space around it; the first 4 KiB if TooLong
	Length int64  // in bytes, without the line end
	// TooLong says that Length is over the limit.
	TooLong bool
}

// LineReader splits a stream into lines. Lines end at \n or the end of the stream; a
// \r before it, and one byte order mark at the very start, do not belong to the text.
// Lines of nothing but space, tab and \r are passed over, but counted: a line's
// number is the number of \n before it. At most record_bytes_max bytes of a line are
// held; the rest of a longer one is skipped.
type LineReader struct {
	r      io.Reader
	max    int64
	buf    []byte // buf[from:to] is read and not yet given out
	from   int
	to     int
	offset int64 // of buf[from] in the file
	number int64
	end    int64 // lines that start behind it are not read
	inside bool  // the stream starts inside the file, perhaps within a line
	err    error // of the stream, once it ended
}

// NewLineReader reads lines from r. A limit of 0 stands for [RecordBytesMax].
func NewLineReader(r io.Reader, recordBytesMax int64) *LineReader {
	if recordBytesMax <= 0 {
		recordBytesMax = RecordBytesMax
	}
	return &LineReader{r: r, max: recordBytesMax, end: math.MaxInt64 - smallBufferBytes}
}

// LineRange is a part of a plain file, cut anywhere, that is read by itself. The line at
// the start of the file belongs to the range that starts there; any other belongs to the
// range with From < start of the line <= To. So ranges that follow each other have each
// line once: a range begins behind the first line end at or after From, and ends with
// the line that lies across To.
type LineRange struct {
	From, To int64 // in bytes
	// FirstLine is the number of the first line that starts in the range: if From is not 0,
	// one more than there are line ends before it.
	FirstLine int64
}

// NewLineRangeReader reads the lines of a range; r gives the file's bytes from From on.
func NewLineRangeReader(r io.Reader, part LineRange, recordBytesMax int64) *LineReader {
	l := NewLineReader(r, recordBytesMax)
	l.number, l.offset, l.end, l.inside = part.FirstLine, part.From, part.To, part.From > 0
	return l
}

// Next reads the next line that is not empty. line.Bytes is valid until the next
// call. The error is io.EOF after the last line, or the stream's own.
func (l *LineReader) Next(line *Line) error {
	if l.buf == nil {
		l.start()
	}
	for {
		if l.offset > l.end && (l.inside || l.number > 0) {
			return io.EOF
		}
		if err := l.line(line); err != nil {
			return err
		}
		if line.TooLong {
			return nil
		}
		if line.Bytes = trimSpace(line.Bytes); len(line.Bytes) > 0 {
			return nil
		}
	}
}

// start makes the buffer and drops a byte order mark, or of a range what belongs to the
// one before.
func (l *LineReader) start() {
	l.buf = make([]byte, min(readBufferBytes, max(0, l.end-l.offset)+smallBufferBytes))
	if l.inside {
		l.skipPart()
		return
	}
	for l.to < 3 && l.err == nil {
		l.fill()
	}
	if bytes.HasPrefix(l.buf[:l.to], []byte("\ufeff")) {
		l.from, l.offset = 3, 3
	}
}

// skipPart drops the rest of a line that began before the range. One that goes on to the
// range's end leaves nothing to read, and is not followed there.
func (l *LineReader) skipPart() {
	for l.err == nil && l.offset < l.end {
		l.fill()
		if i := bytes.IndexByte(l.buf[l.from:l.to], '\n'); i >= 0 {
			l.advance(i + 1)
			return
		}
		l.advance(l.to - l.from)
	}
	if l.err == nil || l.err == io.EOF {
		l.offset, l.end = 1, 0 // no line starts here
	}
}

// line reads one line, empty or not. Space is left on.
func (l *LineReader) line(line *Line) error {
	searched := 0
	for {
		if i := bytes.IndexByte(l.buf[l.from+searched:l.to], '\n'); i >= 0 {
			l.give(line, searched+i, 1)
			return nil
		}
		searched = l.to - l.from
		if l.err != nil {
			if l.err != io.EOF || searched == 0 {
				return l.err
			}
			l.give(line, searched, 0)
			return nil
		}
		if int64(searched) > l.max+1 { // one more for the \r that does not count
			return l.skip(line)
		}
		l.fill()
	}
}

// give makes line of the next n bytes, and passes over the end bytes behind them.
func (l *LineReader) give(line *Line, n, end int) {
	text := bytes.TrimSuffix(l.buf[l.from:l.from+n], []byte("\r"))
	*line = Line{Number: l.number, Offset: l.offset, Bytes: text, Length: int64(len(text))}
	if line.TooLong = line.Length > l.max; line.TooLong {
		line.Bytes = text[:min(len(text), tooLongKept)]
	}
	l.advance(n + end)
	l.number++
}

// skip makes line of the first bytes of a line that is over the limit, and reads to
// its end.
func (l *LineReader) skip(line *Line) error {
	*line = Line{Number: l.number, Offset: l.offset, TooLong: true}
	last := byte(0)
	for {
		text := l.buf[l.from:l.to]
		end := bytes.IndexByte(text, '\n')
		if end >= 0 {
			text = text[:end]
		}
		if len(text) > 0 {
			last = text[len(text)-1]
			line.Bytes = append(line.Bytes, text[:min(len(text), tooLongKept-len(line.Bytes))]...)
			line.Length += int64(len(text))
			l.advance(len(text))
		}
		if end >= 0 {
			l.advance(1)
			break
		}
		if l.err == io.EOF {
			break
		}
		if l.err != nil {
			return l.err
		}
		l.fill()
	}
	if last == '\r' {
		line.Length--
		line.Bytes = line.Bytes[:min(int64(len(line.Bytes)), line.Length)]
	}
	l.number++
	return nil
}

func (l *LineReader) advance(n int) {
	l.from += n
	l.offset += int64(n)
}

// fill reads more bytes behind those not yet given out, or sets l.err.
func (l *LineReader) fill() {
	if l.from > 0 {
		l.to = copy(l.buf, l.buf[l.from:l.to])
		l.from = 0
	}
	if l.to == len(l.buf) {
		larger := make([]byte, min(2*int64(len(l.buf)), l.max+2))
		copy(larger, l.buf)
		l.buf = larger
	}
	for range 100 {
		n, err := l.r.Read(l.buf[l.to:])
		l.to += n
		if err != nil {
			l.err = err
			return
		}
		if n > 0 {
			return
		}
	}
	l.err = io.ErrNoProgress
}

// trimSpace cuts JSON's white space off both ends.
func trimSpace(b []byte) []byte {
	from := skipSpace(b, 0)
	to := len(b)
	for to > from && isSpace(b[to-1]) {
		to--
	}
	return b[from:to]
}

// splitLinesSlow is [LineReader] for a text that lies in memory.
func splitLinesSlow(text []byte, recordBytesMax int64) []Line {
	offset := int64(0)
	if bytes.HasPrefix(text, []byte("\ufeff")) {
		text, offset = text[3:], 3
	}
	var lines []Line
	for number, b := range bytes.Split(text, []byte("\n")) {
		line := Line{Number: int64(number), Offset: offset, Bytes: bytes.TrimSuffix(b, []byte("\r"))}
		line.Length = int64(len(line.Bytes))
		offset += int64(len(b)) + 1
		if line.TooLong = line.Length > recordBytesMax; line.TooLong {
			line.Bytes = line.Bytes[:min(len(line.Bytes), tooLongKept)]
			lines = append(lines, line)
		} else if line.Bytes = bytes.Trim(line.Bytes, " \t\r"); len(line.Bytes) > 0 {
			lines = append(lines, line)
		}
	}
	return lines
}

// splitRangeSlow is the [LineReader] of a range of a text that lies in memory.
func splitRangeSlow(text []byte, part LineRange, recordBytesMax int64) []Line {
	var lines []Line
	for _, line := range splitLinesSlow(text, recordBytesMax) {
		start := int64(bytes.LastIndexByte(text[:line.Offset], '\n') + 1)
		if start == 0 && part.From == 0 || part.From < start && start <= part.To {
			lines = append(lines, line)
		}
	}
	return lines
}

// tooLong is the malformed record's error for a line over the limit.
func tooLong(length, recordBytesMax int64) error {
	msg := fmt.Sprintf("record of %d bytes is over the limit of %d", length, recordBytesMax)
	return &SyntaxError{recordBytesMax, msg}
}
