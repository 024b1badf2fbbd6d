package stages

import (
	"context"
	"encoding/binary"
	"fmt"

	"bzdata/pipeline"
)

// Against is one entry of what a deduplication compares with beside the documents.
type Against struct {
	Paths          pipeline.Paths `yaml:"path" required:"true" doc:"Files, folders or globs of JSONL or Parquet, also compressed; one, or a list. Large ones that are not compressed are cut, as those of input are, and read by up to 64 shards of the input."`
	Text           string         `yaml:"text" doc:"Field that holds the text. Default: text, unless template or messages is set."`
	Template       string         `yaml:"template" doc:"Text made of fields, such as \"{{question}}\\n{{answer}}\"."`
	Messages       string         `yaml:"messages" doc:"Field that holds a conversation: a list of role and content."`
	RecordBytesMax pipeline.Bytes `yaml:"record_bytes_max" min:"1KiB" max:"1GiB" doc:"A record with more bytes is an error, as any malformed one is."`
}

// SetDefaults fills an entry.
func (a *Against) SetDefaults() { a.RecordBytesMax = a.input().RecordBytesMax }

// Check asks for one way to the text.
func (a *Against) Check(at *pipeline.Fields) {
	in := a.input()
	in.Check(at)
	a.Text = in.Text
}

// input says how a row becomes text.
func (a *Against) input() pipeline.Input {
	in := pipeline.Input{}
	in.SetDefaults()
	in.Paths, in.Text, in.Template, in.Messages, in.Source = a.Paths, a.Text, a.Template, a.Messages, "against"
	if a.RecordBytesMax > 0 {
		in.RecordBytesMax = a.RecordBytesMax
	}
	return in
}

func againstRead(entry int) string { return fmt.Sprint("against ", entry+1) }

// dedupReads are the files that a stage compares with, and its index, which may be nil.
func dedupReads(against []Against, index *keptIndex) func(p *pipeline.Plan) []pipeline.Read {
	return func(p *pipeline.Plan) []pipeline.Read {
		var reads []pipeline.Read
		for i, a := range against {
			reads = append(reads, pipeline.Read{Name: againstRead(i), Paths: a.Paths, Cut: true,
				Value: fmt.Sprintf("%q %q %q %d", a.Text, a.Template, a.Messages, a.RecordBytesMax)})
		}
		if index != nil {
			reads = append(reads, index.read(p)...)
		}
		return reads
	}
}

// againstFile is a file of one entry. Its documents have refs of their own: the shards after
// those of the run are these files.
type againstFile struct {
	name string
	in   pipeline.Input
}

func againstFiles(t *pipeline.Task, against []Against) []againstFile {
	var files []againstFile
	for i, a := range against {
		for _, name := range t.Files(againstRead(i)) {
			files = append(files, againstFile{name, a.input()})
		}
	}
	return files
}

// againstPart is a part of a file, or all of it.
type againstPart struct {
	pipeline.ReadPart
	file int // as in againstFiles
	in   pipeline.Input
}

func againstParts(t *pipeline.Task, against []Against) []againstPart {
	var parts []againstPart
	before := 0
	for i, a := range against {
		for _, p := range t.Parts(againstRead(i)) {
			parts = append(parts, againstPart{p, before + p.File, a.input()})
		}
		before += len(t.Files(againstRead(i)))
	}
	return parts
}

// againstReadersMax is how many shards read the parts of against at most, in turn; no more, so
// that the tasks of all others stay as they are if there is one more shard.
const againstReadersMax = 64

func againstReaders(shards, parts int) int { return min(shards, parts, againstReadersMax) }

// againstTurn is which of the parts a shard reads: those of its number modulo the readers.
func againstTurn(shard, shards, parts int) string {
	if readers := againstReaders(shards, parts); shard < readers {
		return fmt.Sprint(shard, readers)
	}
	return ""
}

// turnOf is [againstTurn] of a pass, if there is anything to read.
func turnOf(against []Against) func(shard, shards, parts int) string {
	if len(against) == 0 {
		return nil
	}
	return againstTurn
}

// againstReader is a mapper that reads its parts of files after the last document of the shard.
type againstReader struct {
	pipeline.MapFunc
	ctx     context.Context
	t       *pipeline.Task
	against []Against
	visit   func(file int, d *pipeline.Doc, out *pipeline.Out) error
	skims   func(d *pipeline.Doc) bool // or nil
}

// Skims reports whether a document's id is all that counts.
func (r *againstReader) Skims(d *pipeline.Doc) bool { return r.skims != nil && r.skims(d) }

// Close reads the parts whose turn it is.
func (r *againstReader) Close(out *pipeline.Out) error {
	parts := againstParts(r.t, r.against)
	readers := againstReaders(r.t.ShardCount(), len(parts))
	for i, p := range parts {
		if i%readers != r.t.Shard() {
			continue
		}
		err := p.EachRecord(r.ctx, r.t, p.in, func(d *pipeline.Doc) error { return r.visit(p.file, d, out) })
		if err != nil {
			return fmt.Errorf("against: %w", err)
		}
	}
	return nil
}

// againstRowBits are the lower bits of the number that names a document of against: its row.
// Those above are its file.
const againstRowBits = 40

func againstOrder(file int, d *pipeline.Doc) uint64 {
	return uint64(file)<<againstRowBits | d.Ref.Record
}

// againstRef is the ref of a document of against.
func againstRef(t *pipeline.Task, order uint64) pipeline.Ref {
	return pipeline.Ref{Shard: uint32(t.ShardCount()) + uint32(order>>againstRowBits), Record: order & (1<<againstRowBits - 1)}
}

// againstName names a document of against for people: path:row.
func againstName(t *pipeline.Task, files []againstFile, order uint64) string {
	file := files[order>>againstRowBits]
	return fmt.Sprintf("%s:%d", t.Plan.Place(file.name), order&(1<<againstRowBits-1))
}

func appendOrder(b []byte, order uint64) []byte { return binary.BigEndian.AppendUint64(b, order) }
