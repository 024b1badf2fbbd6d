package main

import (
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"bzdata/pipeline/store"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// measureJSONL compares reading of documents from JSONL: text decoded, every other field
// kept as it stood.
func measureJSONL(ctx context.Context, b *bench) (*section, error) {
	c, err := b.corpusOf(ctx, b.large)
	if err != nil {
		return nil, err
	}
	ours := b.worker("bzdata", "jsonl-bzdata", c.rows.path)
	v1 := b.worker("encoding/json", "jsonl-encodingjson", c.rows.path)
	v2 := b.worker("json/v2, Unmarshal", "jsonl-v2", c.rows.path)
	tokens := b.worker("json/v2, tokens", "jsonl-v2tokens", c.rows.path)
	plain := []*contender{ours, v1, v2, tokens}
	if err := alternate(ctx, b.progress, b.rounds, plain); err != nil {
		return nil, err
	}
	s := &section{title: "Reading JSONL",
		about: []string{"Every document's id and text are decoded, and its other fields kept as raw bytes. bzdata reads as its " +
			"runs do: lines, strict checks of the whole record, texts decoded without a second check.",
			"Corpus: rows of " + c.rows.String() + "."},
		groups: []group{{"Plain JSONL on one core:", c.rows.bytes, plain}},
		found: []comparison{
			{what: "processor time, encoding/json", over: v1, under: ours, value: cpuOf, bar: 5},
			{what: "processor time, json/v2 Unmarshal", over: v2, under: ours, value: cpuOf, bar: 2},
			{what: "processor time, json/v2 tokens", over: tokens, under: ours, value: cpuOf, bar: 2},
		},
		notes: []string{agreement(plain)}}
	for _, ext := range []string{".zst", ".gz"} {
		if err := b.compressed(ctx, c, ext, s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// compressed adds how near reading comes to the speed of the bare decoder.
func (b *bench) compressed(ctx context.Context, c *corpus, ext string, s *section) error {
	name, err := c.rows.converted(".jsonl" + ext)
	if err != nil {
		return err
	}
	kind := map[string]string{".zst": "zstd", ".gz": "gzip"}[ext]
	bare := b.worker("bare decoder", "bytes-klauspost", name)
	bytes := b.worker("bzdata, bytes", "bytes-bzdata", name)
	rows := b.worker("bzdata, documents", "jsonl-bzdata", name)
	wide := b.worker("bzdata, documents", "jsonl-bzdata", name)
	wide.cores = runtime.NumCPU()
	cs := []*contender{bare, bytes, rows, wide}
	if err := alternate(ctx, b.progress, b.rounds, cs); err != nil {
		return err
	}
	s.groups = append(s.groups, group{kind + " (speeds by the bytes within):", c.rows.bytes, cs})
	s.found = append(s.found,
		comparison{what: kind + ": processor time of the bare decoder / bzdata's of decompressed bytes", over: bare, under: bytes,
			value: cpuOf, bar: 0.85},
		comparison{what: kind + ": processor time of the bare decoder / bzdata's of documents with text", over: bare, under: rows,
			value: cpuOf},
		comparison{what: kind + ": wall time of the bare decoder / bzdata's of documents with text, which may use all cores",
			over: bare, under: wide, value: wallOf, bar: 0.85})
	s.notes = append(s.notes, kind+": "+agreement([]*contender{rows, wide}))
	return nil
}

// agreement says whether all contenders found the same texts.
func agreement(cs []*contender) string {
	var first *said
	for _, c := range cs {
		if len(c.runs) == 0 {
			continue
		}
		now := &c.runs[len(c.runs)-1].said
		if first == nil {
			first = now
		}
		if now.Rows != first.Rows || now.Bytes != first.Bytes || now.Sum != first.Sum {
			return fmt.Sprintf("**texts differ**: %s found %s rows, %s bytes, sum %s, others %s, %s, %s", c.name,
				count(now.Rows), count(now.Bytes), now.Sum, count(first.Rows), count(first.Bytes), first.Sum)
		}
	}
	if first == nil {
		return "nothing ran"
	}
	return fmt.Sprintf("All readers found the same %s texts, %s bytes, sum of XXH3 %s.", count(first.Rows), count(first.Bytes),
		first.Sum)
}

// scanBzdata reads documents as a run of bzdata does: all fields, or those named behind
// the file.
func scanBzdata(args []string, s *said) error {
	var t texts
	var text, id []byte
	err := store.ReadRows(store.OS(), args[0], store.RowOptions{Columns: args[1:]}, func(r *store.Row) error {
		for _, f := range r.Fields {
			switch isString := f.Value[0] == '"'; {
			case f.Key == "id" && isString:
				id = store.AppendText(id[:0], f.Value)
			case f.Key == "text" && isString:
				text = store.AppendText(text[:0], f.Value)
			}
		}
		t.add(text)
		return r.Bad
	})
	t.tell(s)
	return err
}

func scanEncodingJSON(args []string, s *said) error {
	var t texts
	err := eachLine(args[0], func(line []byte) error {
		var doc struct {
			ID   string             `json:"id"`
			Text string             `json:"text"`
			Meta stdjson.RawMessage `json:"meta"`
		}
		err := stdjson.Unmarshal(line, &doc)
		t.addString(doc.Text)
		return err
	})
	t.tell(s)
	return err
}

func scanJSONv2(args []string, s *said) error {
	s.Version = moduleVersions("github.com/go-json-experiment/json")
	var t texts
	err := eachLine(args[0], func(line []byte) error {
		var doc struct {
			ID    string         `json:"id"`
			Text  string         `json:"text"`
			Other jsontext.Value `json:",unknown"`
		}
		err := json.Unmarshal(line, &doc)
		t.addString(doc.Text)
		return err
	})
	t.tell(s)
	return err
}

// scanJSONv2Tokens is the fastest way that json/v2 offers: tokens of the names, raw
// values, and only id and text decoded.
func scanJSONv2Tokens(args []string, s *said) error {
	s.Version = moduleVersions("github.com/go-json-experiment/json")
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	var t texts
	var text, id []byte
	d := jsontext.NewDecoder(f)
	for {
		if _, err := d.ReadToken(); errors.Is(err, io.EOF) {
			t.tell(s)
			return nil
		} else if err != nil {
			return err
		}
		for d.PeekKind() != '}' {
			name, err := d.ReadValue()
			if err != nil {
				return err
			}
			isText, isID := string(name) == `"text"`, string(name) == `"id"`
			value, err := d.ReadValue()
			switch {
			case err == nil && isText:
				text, err = jsontext.AppendUnquote(text[:0], value)
			case err == nil && isID:
				id, err = jsontext.AppendUnquote(id[:0], value)
			}
			if err != nil {
				return err
			}
		}
		if _, err := d.ReadToken(); err != nil {
			return err
		}
		t.add(text)
	}
}

// decompressBzdata reads a file's decompressed bytes as a run of bzdata does.
func decompressBzdata(args []string, s *said) error {
	r, err := store.OpenReader(store.OS(), args[0])
	if err != nil {
		return err
	}
	defer r.Close()
	s.Bytes, err = drain(r)
	return err
}

// decompressKlauspost is the bare decoder that bzdata also uses.
func decompressKlauspost(args []string, s *said) error {
	s.Version = moduleVersions("github.com/klauspost/compress")
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	var r io.Reader
	if strings.HasSuffix(args[0], ".gz") {
		r, err = gzip.NewReader(f)
	} else {
		r, err = zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
	}
	if err != nil {
		return err
	}
	s.Bytes, err = drain(r)
	return err
}

// drain reads to the end in pieces of the size that bzdata reads in.
func drain(r io.Reader) (int64, error) {
	buf := make([]byte, 1<<18)
	var n int64
	for {
		k, err := r.Read(buf)
		n += int64(k)
		switch {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, err
		}
	}
}
