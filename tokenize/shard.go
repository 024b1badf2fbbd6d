package tokenize

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
)

// ShardMeta says what the tokens of a shard are.
type ShardMeta struct {
	SequenceLength int
	// VocabSize is [Tokenizer.VocabSize]; every token is below it.
	VocabSize int
	// TokenBytes is the width of a token: 2 needs a VocabSize of at most 65536, 4 fits
	// all; 0 chooses the smaller that fits.
	TokenBytes int
	// Tokenizer is [Tokenizer.Hash], 64 hexadecimal digits.
	Tokenizer string
	// Packing says how documents were laid out.
	Packing Packing
	// DataKey identifies the data and settings that the shard was made from.
	DataKey string
	// BOS, EOS and Pad are token ids, or −1 for none.
	BOS, EOS, Pad int32
	// Sources names the sources; [DocumentInfo.Source] is an index into it.
	Sources []string
}

// ShardMeta returns the meta data of shards packed with o from t's tokens, but for the
// data key and the sources.
func (t *Tokenizer) ShardMeta(o PackOptions) (ShardMeta, error) {
	if err := o.complete(); err != nil {
		return ShardMeta{}, err
	}
	return ShardMeta{
		SequenceLength: o.SequenceLength, VocabSize: t.VocabSize(), Tokenizer: t.hash,
		Packing: o.Packing, BOS: t.bos, EOS: o.EOS, Pad: o.Pad,
	}, nil
}

// The format's constants; the package comment describes it byte by byte.
const (
	shardMagic   = "BZTOKENS"
	shardVersion = 1
	headerBytes  = 192
	segmentBytes = 16
	docBytes     = 32
	alignBytes   = 64

	flagTargets = 1 // a target bit map is there
)

// Limits that keep all sizes within 63 bits, and the counts within the format's fields.
const (
	sequencesMax = math.MaxUint32
	segmentsMax  = math.MaxUint32
	textMax      = math.MaxUint32 // bytes of all names, or of all document ids
)

// shardHeader is the fixed part of a shard.
type shardHeader struct {
	tokenBytes, flags                   uint32
	vocabSize, sequenceLength           uint32
	sequences, segments, documents      uint64
	tokens, targets, nameBytes, idBytes uint64
	sources                             uint32
	bos, eos, pad                       int32
	tokenizer                           [32]byte
	bodyHash                            [16]byte
}

// layout holds the offset of each section, in bytes from the start of the file, and
// the file's size.
type layout struct{ names, tokens, targets, index, segments, docs, ids, size int64 }

func align(n int64) int64 { return (n + alignBytes - 1) / alignBytes * alignBytes }

func (h *shardHeader) targetBytes() int64 { return (int64(h.sequenceLength) + 7) / 8 }

// layout computes the offsets from the counts; h has passed check.
func (h *shardHeader) layout() (l layout) {
	n := int64(h.sequences)
	l.names = headerBytes
	l.tokens = align(l.names + int64(h.nameBytes))
	l.targets = align(l.tokens + n*int64(h.sequenceLength)*int64(h.tokenBytes))
	l.index = l.targets
	if h.flags&flagTargets != 0 {
		l.index = align(l.targets + n*h.targetBytes())
	}
	l.segments = align(l.index + 8*(n+1))
	l.docs = align(l.segments + segmentBytes*int64(h.segments))
	l.ids = align(l.docs + docBytes*int64(h.documents))
	l.size = l.ids + int64(h.idBytes)
	return l
}

// check refuses counts that cannot be true, so that layout does not overflow.
func (h *shardHeader) check() error {
	switch {
	case h.tokenBytes != 2 && h.tokenBytes != 4:
		return fmt.Errorf("token width is %d bytes, want 2 or 4", h.tokenBytes)
	case h.vocabSize == 0 || h.vocabSize > math.MaxInt32:
		return fmt.Errorf("vocabulary size is %d", h.vocabSize)
	case h.tokenBytes == 2 && h.vocabSize > 1<<16:
		return fmt.Errorf("a vocabulary of %d does not fit tokens of 2 bytes", h.vocabSize)
	case h.sequenceLength < 2 || h.sequenceLength > math.MaxInt32:
		return fmt.Errorf("sequence length is %d, want 2 or more", h.sequenceLength)
	case h.flags&^flagTargets != 0:
		return fmt.Errorf("flags are %#x; this program knows %#x", h.flags, flagTargets)
	case h.sequences > sequencesMax || h.segments > segmentsMax || h.documents > segmentsMax,
		h.nameBytes > textMax || h.idBytes > textMax:
		return fmt.Errorf("counts are out of range")
	case h.sequences*uint64(h.sequenceLength) > math.MaxInt64/16:
		return fmt.Errorf("%d sequences of %d tokens are out of range", h.sequences, h.sequenceLength)
	case h.tokens > h.sequences*uint64(h.sequenceLength) || h.targets > h.tokens:
		return fmt.Errorf("%d tokens and %d targets do not fit %d sequences of %d",
			h.tokens, h.targets, h.sequences, h.sequenceLength)
	}
	return nil
}

// encode writes the header without its own hash, which the caller appends.
func (h *shardHeader) encode() []byte {
	le := binary.LittleEndian
	b := append(make([]byte, 0, headerBytes), shardMagic...)
	for _, v := range []uint32{
		shardVersion, h.tokenBytes, h.flags, h.vocabSize, h.sequenceLength, h.sources,
		uint32(h.bos), uint32(h.eos), uint32(h.pad), 0,
	} {
		b = le.AppendUint32(b, v)
	}
	for _, v := range []uint64{
		h.sequences, h.segments, h.documents, h.tokens, h.targets, h.nameBytes, h.idBytes,
	} {
		b = le.AppendUint64(b, v)
	}
	b = append(b, h.tokenizer[:]...)
	b = append(b, h.bodyHash[:]...)
	return append(b, make([]byte, headerBytes-8-len(b))...)
}

// decodeHeader reads what encode wrote; b has headerBytes.
func decodeHeader(b []byte) (h shardHeader) {
	le := binary.LittleEndian
	at := len(shardMagic) + 4
	u32 := func() uint32 { at += 4; return le.Uint32(b[at-4:]) }
	u64 := func() uint64 { at += 8; return le.Uint64(b[at-8:]) }
	h.tokenBytes, h.flags, h.vocabSize, h.sequenceLength = u32(), u32(), u32(), u32()
	h.sources, h.bos, h.eos, h.pad = u32(), int32(u32()), int32(u32()), int32(u32())
	u32()
	h.sequences, h.segments, h.documents = u64(), u64(), u64()
	h.tokens, h.targets, h.nameBytes, h.idBytes = u64(), u64(), u64(), u64()
	at += copy(h.tokenizer[:], b[at:])
	copy(h.bodyHash[:], b[at:])
	return h
}

// header checks m and turns it into the fixed part and the names section.
func (m ShardMeta) header() (h shardHeader, names []byte, err error) {
	tokenBytes := m.TokenBytes
	if tokenBytes == 0 {
		tokenBytes = 4
		if m.VocabSize <= 1<<16 {
			tokenBytes = 2
		}
	}
	if m.VocabSize < 1 || m.VocabSize > math.MaxInt32 {
		return h, nil, fmt.Errorf("vocabulary size is %d", m.VocabSize)
	}
	if m.SequenceLength < 2 || m.SequenceLength > math.MaxInt32 {
		return h, nil, fmt.Errorf("sequence length is %d, want 2 or more", m.SequenceLength)
	}
	hash, err := hex.DecodeString(m.Tokenizer)
	if err != nil || len(hash) != 32 {
		return h, nil, fmt.Errorf("tokenizer hash %q is not 64 hexadecimal digits", m.Tokenizer)
	}
	for _, id := range []int32{m.BOS, m.EOS, m.Pad} {
		if id < -1 || int(id) >= m.VocabSize {
			return h, nil, fmt.Errorf("token id %d is outside the vocabulary of %d", id, m.VocabSize)
		}
	}
	h = shardHeader{
		tokenBytes: uint32(tokenBytes), vocabSize: uint32(m.VocabSize),
		sequenceLength: uint32(m.SequenceLength), sources: uint32(len(m.Sources)),
		bos: m.BOS, eos: m.EOS, pad: m.Pad, tokenizer: [32]byte(hash),
	}
	names = appendName(appendName(nil, string(m.Packing)), m.DataKey)
	for _, s := range m.Sources {
		names = appendName(names, s)
	}
	h.nameBytes = uint64(len(names))
	return h, names, h.check()
}

func appendName(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
}
