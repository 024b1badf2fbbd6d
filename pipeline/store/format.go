package store

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Layout is how records lie in a file.
type Layout uint8

// The layouts.
const (
	JSONL   Layout = iota // one JSON object a line
	Parquet               // one object a row
)

// Compression is how a file's bytes are compressed as a whole.
type Compression uint8

// The compressions. Parquet compresses inside the file and has [Plain] here.
const (
	Plain Compression = iota
	Gzip              // RFC 1952, any number of members
	Zstd              // RFC 8878, any number of frames
)

// Format says how a file's records are laid out and how the file is compressed.
type Format struct {
	Layout      Layout
	Compression Compression
}

// knownFormats is what [FormatOf] knows, for messages.
const knownFormats = ".jsonl, .ndjson, .json (each also with .gz or .zst), .parquet"

// FormatOf tells a file's format from the extensions of its name, in any case:
// .jsonl, .ndjson or .json, each also with .gz or .zst behind, and .parquet.
func FormatOf(name string) (Format, error) {
	base := strings.ToLower(filepath.Base(name))
	if strings.HasSuffix(base, ".parquet") {
		return Format{Parquet, Plain}, nil
	}
	inner, compression := splitCompression(base)
	switch filepath.Ext(inner) {
	case ".jsonl", ".ndjson", ".json":
		return Format{JSONL, compression}, nil
	}
	return Format{}, fmt.Errorf("%s: unknown file type: name it %s", name, knownFormats)
}

// CompressionOf tells a file's compression from the last extension of its name.
func CompressionOf(name string) Compression {
	_, c := splitCompression(strings.ToLower(name))
	return c
}

func splitCompression(lower string) (rest string, c Compression) {
	if rest, ok := strings.CutSuffix(lower, ".gz"); ok {
		return rest, Gzip
	}
	if rest, ok := strings.CutSuffix(lower, ".zst"); ok {
		return rest, Zstd
	}
	return lower, Plain
}
