package tokenize

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/zeebo/xxh3"
)

// ShardWriter collects sequences in memory, tokens at their width in the file, and
// writes them as one token shard.
type ShardWriter struct {
	header shardHeader
	names  []byte

	tokens   []byte
	targets  []byte
	index    []byte // first segment of each sequence
	segments []byte
	docs     []byte
	ids      []byte
	known    map[uint64]knownDocument
	fresh    map[uint64]DocumentInfo // of the sequence being added
	masked   bool                    // a token other than a first one is no target
}

type knownDocument struct {
	index uint32
	info  DocumentInfo
}

// NewShardWriter returns an empty shard.
func NewShardWriter(m ShardMeta) (*ShardWriter, error) {
	h, names, err := m.header()
	if err != nil {
		return nil, fmt.Errorf("token shard: %w", err)
	}
	w := &ShardWriter{header: h, names: names}
	w.known, w.fresh = map[uint64]knownDocument{}, map[uint64]DocumentInfo{}
	return w, nil
}

// Reset empties the shard for other sequences of the same kind.
func (w *ShardWriter) Reset() {
	h := w.header
	h.sequences, h.segments, h.documents = 0, 0, 0
	h.tokens, h.targets, h.idBytes = 0, 0, 0
	*w = ShardWriter{
		header: h, names: w.names, tokens: w.tokens[:0], targets: w.targets[:0],
		index: w.index[:0], segments: w.segments[:0], docs: w.docs[:0], ids: w.ids[:0],
		known: w.known, fresh: w.fresh,
	}
	clear(w.known)
}

// Sequences returns the number of sequences added.
func (w *ShardWriter) Sequences() int { return int(w.header.sequences) }

// Size returns the size in bytes of the file that [ShardWriter.WriteTo] would write now.
func (w *ShardWriter) Size() int64 {
	h := w.finished()
	return h.layout().size
}

// Add appends a sequence, which it copies. Its segments are in order, do not overlap,
// and a target lies in one of them.
func (w *ShardWriter) Add(s *Sequence) error {
	if err := w.checkSequence(s); err != nil {
		return fmt.Errorf("token shard: sequence %d: %w", w.header.sequences, err)
	}
	w.addTokens(s)
	le := binary.LittleEndian
	w.index = le.AppendUint64(w.index, w.header.segments)
	for _, seg := range s.Segments {
		for _, v := range []int{int(w.document(seg.Document)), seg.Start, seg.End, seg.From} {
			w.segments = le.AppendUint32(w.segments, uint32(v))
		}
		w.header.tokens += uint64(seg.End - seg.Start)
	}
	w.header.segments += uint64(len(s.Segments))
	w.header.sequences++
	return nil
}

func (w *ShardWriter) checkSequence(s *Sequence) error {
	h := &w.header
	length := int(h.sequenceLength)
	if len(s.Tokens) != length || len(s.Target) != length {
		return fmt.Errorf("has %d tokens and %d targets, want %d", len(s.Tokens), len(s.Target), length)
	}
	for i, id := range s.Tokens {
		if id < 0 || uint32(id) >= h.vocabSize {
			return fmt.Errorf("token %d is %d, outside the vocabulary of %d", i, id, h.vocabSize)
		}
	}
	if h.sequences == sequencesMax || h.segments+uint64(len(s.Segments)) > segmentsMax {
		return fmt.Errorf("the shard is full")
	}
	at := 0
	ids := len(w.ids)
	clear(w.fresh)
	for i, seg := range s.Segments {
		if seg.Start < at || seg.End <= seg.Start || seg.End > length || seg.From < 0 || seg.From > segmentsMax {
			return fmt.Errorf("segment %d is %d:%d from %d", i, seg.Start, seg.End, seg.From)
		}
		if seg.Document.Source >= h.sources {
			return fmt.Errorf("segment %d: source %d of %d", i, seg.Document.Source, h.sources)
		}
		if !w.agrees(seg.Document) {
			return fmt.Errorf("segment %d: document %d differs from what was said of it before",
				i, seg.Document.Ordinal)
		}
		if ids += len(seg.Document.ID); ids > textMax {
			return fmt.Errorf("the shard is full of document ids")
		}
		if err := noTarget(s.Target[at:seg.Start], at); err != nil {
			return err
		}
		at = seg.End
	}
	if s.Target[0] {
		return fmt.Errorf("the first token is a target, but nothing precedes it")
	}
	return noTarget(s.Target[at:], at)
}

// agrees reports whether a document is as it was described before.
func (w *ShardWriter) agrees(d DocumentInfo) bool {
	if k, ok := w.known[d.Ordinal]; ok {
		return k.info == d
	}
	if before, ok := w.fresh[d.Ordinal]; ok {
		return before == d
	}
	w.fresh[d.Ordinal] = d
	return true
}

func noTarget(target []bool, at int) error {
	for i, on := range target {
		if on {
			return fmt.Errorf("token %d is a target, but belongs to no document", at+i)
		}
	}
	return nil
}

func (w *ShardWriter) addTokens(s *Sequence) {
	for _, id := range s.Tokens {
		if w.header.tokenBytes == 2 {
			w.tokens = append(w.tokens, byte(id), byte(id>>8))
		} else {
			w.tokens = binary.LittleEndian.AppendUint32(w.tokens, uint32(id))
		}
	}
	start := len(w.targets)
	w.targets = append(w.targets, make([]byte, w.header.targetBytes())...)
	for i, on := range s.Target {
		if on {
			w.targets[start+i/8] |= 1 << (i % 8)
			w.header.targets++
		} else if i > 0 {
			w.masked = true
		}
	}
}

// document returns the document's index in the shard's table, entering it if it is new.
func (w *ShardWriter) document(d DocumentInfo) uint32 {
	if k, ok := w.known[d.Ordinal]; ok {
		return k.index
	}
	index := uint32(w.header.documents)
	w.known[d.Ordinal] = knownDocument{index, d}
	w.header.documents++
	le := binary.LittleEndian
	w.docs = le.AppendUint64(w.docs, d.Ordinal)
	w.docs = le.AppendUint64(w.docs, d.TextBytes)
	for _, v := range []uint32{d.Tokens, d.Source, uint32(len(w.ids)), uint32(len(d.ID))} {
		w.docs = le.AppendUint32(w.docs, v)
	}
	w.ids = append(w.ids, d.ID...)
	w.header.idBytes = uint64(len(w.ids))
	return index
}

// finished returns the header as it would be written, without hashes.
func (w *ShardWriter) finished() shardHeader {
	h := w.header
	if w.masked {
		h.flags |= flagTargets
	}
	return h
}

// WriteTo writes the shard; it fits [bzdata/pipeline/store.WriteFile]. More sequences
// may be added afterwards.
func (w *ShardWriter) WriteTo(dst io.Writer) (int64, error) {
	h := w.finished()
	l := h.layout()
	hash := xxh3.New()
	if err := w.writeBody(hash, h, l); err != nil {
		return 0, err
	}
	sum := hash.Sum128().Bytes()
	h.bodyHash = sum
	head := h.encode()
	head = binary.LittleEndian.AppendUint64(head, xxh3.Hash(head))
	if n, err := dst.Write(head); err != nil {
		return int64(n), fmt.Errorf("write token shard: %w", err)
	}
	if err := w.writeBody(dst, h, l); err != nil {
		return headerBytes, fmt.Errorf("write token shard: %w", err)
	}
	return l.size, nil
}

// writeBody writes all that follows the header, each section padded to its alignment.
func (w *ShardWriter) writeBody(dst io.Writer, h shardHeader, l layout) error {
	index := binary.LittleEndian.AppendUint64(w.index[:len(w.index):len(w.index)], h.segments)
	targets := w.targets
	if h.flags&flagTargets == 0 {
		targets = nil
	}
	at := int64(headerBytes)
	for _, section := range []struct {
		start int64
		data  []byte
	}{
		{l.names, w.names}, {l.tokens, w.tokens}, {l.targets, targets}, {l.index, index},
		{l.segments, w.segments}, {l.docs, w.docs}, {l.ids, w.ids},
	} {
		var zeros [alignBytes]byte
		if _, err := dst.Write(zeros[:section.start-at]); err != nil {
			return err
		}
		if _, err := dst.Write(section.data); err != nil {
			return err
		}
		at = section.start + int64(len(section.data))
	}
	return nil
}
