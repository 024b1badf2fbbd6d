package tokenize

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// moreSpec is what a tokenizer.json says beyond the simple family: complete byte-level BPE
// with a known pattern, no normalizer or NFC, plain added tokens.
type moreSpec struct {
	normalizers   normalizers
	preTokenizers preTokenizers
	steps         []step // one for each pre-tokenizer
	decoders      decoders
	decoded       bool // there is a decoder; else tokens are joined by spaces
	bpe           *bpeSettings
	unigram       *unigramSettings

	// byteLevel: the last pre-tokenizer is ByteLevel and the model complete byte-level BPE, so
	// that pieces of text are encoded as those of the simple family.
	byteLevel bool

	described []byte // the parts that decide ids, as canonical JSON with their names
	source    []byte // the file
}

type bpeSettings struct {
	unknown, prefix, suffix string
	fuseUnknown             bool
	byteFallback            bool
}

type unigramSettings struct {
	scores       []float64 // by id
	unknown      int32     // −1 for none
	byteFallback bool
}

// describe enters a part of the file into what is hashed.
func (m *moreSpec) describe(name string, v value) {
	raw := v.raw.Clone()
	if err := raw.Canonicalize(jsontext.AllowDuplicateNames(true)); err != nil {
		raw = v.raw // it is JSON, and hashing it as it stands is right too
	}
	m.described = appendText(appendText(m.described, name), string(raw))
}

// appendText appends a text with its length.
func appendText(dst []byte, text string) []byte {
	return append(binary.LittleEndian.AppendUint64(dst, uint64(len(text))), text...)
}

// description is what [Tokenizer.Hash] digests besides vocabulary, merges and added tokens.
func (m *moreSpec) description(added []Added) []byte {
	out := appendText(nil, string(m.described))
	flag := func(on bool) {
		if on {
			out = append(out, 1)
		} else {
			out = append(out, 0)
		}
	}
	for _, a := range added {
		flag(a.SingleWord)
		flag(a.LStrip)
		flag(a.RStrip)
	}
	if b := m.bpe; b != nil {
		out = appendText(appendText(appendText(appendText(out, "bpe"), b.unknown), b.prefix), b.suffix)
		flag(b.fuseUnknown)
		flag(b.byteFallback)
	}
	if u := m.unigram; u != nil {
		out = binary.LittleEndian.AppendUint32(appendText(out, "unigram"), uint32(u.unknown))
		flag(u.byteFallback)
		for _, score := range u.scores {
			out = binary.LittleEndian.AppendUint64(out, math.Float64bits(score))
		}
	}
	return out
}

// recognize finds the simple family, whose spec has no more, and else how much of it there
// is.
func (s *spec) recognize() {
	m := s.more
	n := len(m.steps) - 1
	if n < 0 || m.steps[n].name != "ByteLevel" || !m.steps[n].plain {
		return
	}
	if b := m.bpe; b == nil || b.prefix != "" || b.suffix != "" || b.byteFallback || !s.hasAllBytes() {
		return
	}
	m.byteLevel = true
	if s.pattern = m.pattern(); s.pattern == "" {
		return
	}
	nfc := len(m.normalizers) == 1 && m.normalizers[0] == normalizer(formNFC)
	_, bytes := m.lastDecoder().(byteDecoder)
	if len(m.normalizers) > 0 && !nfc || len(m.decoders) != 1 || !bytes {
		return
	}
	for _, a := range s.added {
		if a.SingleWord || a.LStrip || a.RStrip || a.Normalized && nfc && formNFC.string(a.Content) != a.Content {
			return
		}
	}
	s.nfc, s.more = nfc, nil
}

func (m *moreSpec) lastDecoder() decoder {
	if len(m.decoders) == 0 {
		return nil
	}
	return m.decoders[len(m.decoders)-1]
}

// pattern returns the pattern that the pre-tokenizers stand for, of which the last is
// ByteLevel, or "".
func (m *moreSpec) pattern() Pattern {
	n := len(m.steps) - 1
	if m.steps[n].cuts {
		if n == 0 {
			return PatternGPT2
		}
		return ""
	}
	steps := slices.Clone(m.steps[:n])
	if n == 1 && steps[0].how == "Removed inverted" {
		// A pattern of one step matches every character: removing the rest removes nothing.
		steps[0].how = "Isolated"
	}
	for _, p := range Patterns() {
		if slices.Equal(steps, p.steps()) {
			return p
		}
	}
	return ""
}

func (s *spec) hasAllBytes() bool {
	var seen [256]bool
	count := 0
	for _, v := range s.vocab {
		if data, ok := fromByteLevel(v.content); ok && len(data) == 1 && !seen[data[0]] {
			seen[data[0]] = true
			count++
		}
	}
	return count == 256
}
