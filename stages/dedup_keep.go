package stages

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"bzdata/pipeline"
)

// keepFirst is the policy where a plan names none.
var keepFirst = pipeline.KeepPolicy{Word: "first"}

// keepLast is the rank of a document without a value to go by.
const keepLast = math.MaxUint64

// keepRanker returns a function that appends what a policy sorts by before the document id, of
// [keepBytes]; what comes first stays. A document whose value is missing, or cannot be read, is
// counted.
func keepRanker(k pipeline.KeepPolicy) func(dst []byte, d *pipeline.Doc, out *pipeline.Out) []byte {
	switch {
	case k.Word == "longest":
		return func(dst []byte, d *pipeline.Doc, _ *pipeline.Out) []byte {
			return appendOrder(dst, ^uint64(len(d.Text)))
		}
	case len(k.Priority) > 0:
		return func(dst []byte, d *pipeline.Doc, _ *pipeline.Out) []byte {
			if i := slices.Index(k.Priority, d.Source); i >= 0 {
				return appendOrder(dst, uint64(i))
			}
			return appendOrder(dst, keepLast)
		}
	case k.Score != "":
		return fieldRanker(k.Score, scoreOf)
	case k.Newest != "":
		return fieldRanker(k.Newest, timeOf)
	}
	return func(dst []byte, _ *pipeline.Doc, _ *pipeline.Out) []byte { return appendOrder(dst, 0) }
}

// keepBytes is the size of a policy's rank.
func keepBytes(k pipeline.KeepPolicy) int {
	if k.Score != "" || k.Newest != "" {
		return 16
	}
	return 8
}

// keepValue is a number: the float64 nearest to it, and its distance in billionths from the
// largest whole number below that. Rounding keeps the order, so that whole numbers beyond 2^53
// and times to the nanosecond compare as they are.
type keepValue struct {
	near  float64
	nanos int64
}

// fieldRanker ranks by a field, the highest value first.
func fieldRanker(field string, value func(text string) (keepValue, bool)) func([]byte, *pipeline.Doc, *pipeline.Out) []byte {
	return func(dst []byte, d *pipeline.Doc, out *pipeline.Out) []byte {
		raw, _ := d.FieldValue(field) // of no field: an empty text, which is no value
		text := string(raw)
		if strings.HasPrefix(text, `"`) && json.Unmarshal(raw, &text) != nil {
			text = ""
		}
		if x, ok := value(strings.TrimSpace(text)); ok {
			return appendOrder(appendOrder(dst, ^orderedBits(x.near)), ^(uint64(x.nanos) ^ 1<<63))
		}
		out.Edit(pipeline.NoKeepValue, 1)
		return appendOrder(appendOrder(dst, keepLast), keepLast)
	}
}

// orderedBits maps numbers to integers of the same order (IEEE 754: as sign and magnitude,
// with the sign turned).
func orderedBits(x float64) uint64 {
	bits := math.Float64bits(x + 0) // -0 is 0
	if bits>>63 != 0 {
		return ^bits
	}
	return bits | 1<<63
}

// scoreOf reads a number, also one in quotes; one that is not finite is none.
func scoreOf(text string) (keepValue, bool) {
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return keepValue{}, false
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		whole := uint64(1) << 63 // what x is if it is too large for an int64
		if x < 1<<63 {
			whole = uint64(int64(x))
		}
		return keepValue{x, int64(uint64(n)-whole) * 1e9}, true
	}
	return keepValue{x, int64(math.Round((x - math.Floor(x)) * 1e9))}, true
}

// dateForms are RFC 3339, also with a blank for the T, ISO 8601 without a zone, taken as UTC, and
// their starts to the month. A year alone could as well be any number, and is one.
var dateForms = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04:05Z07:00",
	"2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02", "2006-01",
}

// timeOf reads a date as seconds since 1970, or a number as it stands: seconds compare with
// dates, other numbers only with each other.
func timeOf(text string) (keepValue, bool) {
	for _, form := range dateForms {
		if t, err := time.Parse(form, text); err == nil {
			near := float64(t.Unix()) + float64(t.Nanosecond())/1e9
			return keepValue{near, (t.Unix()-int64(math.Floor(near)))*1e9 + int64(t.Nanosecond())}, true
		}
	}
	return scoreOf(text)
}
