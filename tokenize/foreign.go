package tokenize

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// Documents calls visit with documents in order; what visit gets is valid until it returns. It
// may be called again.
type Documents func(visit func(d *Document) error) error

// ForeignOptions say how documents are written for other programs.
type ForeignOptions struct {
	// TokenBytes is the width of a token: 2, which is an error where the vocabulary does not fit,
	// 4, or 0 for the smaller that the format's own program would choose.
	TokenBytes int
	VocabSize  int
	// EOS is put behind each document that does not end with it; −1 for none.
	EOS int32
}

// Datatrove writes the files of datatrove's TokenizedFile, one beside the other.
type Datatrove struct {
	ForeignOptions
	// Tokenizer names the tokenizer in the metadata.
	Tokenizer string
}

// width is the width of a token for a vocabulary up to limit in two bytes.
func (o ForeignOptions) width(limit int) (int, error) {
	fits := o.VocabSize <= limit
	switch {
	case o.TokenBytes == 0 && fits:
		return 2, nil
	case o.TokenBytes == 0 || o.TokenBytes == 4:
		return 4, nil
	case o.TokenBytes == 2 && fits:
		return 2, nil
	case o.TokenBytes == 2:
		return 0, fmt.Errorf("a vocabulary of %d does not fit tokens of 2 bytes, which hold %d here", o.VocabSize, limit)
	}
	return 0, fmt.Errorf("token width is %d bytes, want 2 or 4", o.TokenBytes)
}

// kept is what packing leaves of a document, the separator behind it included.
func (o ForeignOptions) kept(d *Document) (ids []int32, separator bool) {
	ids = d.Tokens[d.Start:]
	return ids, o.EOS >= 0 && len(ids) > 0 && ids[len(ids)-1] != o.EOS
}

// each calls visit with what is written of each document; empty ones are left out.
func (o ForeignOptions) each(docs Documents, visit func(d *Document, ids []int32, separator bool) error) error {
	return docs(func(d *Document) error {
		ids, separator := o.kept(d)
		if len(ids) == 0 {
			return nil
		}
		return visit(d, ids, separator)
	})
}

// writeTokens writes the tokens of all documents, little-endian, and returns their lengths.
func (o ForeignOptions) writeTokens(w io.Writer, docs Documents, width int) (lengths []int64, err error) {
	out := bufio.NewWriterSize(w, 1<<16)
	var buf []byte
	put := func(id int32) {
		if width == 2 {
			buf = binary.LittleEndian.AppendUint16(buf, uint16(id))
		} else {
			buf = binary.LittleEndian.AppendUint32(buf, uint32(id))
		}
	}
	err = o.each(docs, func(_ *Document, ids []int32, separator bool) error {
		buf = buf[:0]
		for _, id := range ids {
			put(id)
		}
		if separator {
			put(o.EOS)
		}
		lengths = append(lengths, int64(len(buf)/width))
		_, err := out.Write(buf)
		return err
	})
	if err != nil {
		return nil, err
	}
	return lengths, out.Flush()
}

// Width is the width of a token in bytes: two for up to 65535 tokens, as datatrove has it.
func (f Datatrove) Width() (int, error) { return f.width(math.MaxUint16) }

// WriteTokens writes the .ds file, and returns the tokens of each document that is not empty.
func (f Datatrove) WriteTokens(w io.Writer, docs Documents) (lengths []int64, err error) {
	width, err := f.Width()
	if err != nil {
		return nil, err
	}
	return f.writeTokens(w, docs, width)
}

// WriteLoss writes the .ds.loss file: a byte for each token, 1 if it is to be predicted.
func (f Datatrove) WriteLoss(w io.Writer, docs Documents) error {
	out := bufio.NewWriterSize(w, 1<<16)
	err := f.each(docs, func(d *Document, ids []int32, separator bool) error {
		for i := range ids {
			flag := byte(1)
			if d.Masked != nil && d.Masked[d.Start+i] {
				flag = 0
			}
			if err := out.WriteByte(flag); err != nil {
				return err
			}
		}
		if separator {
			return out.WriteByte(1)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return out.Flush()
}

// WriteIndex writes the .ds.index file: where each document ends, in tokens.
func (f Datatrove) WriteIndex(w io.Writer, lengths []int64) error {
	out := bufio.NewWriterSize(w, 1<<16)
	end := uint64(0)
	for _, n := range lengths {
		end += uint64(n)
		if _, err := out.Write(binary.LittleEndian.AppendUint64(nil, end)); err != nil {
			return err
		}
	}
	return out.Flush()
}

// WriteMetadata writes the .ds.metadata file: the tokenizer with the width of a token, the
// number of tokens, and that number for people.
func (f Datatrove) WriteMetadata(w io.Writer, lengths []int64) error {
	width, err := f.Width()
	if err != nil {
		return err
	}
	tokens := int64(0)
	for _, n := range lengths {
		tokens += n
	}
	_, err = fmt.Fprintf(w, "%s|%d\n%d\n%s", f.Tokenizer, width, tokens, metric(tokens))
	return err
}

// metric writes a number of tokens with three digits and a prefix, as in "12.3 MT".
func metric(n int64) string {
	prefixes := []string{"", "k", "M", "G", "T", "P", "E"}
	v, p := float64(n), 0
	for v >= 1000 && p+1 < len(prefixes) {
		v, p = v/1000, p+1
	}
	digits := 2
	for x := v; x >= 10 && digits > 0; x /= 10 {
		digits--
	}
	return fmt.Sprintf("%.*f %sT", digits, v, prefixes[p])
}

// Megatron writes the .bin and .idx files of Megatron-LM's IndexedDataset: a sequence is a
// document.
type Megatron struct{ ForeignOptions }

// Megatron-LM's numbers for the types of tokens.
const (
	megatronInt32  = 4
	megatronUint16 = 8
)

// Width is the width of a token in bytes: two for fewer than 65500 tokens, as Megatron-LM has it.
func (f Megatron) Width() (int, error) { return f.width(65499) }

// WriteTokens writes the .bin file, and returns the tokens of each document that is not empty.
func (f Megatron) WriteTokens(w io.Writer, docs Documents) (lengths []int64, err error) {
	width, err := f.Width()
	if err != nil {
		return nil, err
	}
	return f.writeTokens(w, docs, width)
}

// WriteIndex writes the .idx file.
func (f Megatron) WriteIndex(w io.Writer, lengths []int64) error {
	width, err := f.Width()
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	head := le.AppendUint64([]byte("MMIDIDX\x00\x00"), 1)
	kind := byte(megatronInt32)
	if width == 2 {
		kind = megatronUint16
	}
	head = le.AppendUint64(append(head, kind), uint64(len(lengths)))
	out := bufio.NewWriterSize(w, 1<<16)
	if _, err := out.Write(le.AppendUint64(head, uint64(len(lengths)+1))); err != nil {
		return err
	}
	for _, n := range lengths {
		if n > math.MaxInt32 {
			return fmt.Errorf("a document has %d tokens, more than the format's %d", n, math.MaxInt32)
		}
		if _, err := out.Write(le.AppendUint32(nil, uint32(n))); err != nil {
			return err
		}
	}
	at := int64(0)
	for _, n := range lengths {
		if _, err := out.Write(le.AppendUint64(nil, uint64(at))); err != nil {
			return err
		}
		at += n * int64(width)
	}
	for i := range len(lengths) + 1 {
		if _, err := out.Write(le.AppendUint64(nil, uint64(i))); err != nil {
			return err
		}
	}
	return out.Flush()
}
