package metrics

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// wandbRun is the format of run-WID.wandb, a W&B run that was made without a network: messages
// wandb_internal.Record (wandb/proto/wandb_internal.proto of wandb 0.31.0) in the framing of LevelDB's
// log, but with the checksum of zlib in place of CRC-32C (wandb/sdk/internal/datastore.py).
//
// A history record has the row's numbers, and the step as its _step; a summary record before it has
// the same, so that an interrupted run's summary is its newest row.
type wandbRun struct {
	run    Run
	start  time.Time
	offset int64 // in the file
	num    int64 // of the newest record
}

// Fields of the messages.
const (
	recordNum, recordHistory, recordSummary, recordRun, recordExit, recordHeader = 1, 2, 3, 17, 18, 21

	headerVersion                   = 1
	versionProducer, versionMinimum = 1, 2

	runID, runProject, runConfig, runName, runHost, runStart = 1, 3, 4, 8, 13, 17
	timestampSeconds, timestampNanos                         = 1, 2

	updateItem                           = 1 // of config and summary
	itemKey, itemNestedKey, itemJSON     = 1, 2, 16
	historyItem, historyStep, historyNum = 1, 2, 1
	exitRuntime                          = 2
)

// wandbID names the run to W&B, where a name cannot be used again: another start is another run.
func wandbID(run Run, start time.Time) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s", run.Name, run.ID, start.UTC().Format(timeForm)))
	const digits = 8
	text := new(big.Int).SetBytes(sum[:8]).Text(36)
	return (strings.Repeat("0", digits) + text)[len(text):][:digits]
}

// wandbPath is the run's file below the work directory.
func wandbPath(run Run, start time.Time) string {
	id := wandbID(run, start)
	return filepath.Join("wandb", "offline-run-"+start.UTC().Format("20060102_150405")+"-"+id, "run-"+id+".wandb")
}

func (w *wandbRun) head(first Row) []byte {
	w.start = first.Time
	// Four letters, a magic number and the version of the framing.
	out := append([]byte(":W&B"), 0xE1, 0xBE, 0)
	w.offset = int64(len(out))
	version := message(nil).text(versionProducer, "bzdata").text(versionMinimum, "0.70.0")
	out = append(out, w.record(recordHeader, message(nil).message(headerVersion, version))...)
	var config message
	for _, key := range slices.Sorted(maps.Keys(w.run.Config)) {
		value, err := json.Marshal(w.run.Config[key])
		if err == nil {
			config = config.message(updateItem, message(nil).text(itemKey, key).text(itemJSON, string(value)))
		}
	}
	start := message(nil).varint(timestampSeconds, w.start.Unix()).varint(timestampNanos, int64(w.start.Nanosecond()))
	run := message(nil).text(runID, wandbID(w.run, w.start)).text(runProject, w.run.Project).message(runConfig, config).
		text(runName, w.run.Name+"-"+w.run.ID).text(runHost, w.run.Host).message(runStart, start)
	return append(out, w.record(recordRun, run)...)
}

func (w *wandbRun) row(r Row) []byte {
	values := append(slices.Clone(r.Values), Value{"_step", float64(r.Step)}, Value{"_timestamp", unixSeconds(r.Time)},
		Value{"_runtime", r.Time.Sub(w.start).Seconds()})
	var summary, history message
	for _, v := range values {
		item := message(nil).text(itemNestedKey, v.Name).text(itemJSON, string(number(v.Number)))
		summary, history = summary.message(updateItem, item), history.message(historyItem, item)
	}
	history = history.message(historyStep, message(nil).varint(historyNum, int64(r.Step)))
	return append(w.record(recordSummary, summary), w.record(recordHistory, history)...)
}

// tail says that the run has come to its end.
func (w *wandbRun) tail(last Row) []byte {
	return w.record(recordExit, message(nil).varint(exitRuntime, int64(last.Time.Sub(w.start).Seconds())))
}

func (w *wandbRun) record(kind int, content message) []byte {
	w.num++
	out := frame(w.offset, message(nil).varint(recordNum, w.num).message(kind, content))
	w.offset += int64(len(out))
	return out
}

// Framing of LevelDB's log (https://github.com/google/leveldb/blob/main/doc/log_format.md).
const (
	blockBytes  = 32768
	frameHeader = 7

	frameFull, frameFirst, frameMiddle, frameLast = 1, 2, 3, 4
)

// frame cuts data into pieces of which none spans two blocks of the file, the first at offset.
func frame(offset int64, data []byte) []byte {
	var out []byte
	room := func() int { return blockBytes - int((offset+int64(len(out)))%blockBytes) }
	for first := true; first || len(data) > 0; first = false {
		if room() < frameHeader {
			out = append(out, make([]byte, room())...)
		}
		n := min(len(data), room()-frameHeader)
		kind := byte(frameMiddle)
		switch last := n == len(data); {
		case first && last:
			kind = frameFull
		case first:
			kind = frameFirst
		case last:
			kind = frameLast
		}
		sum := crc32.Update(crc32.ChecksumIEEE([]byte{kind}), crc32.IEEETable, data[:n])
		out = binary.LittleEndian.AppendUint32(out, sum)
		out = append(binary.LittleEndian.AppendUint16(out, uint16(n)), kind)
		out, data = append(out, data[:n]...), data[n:]
	}
	return out
}
