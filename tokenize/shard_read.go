package tokenize

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"bzdata/pipeline/store"
	"github.com/zeebo/xxh3"
)

// Shard reads a token shard. Its index is in memory, 24 bytes or so for a sequence and
// 32 for a document; tokens are read when asked for. It is safe for concurrent use.
//
// They are read at their offset and not through a mapping: the pages are the system's cache either way, a sequence is
// one read, and a file that somebody cuts short is an error here, where a mapping's is a signal that
// ends the process.
type Shard struct {
	file   io.ReaderAt
	closer io.Closer
	header shardHeader
	at     layout

	packing  string
	dataKey  string
	sources  []string
	index    []byte // the sections as they lie in the file
	segments []byte
	docs     []byte
	ids      string
}

// OpenShardFile opens a shard of a file system; [Shard.Close] closes it.
func OpenShardFile(fsys store.FS, name string) (*Shard, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	s, err := OpenShard(f, f.Size())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	s.closer = f
	return s, nil
}

// OpenShard reads the header and index of a shard of size bytes and checks them: the
// header's hash, the file's size, and that every index entry is in range. The tokens
// are checked by [Shard.Verify], and one by one when they are read.
func OpenShard(file io.ReaderAt, size int64) (*Shard, error) {
	s := &Shard{file: file}
	if err := s.readHeader(size); err != nil {
		return nil, fmt.Errorf("token shard: %w", err)
	}
	if err := s.readIndex(); err != nil {
		return nil, fmt.Errorf("token shard: %w", err)
	}
	return s, nil
}

// Close closes the file, if [OpenShardFile] opened it.
func (s *Shard) Close() error {
	if s.closer == nil {
		return nil
	}
	return s.closer.Close()
}

func (s *Shard) readHeader(size int64) error {
	if size < headerBytes {
		return fmt.Errorf("%d bytes are too few for a header", size)
	}
	head, err := s.section(0, headerBytes)
	if err != nil {
		return err
	}
	if string(head[:len(shardMagic)]) != shardMagic {
		return errors.New("the file does not begin with " + shardMagic)
	}
	if v := binary.LittleEndian.Uint32(head[len(shardMagic):]); v != shardVersion {
		return fmt.Errorf("version %d; this program reads %d", v, shardVersion)
	}
	if binary.LittleEndian.Uint64(head[headerBytes-8:]) != xxh3.Hash(head[:headerBytes-8]) {
		return errors.New("the header is damaged: its hash differs")
	}
	s.header = decodeHeader(head)
	if err := s.header.check(); err != nil {
		return err
	}
	s.at = s.header.layout()
	if s.at.size != size {
		return fmt.Errorf("the file has %d bytes, its header says %d", size, s.at.size)
	}
	return nil
}

// section reads n bytes at an offset; the caller has checked that the file has them.
func (s *Shard) section(at, n int64) ([]byte, error) {
	b := make([]byte, n)
	if _, err := s.file.ReadAt(b, at); err != nil && !(errors.Is(err, io.EOF) && n == 0) {
		return nil, fmt.Errorf("read %d bytes at %d: %w", n, at, err)
	}
	return b, nil
}

func (s *Shard) readIndex() error {
	h := &s.header
	names, err := s.section(s.at.names, int64(h.nameBytes))
	if err != nil {
		return err
	}
	if err := s.readNames(names); err != nil {
		return err
	}
	var ids []byte
	for _, part := range []struct {
		at, n int64
		data  *[]byte
	}{
		{s.at.index, 8 * int64(h.sequences+1), &s.index},
		{s.at.segments, segmentBytes * int64(h.segments), &s.segments},
		{s.at.docs, docBytes * int64(h.documents), &s.docs},
		{s.at.ids, int64(h.idBytes), &ids},
	} {
		if *part.data, err = s.section(part.at, part.n); err != nil {
			return err
		}
	}
	s.ids = string(ids)
	if err := s.checkDocuments(); err != nil {
		return err
	}
	return s.checkSegments()
}

func (s *Shard) readNames(b []byte) error {
	next := func() (string, error) {
		if len(b) < 4 || uint64(len(b)-4) < uint64(binary.LittleEndian.Uint32(b)) {
			return "", errors.New("the names are cut short")
		}
		n := 4 + int(binary.LittleEndian.Uint32(b))
		name := string(b[4:n])
		b = b[n:]
		return name, nil
	}
	var err error
	if s.packing, err = next(); err != nil {
		return err
	}
	if s.dataKey, err = next(); err != nil {
		return err
	}
	for range s.header.sources {
		name, err := next()
		if err != nil {
			return err
		}
		s.sources = append(s.sources, name)
	}
	if len(b) > 0 {
		return fmt.Errorf("%d bytes follow the names", len(b))
	}
	return nil
}

func (s *Shard) checkDocuments() error {
	for i := range int(s.header.documents) {
		b := s.docs[i*docBytes:]
		source, at, n := le32(b, 20), le32(b, 24), le32(b, 28)
		if source >= s.header.sources || uint64(at)+uint64(n) > uint64(len(s.ids)) {
			return fmt.Errorf("entry %d of the document table is out of range", i)
		}
	}
	return nil
}

func (s *Shard) checkSegments() error {
	tokens := uint64(0)
	next := uint64(0)
	for i := range int(s.header.sequences) {
		first, end := s.segmentRange(i)
		if first != next || end < first || end > s.header.segments {
			return fmt.Errorf("the index of sequence %d is out of range", i)
		}
		next = end
		at := uint32(0)
		for k := first; k < end; k++ {
			b := s.segments[k*segmentBytes:]
			doc, from, to := le32(b, 0), le32(b, 4), le32(b, 8)
			if uint64(doc) >= s.header.documents || from < at || to <= from || to > s.header.sequenceLength {
				return fmt.Errorf("segment %d, of sequence %d, is out of range", k, i)
			}
			at = to
			tokens += uint64(to - from)
		}
	}
	last := binary.LittleEndian.Uint64(s.index[8*s.header.sequences:])
	if next != last || last != s.header.segments {
		return fmt.Errorf("the index ends at segment %d of %d", next, s.header.segments)
	}
	if tokens != s.header.tokens {
		return fmt.Errorf("segments hold %d tokens, the header says %d", tokens, s.header.tokens)
	}
	return nil
}

func le32(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }

func (s *Shard) segmentRange(i int) (first, end uint64) {
	return binary.LittleEndian.Uint64(s.index[8*i:]), binary.LittleEndian.Uint64(s.index[8*i+8:])
}

// Meta returns what the tokens are.
func (s *Shard) Meta() ShardMeta {
	h := &s.header
	return ShardMeta{
		SequenceLength: int(h.sequenceLength), VocabSize: int(h.vocabSize), TokenBytes: int(h.tokenBytes),
		Tokenizer: hex.EncodeToString(h.tokenizer[:]), Packing: Packing(s.packing), DataKey: s.dataKey,
		BOS: h.bos, EOS: h.eos, Pad: h.pad, Sources: s.sources,
	}
}

// Sequences returns the number of sequences.
func (s *Shard) Sequences() int { return int(s.header.sequences) }

// Documents returns the number of documents that have a token in the shard.
func (s *Shard) Documents() int { return int(s.header.documents) }

// Tokens returns the number of tokens that belong to documents, padding left out.
func (s *Shard) Tokens() int64 { return int64(s.header.tokens) }

// Targets returns the number of tokens that are predicted.
func (s *Shard) Targets() int64 { return int64(s.header.targets) }

// Document returns an entry of the document table, 0 ≤ i < Documents.
func (s *Shard) Document(i int) DocumentInfo {
	b := s.docs[i*docBytes : (i+1)*docBytes]
	at, n := le32(b, 24), le32(b, 28)
	return DocumentInfo{
		Ordinal: binary.LittleEndian.Uint64(b), TextBytes: binary.LittleEndian.Uint64(b[8:]),
		Tokens: le32(b, 16), Source: le32(b, 20), ID: s.ids[at : at+n],
	}
}

// Segments appends the segments of sequence i, 0 ≤ i < Sequences, in order.
func (s *Shard) Segments(dst []Segment, i int) []Segment {
	first, end := s.segmentRange(i)
	for k := first; k < end; k++ {
		b := s.segments[k*segmentBytes:]
		dst = append(dst, Segment{
			Document: s.Document(int(le32(b, 0))),
			Start:    int(le32(b, 4)), End: int(le32(b, 8)), From: int(le32(b, 12)),
		})
	}
	return dst
}

// Sequence reads sequence i, 0 ≤ i < Sequences, into dst, whose slices are used again.
// A token outside the vocabulary is an error.
func (s *Shard) Sequence(i int, dst *Sequence) error {
	if err := s.readSequence(i, dst); err != nil {
		return fmt.Errorf("token shard: sequence %d: %w", i, err)
	}
	dst.Segments = s.Segments(dst.Segments[:0], i)
	return nil
}

// readSequence reads tokens and targets.
func (s *Shard) readSequence(i int, dst *Sequence) error {
	length, width := int(s.header.sequenceLength), int(s.header.tokenBytes)
	need := length * width
	if cap(dst.raw) < need {
		dst.raw = make([]byte, need)
	}
	raw := dst.raw[:need]
	if _, err := s.file.ReadAt(raw, s.at.tokens+int64(i)*int64(need)); err != nil {
		return err
	}
	dst.Tokens = dst.Tokens[:0]
	for k := 0; k < need; k += width {
		id := uint32(binary.LittleEndian.Uint16(raw[k:]))
		if width == 4 {
			id = binary.LittleEndian.Uint32(raw[k:])
		}
		if id >= s.header.vocabSize {
			return fmt.Errorf("token %d is %d, outside the vocabulary of %d", k/width, id, s.header.vocabSize)
		}
		dst.Tokens = append(dst.Tokens, int32(id))
	}
	return s.readTargets(i, dst)
}

func (s *Shard) readTargets(i int, dst *Sequence) error {
	length, n := int(s.header.sequenceLength), s.header.targetBytes()
	dst.Target = dst.Target[:0]
	if s.header.flags&flagTargets == 0 {
		for k := range length {
			dst.Target = append(dst.Target, k > 0)
		}
		return nil
	}
	raw := dst.raw[:n] // narrower than the tokens, which are decoded
	if _, err := s.file.ReadAt(raw, s.at.targets+int64(i)*n); err != nil {
		return err
	}
	for k := range length {
		dst.Target = append(dst.Target, raw[k/8]>>(k%8)&1 != 0)
	}
	return nil
}

// Verify reads the whole shard: the body's hash, every token within the vocabulary,
// every target inside a segment and not first, their number as the header says.
func (s *Shard) Verify() error {
	hash := xxh3.New()
	if _, err := io.Copy(hash, io.NewSectionReader(s.file, headerBytes, s.at.size-headerBytes)); err != nil {
		return fmt.Errorf("token shard: %w", err)
	}
	if hash.Sum128().Bytes() != s.header.bodyHash {
		return errors.New("token shard: the body is damaged: its hash differs from the header's")
	}
	var seq Sequence
	targets := uint64(0)
	for i := range s.Sequences() {
		if err := s.Sequence(i, &seq); err != nil {
			return err
		}
		at := 0
		for _, seg := range append(seq.Segments, Segment{Start: len(seq.Target), End: len(seq.Target)}) {
			if err := noTarget(seq.Target[at:seg.Start], at); err != nil {
				return fmt.Errorf("token shard: sequence %d: %w", i, err)
			}
			at = seg.End
		}
		if seq.Target[0] {
			return fmt.Errorf("token shard: sequence %d: the first token is a target", i)
		}
		targets += countTrue(seq.Target)
	}
	if targets != s.header.targets {
		return fmt.Errorf("token shard: %d targets, the header says %d", targets, s.header.targets)
	}
	return nil
}

func countTrue(flags []bool) (n uint64) {
	for _, on := range flags {
		if on {
			n++
		}
	}
	return n
}
