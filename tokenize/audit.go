package tokenize

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// AuditReport says what the tokens of a shard look like, for finding what usually goes
// wrong with tokenized data: ids without a token, missing BOS or EOS, an EOS that is
// never learnt, text that does not come back.
type AuditReport struct {
	Packing Packing

	Sequences, Documents  int64
	Tokens, Targets       int64
	UnusedIDs             int64 // tokens whose id the tokenizer does not use
	Starts, StartsWithBOS int64 // documents whose first token is here; and is BOS
	Ends, EndsWithEOS     int64 // documents whose last token is here; and is EOS
	EOSTargets            int64 // of EndsWithEOS, those that are targets
	SpecialInside         int64 // special tokens elsewhere in documents
	Whole                 int64 // documents with all their tokens here
	BrokenUTF8            int64 // of Whole, those that decode to bytes that are not UTF-8
	Compared, Different   int64 // of Whole, those whose text was given; and did not come back
	FirstDifferent        string
}

// Audit reads a shard made with t. text returns the text that a document was made from,
// if it is at hand; it may be nil.
func Audit(t *Tokenizer, s *Shard, text func(DocumentInfo) (string, bool)) (AuditReport, error) {
	meta := s.Meta()
	if meta.Tokenizer != t.Hash() {
		return AuditReport{}, fmt.Errorf("audit: the shard was made with tokenizer %s, not %s",
			meta.Tokenizer, t.Hash())
	}
	a := &auditor{t: t, eos: meta.EOS, text: text}
	if meta.Packing.separates() {
		a.separators = 1
	}
	a.report.Packing = meta.Packing
	a.report.Sequences, a.report.Documents = int64(s.Sequences()), int64(s.Documents())
	a.report.Tokens, a.report.Targets = s.Tokens(), s.Targets()
	var seq Sequence
	for i := range s.Sequences() {
		if err := s.Sequence(i, &seq); err != nil {
			return a.report, err
		}
		for _, seg := range seq.Segments {
			a.segment(&seq, seg)
		}
	}
	a.close()
	return a.report, nil
}

// auditor gathers the tokens of one document from the segments that follow each other.
type auditor struct {
	t      *Tokenizer
	eos    int32
	text   func(DocumentInfo) (string, bool)
	report AuditReport
	// separators is the number of tokens that packing put behind each document.
	separators int

	doc       DocumentInfo
	from      int // position in the document of ids[0]
	ids       []int32
	endTarget bool // the last token is a target
}

func (a *auditor) segment(seq *Sequence, seg Segment) {
	follows := len(a.ids) > 0 && a.doc.Ordinal == seg.Document.Ordinal && seg.From == a.from+len(a.ids)
	if !follows {
		a.close()
		a.doc, a.from = seg.Document, seg.From
	}
	a.ids = append(a.ids, seq.Tokens[seg.Start:seg.End]...)
	a.endTarget = seq.Target[seg.End-1]
}

func (a *auditor) close() {
	if len(a.ids) == 0 {
		return
	}
	r, n := &a.report, int(a.doc.Tokens)
	bos, _ := a.t.BOS()
	starts, ends := a.from == 0, a.from+len(a.ids) >= n+a.separators
	inside := a.ids
	if starts {
		r.Starts++
		if bos >= 0 && a.ids[0] == bos {
			r.StartsWithBOS++
			inside = inside[1:]
		}
	}
	if ends {
		r.Ends++
		if last := len(inside) - 1; last >= 0 && inside[last] == a.eos {
			r.EndsWithEOS++
			inside = inside[:last]
			if a.endTarget {
				r.EOSTargets++
			}
		}
	}
	for _, id := range inside {
		if !a.t.Has(id) {
			r.UnusedIDs++
		} else if a.t.IsSpecial(id) {
			r.SpecialInside++
		}
	}
	if starts && ends {
		a.whole(a.ids, n)
	}
	a.ids = a.ids[:0]
}

// whole compares a document of n tokens and perhaps a separator with its text.
func (a *auditor) whole(ids []int32, n int) {
	r := &a.report
	r.Whole++
	ids = ids[:n]
	prefix, suffix := a.t.Wrap()
	if len(ids) >= len(prefix)+len(suffix) && slices.Equal(ids[:len(prefix)], prefix) &&
		slices.Equal(ids[n-len(suffix):], suffix) {
		ids = ids[len(prefix) : n-len(suffix)]
	}
	got := a.t.Decode(ids)
	if !utf8.Valid(got) {
		r.BrokenUTF8++
	}
	if a.text == nil || !a.t.faithful() {
		return
	}
	want, ok := a.text(a.doc)
	if !ok {
		return
	}
	r.Compared++
	if a.t.Normalizes() {
		want = formNFC.string(want)
	}
	if string(got) != want {
		if r.Different == 0 {
			r.FirstDifferent = fmt.Sprintf("document %d %s", a.doc.Ordinal, a.doc.ID)
		}
		r.Different++
	}
}

// Add adds the counts of another shard of the same data. A document with a part in both counts
// in both.
func (r *AuditReport) Add(o AuditReport) {
	r.Packing = o.Packing
	r.Sequences, r.Documents = r.Sequences+o.Sequences, r.Documents+o.Documents
	r.Tokens, r.Targets, r.UnusedIDs = r.Tokens+o.Tokens, r.Targets+o.Targets, r.UnusedIDs+o.UnusedIDs
	r.Starts, r.StartsWithBOS = r.Starts+o.Starts, r.StartsWithBOS+o.StartsWithBOS
	r.Ends, r.EndsWithEOS, r.EOSTargets = r.Ends+o.Ends, r.EndsWithEOS+o.EndsWithEOS, r.EOSTargets+o.EOSTargets
	r.SpecialInside, r.Whole, r.BrokenUTF8 = r.SpecialInside+o.SpecialInside, r.Whole+o.Whole, r.BrokenUTF8+o.BrokenUTF8
	r.Compared, r.Different = r.Compared+o.Compared, r.Different+o.Different
	if r.FirstDifferent == "" {
		r.FirstDifferent = o.FirstDifferent
	}
}

// Problems returns what a person should look at, one line each; none for a sound shard.
func (r AuditReport) Problems() (out []string) {
	separated := r.Packing.separates()
	add := func(bad bool, format string, args ...any) {
		if bad {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(r.Targets == 0, "no token is a target")
	add(r.UnusedIDs > 0, "%d tokens have an id that the tokenizer does not use", r.UnusedIDs)
	add(r.StartsWithBOS > 0 && r.StartsWithBOS < r.Starts,
		"%d of %d documents begin without BOS", r.Starts-r.StartsWithBOS, r.Starts)
	add((r.EndsWithEOS > 0 || separated) && r.EndsWithEOS < r.Ends,
		"%d of %d documents end without EOS", r.Ends-r.EndsWithEOS, r.Ends)
	add(r.EndsWithEOS > 0 && r.EOSTargets == 0, "EOS is never a target: is it the padding token?")
	add(r.Different > 0, "%d of %d documents do not decode to their text, first %s",
		r.Different, r.Compared, r.FirstDifferent)
	return out
}

// Spells reports whether the tokens of a prepared document decode to its text, brought to
// normal form C if the tokenizer normalises, or, where it was cut, to the text's head. Special
// tokens of the template are left out. Of a tokenizer that may lose more it is not asked.
func (t *Tokenizer) Spells(d Document, text string) bool {
	if !t.faithful() {
		return true
	}
	ids := d.Tokens
	cut := len(ids) < int(d.DocumentInfo.Tokens)
	prefix, suffix := t.Wrap()
	if len(ids) >= len(prefix)+len(suffix) && slices.Equal(ids[:len(prefix)], prefix) &&
		slices.Equal(ids[len(ids)-len(suffix):], suffix) {
		ids = ids[len(prefix) : len(ids)-len(suffix)]
	}
	if d.TextBytes < uint64(len(text)) {
		text = text[:d.TextBytes]
	}
	if t.Normalizes() {
		text = formNFC.string(text)
	}
	var spelled []byte
	for _, id := range ids {
		spelled = t.AppendToken(spelled[:0], id)
		n := len(spelled)
		if n > len(text) || text[:n] != string(spelled) {
			return false
		}
		text = text[n:]
	}
	return text == "" || cut
}

// faithful tells whether text comes back from its ids, but for normal form C. Normalizers and
// decoders of other tokenizers may lose more.
func (t *Tokenizer) faithful() bool { return t.spec.more == nil }

// RoundTrip checks that no id of text is without a token, and, for complete byte-level BPE
// with no normalizer or NFC, that text comes back from its ids, in its normal form C if the
// tokenizer normalises.
func (t *Tokenizer) RoundTrip(text string) error {
	ids := t.Encode(nil, text)
	if i := slices.IndexFunc(ids, func(id int32) bool { return !t.Has(id) }); i >= 0 {
		return fmt.Errorf("token %d has id %d, which the tokenizer does not use", i, ids[i])
	}
	if !t.faithful() {
		return nil
	}
	if t.Normalizes() {
		text = formNFC.string(text)
	}
	if string(t.Decode(ids)) != text {
		return errors.New("the text does not come back from its ids")
	}
	return nil
}
