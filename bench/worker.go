package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"bzdata/pipeline/cputime"

	"github.com/zeebo/xxh3"
)

// worker is a contender inside this program. It gets its arguments, and fills in what it
// says about itself.
type worker func(args []string, s *said) error

func workers() map[string]worker {
	return map[string]worker{
		"jsonl-bzdata":       scanBzdata,
		"jsonl-encodingjson": scanEncodingJSON,
		"jsonl-v2":           scanJSONv2,
		"jsonl-v2tokens":     scanJSONv2Tokens,
		"bytes-bzdata":       decompressBzdata,
		"bytes-klauspost":    decompressKlauspost,
		"quality-bzdata":     judgeBzdata,
		"minhash-ekzhu":      indexEkzhu,
		"parquet-arrow":      scanArrow,
		"parquet-write":      writeParquetBzdata,
		"model-forward":      forwardBzdata,
		"train-steps":        trainBzdata,
		"tokens-bzdata":      tokensBzdata,
		"tokens-pkoukk":      tokensPkoukk,
		"tokens-tiktokengo":  tokensTiktokenGo,
	}
}

// runWorker carries out "bench worker NAME ARGS" and prints what it says of itself.
func runWorker(args []string) error {
	if len(args) > 1 && args[0] == "measure" {
		m, err := measureCommand(args[1:])
		return errors.Join(err, json.NewEncoder(os.Stdout).Encode(m))
	}
	if len(args) == 0 || workers()[args[0]] == nil {
		return fmt.Errorf("no worker %q", args)
	}
	s := &said{Phases: map[string]float64{}, Walls: map[string]float64{}}
	if err := workers()[args[0]](args[1:], s); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(s)
}

// phase measures the processor and wall time of a part of the work.
func (s *said) phase(name string, work func() error) error {
	return s.phaseFrom(name, func(func()) error { return work() })
}

// phaseFrom is phase for work that may say when what is measured begins.
func (s *said) phaseFrom(name string, work func(now func()) error) error {
	begin, started := cputime.Used().Seconds(), time.Now()
	err := work(func() { begin, started = cputime.Used().Seconds(), time.Now() })
	s.Phases[name] += cputime.Used().Seconds() - begin
	s.Walls[name] += time.Since(started).Seconds()
	return err
}

// texts counts and sums up the texts that a reader found, so that readers can be compared.
type texts struct {
	rows, bytes int64
	sum         uint64
}

func (t *texts) add(text []byte) {
	t.rows++
	t.bytes += int64(len(text))
	t.sum += xxh3.Hash(text)
}

func (t *texts) addString(text string) {
	t.rows++
	t.bytes += int64(len(text))
	t.sum += xxh3.HashString(text)
}

func (t *texts) tell(s *said) {
	s.Rows, s.Bytes, s.Sum = t.rows, t.bytes, fmt.Sprintf("%016x", t.sum)
}

// eachLine visits the lines of a file as the plainest fast program would: a large buffer,
// and no copies of lines that fit.
func eachLine(name string, visit func(line []byte) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			if err := visit(line); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// moduleVersions names the versions of modules that this program is linked with.
func moduleVersions(paths ...string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var out []string
	for _, m := range info.Deps {
		if slices.Contains(paths, m.Path) {
			short := m.Path[strings.LastIndex(strings.TrimSuffix(m.Path, "/v18"), "/")+1:]
			out = append(out, short+" "+m.Version)
		}
	}
	return strings.Join(out, ", ")
}
