//go:build unix

package store

import (
	"bytes"
	stdjson "encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"bzdata/pipeline/cputime"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// benchLines makes records as they are common: an id, a text of some paragraphs, of which
// one in four is not ASCII, and nested members that only pass through.
func benchLines(bytesMin int) []byte {
	rng := rand.New(rand.NewPCG(8, 9))
	latin := strings.Fields("the quick brown fox said \"no\" and went over a lazy dog of some forty other words in this text")
	other := strings.Fields("сегодня größere 東京都 été naïve 中文 данные straße проверка の")
	var b []byte
	for i := 0; len(b) < bytesMin; i++ {
		var text []string
		words := latin
		if i%4 == 3 {
			words = append(other, latin[:6]...)
		}
		for range 40 + rng.IntN(400) {
			text = append(text, words[rng.IntN(len(words))])
			if rng.IntN(40) == 0 {
				text = append(text, "\n\n")
			}
		}
		b = fmt.Appendf(b, `{"id":"doc-%06d","text":`, i)
		b = AppendQuote(b, strings.Join(text, " "))
		b = fmt.Appendf(b, `,"meta":{"url":"https://example.org/%d","score":0.%d,"tags":["a","b"],"ok":true}}`+"\n", rng.Uint32(), rng.Uint32())
	}
	return b
}

// benchRecord is what the peers decode into.
type benchRecord struct {
	ID   string         `json:"id"`
	Text string         `json:"text"`
	Meta jsontext.Value `json:"meta"`
}

type benchRecordStd struct {
	ID   string             `json:"id"`
	Text string             `json:"text"`
	Meta stdjson.RawMessage `json:"meta"`
}

// perCPU reports bytes by the second of the process's CPU time, which says what work costs
// however busy the machine is and however many threads take part.
func perCPU(b *testing.B, bytes int, work func()) {
	b.SetBytes(int64(bytes))
	b.ReportAllocs()
	n, before := 0, cputime.Used()
	for b.Loop() {
		work()
		n++
	}
	b.ReportMetric(float64(n)*float64(bytes)/(cputime.Used()-before).Seconds()/1e6, "MB/cpu-s")
}

// eachLine is a benchmark over the lines of the corpus.
func eachLine(b *testing.B, visit func(line []byte) error) {
	lines := bytes.Split(bytes.TrimSuffix(benchLines(8<<20), []byte("\n")), []byte("\n"))
	total := 0
	for _, l := range lines {
		total += len(l)
	}
	perCPU(b, total, func() {
		for _, l := range lines {
			if err := visit(l); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkScanText splits records and decodes their text, beside encoding/json and the two
// faces of json/v2.
func BenchmarkScanText(b *testing.B) {
	b.Run("own", func(b *testing.B) {
		var rec Record
		var text []byte
		eachLine(b, func(line []byte) (err error) {
			if err = Scan(line, &rec); err == nil {
				text = AppendText(text[:0], rec.Fields[1].Value)
			}
			return err
		})
	})
	b.Run("encoding-json", func(b *testing.B) {
		eachLine(b, func(line []byte) error { return stdjson.Unmarshal(line, new(benchRecordStd)) })
	})
	b.Run("json-v2", func(b *testing.B) {
		eachLine(b, func(line []byte) error { return json.Unmarshal(line, new(benchRecord)) })
	})
	b.Run("jsontext", func(b *testing.B) {
		d := jsontext.NewDecoder(bytes.NewReader(nil))
		eachLine(b, func(line []byte) error {
			d.Reset(bytes.NewBuffer(line))
			for {
				if _, err := d.ReadToken(); err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
			}
		})
	})
}

// BenchmarkCompressedRows reads records with their text from compressed files, beside the
// bare decoder.
func BenchmarkCompressedRows(b *testing.B) {
	data := benchLines(32 << 20)
	for _, name := range []string{"x.jsonl.gz", "x.jsonl.zst", "x.jsonl"} {
		fsys := memFS{OS(), compress(b, data, CompressionOf(name), EffortDefault)}
		run := func(what string, read func() error) {
			b.Run(name+"/"+what, func(b *testing.B) {
				perCPU(b, len(data), func() {
					if err := read(); err != nil {
						b.Fatal(err)
					}
				})
			})
		}
		run("decoder", func() error { return drainDecoder(fsys.data, CompressionOf(name)) })
		var text []byte
		run("rows", func() error {
			return ReadRows(fsys, name, RowOptions{}, func(row *Row) error {
				text = AppendText(text[:0], row.Fields[1].Value)
				return nil
			})
		})
	}
}

func drainDecoder(data []byte, c Compression) error {
	var r io.Reader = bytes.NewReader(data)
	switch c {
	case Gzip:
		z, err := gzip.NewReader(r)
		if err != nil {
			return err
		}
		r = z
	case Zstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return err
		}
		defer z.Close()
		r = z
	}
	_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, readBufferBytes))
	return err
}
