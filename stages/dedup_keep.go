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

// keepRanker returns what a policy sorts by before the document id; lower stays. A document
// whose value is missing, or cannot be read, is counted.
func keepRanker(k pipeline.KeepPolicy) func(d *pipeline.Doc, out *pipeline.Out) uint64 {
	switch {
	case k.Word == "longest":
		return func(d *pipeline.Doc, _ *pipeline.Out) uint64 { return ^uint64(len(d.Text)) }
	case len(k.Priority) > 0:
		return func(d *pipeline.Doc, _ *pipeline.Out) uint64 {
			if i := slices.Index(k.Priority, d.Source); i >= 0 {
				return uint64(i)
			}
			return keepLast
		}
	case k.Score != "":
		return fieldRanker(k.Score, scoreOf)
	case k.Newest != "":
		return fieldRanker(k.Newest, timeOf)
	}
	return func(*pipeline.Doc, *pipeline.Out) uint64 { return 0 }
}

// fieldRanker ranks by a field, the highest value first.
func fieldRanker(field string, value func(text string) (float64, bool)) func(d *pipeline.Doc, out *pipeline.Out) uint64 {
	return func(d *pipeline.Doc, out *pipeline.Out) uint64 {
		for _, f := range d.Fields {
			if f.Key != field {
				continue
			}
			text := string(f.Value)
			if strings.HasPrefix(text, `"`) && json.Unmarshal(f.Value, &text) != nil {
				break
			}
			if x, ok := value(strings.TrimSpace(text)); ok {
				return min(^orderedBits(x), keepLast-1)
			}
			break
		}
		out.Edit("no_keep_value", 1)
		return keepLast
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
func scoreOf(text string) (float64, bool) {
	x, err := strconv.ParseFloat(text, 64)
	return x, err == nil && !math.IsNaN(x) && !math.IsInf(x, 0)
}

// dateForms are RFC 3339, ISO 8601 without a zone, taken as UTC, and their starts.
var dateForms = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02", "2006-01",
}

// timeOf reads a date as seconds since 1970, or a number as it stands: seconds compare with
// dates, other numbers only with each other.
func timeOf(text string) (float64, bool) {
	for _, form := range dateForms {
		if t, err := time.Parse(form, text); err == nil {
			return float64(t.Unix()) + float64(t.Nanosecond())/1e9, true
		}
	}
	return scoreOf(text)
}
