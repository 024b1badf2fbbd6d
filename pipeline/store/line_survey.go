package store

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
)

// LineSurvey is what a range of a plain file of lines holds, found without a look into
// its records. It is what readers of later ranges must know.
type LineSurvey struct {
	// Ends is the number of line ends at From <= offset < To.
	Ends int64
	// Records is the number of lines of the range that are not empty, if they were counted.
	Records int64
	// SHA256 is the hash of the bytes From to To.
	SHA256 [sha256.Size]byte
	// Whole says that all bytes were read; otherwise Ends and SHA256 stand for nothing.
	Whole bool
}

// SurveyLines reads a range of a file and counts. With recordsMax >= 0 it also counts
// records, as [Rows] gives them, and stops at that many.
func SurveyLines(fsys FS, name string, part LineRange, recordBytesMax, recordsMax int64) (s LineSurvey, err error) {
	file, err := openReader(fsys, name, &part, false)
	if err != nil {
		return s, err
	}
	defer file.Close()
	count := &lineCounter{r: file, left: part.To - part.From, hash: sha256.New()}
	if recordsMax < 0 {
		nowhere := struct{ io.Writer }{io.Discard} // which would read into a small buffer of its own
		_, err = io.CopyBuffer(nowhere, io.LimitReader(count, count.left), make([]byte, min(readBufferBytes, count.left+1)))
	} else {
		s.Records, err = countRecords(NewLineRangeReader(count, part, recordBytesMax), recordsMax)
	}
	s.Ends, s.Whole = count.ends, count.left == 0
	s.SHA256 = [sha256.Size]byte(count.hash.Sum(nil))
	return s, err
}

// CountRecords returns how many records a JSONL file has, at most max.
func CountRecords(fsys FS, name string, recordBytesMax, max int64) (int64, error) {
	file, err := OpenReader(fsys, name)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	return countRecords(NewLineReader(file, recordBytesMax), max)
}

func countRecords(lines *LineReader, max int64) (n int64, err error) {
	var line Line
	for n < max {
		switch err := lines.Next(&line); err {
		case nil:
			n++
		case io.EOF:
			return n, nil
		default:
			return n, err
		}
	}
	return n, nil
}

// lineCounter counts and hashes the first bytes that are read through it.
type lineCounter struct {
	r    io.Reader
	left int64 // bytes still to be counted
	ends int64
	hash hash.Hash
}

// Read reads on, also behind what is counted.
func (c *lineCounter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	mine := p[:min(int64(n), c.left)]
	c.left -= int64(len(mine))
	c.ends += int64(bytes.Count(mine, []byte{'\n'}))
	c.hash.Write(mine)
	return n, err
}
