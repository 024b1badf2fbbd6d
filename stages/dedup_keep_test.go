package stages

import (
	"bytes"
	"encoding/json"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// rankOf is the rank of a document with a value in a field.
func rankOf(k pipeline.KeepPolicy, value string) []byte {
	d := &pipeline.Doc{Fields: []store.Field{{Key: "f", Value: json.RawMessage(value)}}}
	return keepRanker(k)(nil, d, nil)
}

// exactValue is what a field stands for, without rounding.
func exactValue(text string) *big.Rat {
	if t, err := time.Parse(time.RFC3339Nano, strings.Trim(text, `"`)); err == nil {
		return new(big.Rat).Add(big.NewRat(t.Unix(), 1), big.NewRat(int64(t.Nanosecond()), 1e9))
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return new(big.Rat).SetInt64(n)
	}
	x, _ := strconv.ParseFloat(text, 64)
	return new(big.Rat).SetFloat64(x)
}

// TestKeepRanks compares ranks with exact arithmetic: whole numbers beyond 2^53, times that
// differ by a nanosecond, also before 1970, and numbers beside times.
func TestKeepRanks(t *testing.T) {
	values := []string{"0", "-1", "1", "0.5", "-0.5", "1e300", "-1e300", "9007199254740992", "9007199254740993",
		"-9007199254740993", "-9007199254740992", "9223372036854775807", "9223372036854775806", "-9223372036854775808",
		"-9223372036854775807", "9.3e18", "1700000000", "1700000000.5", `"2023-11-14T22:13:20Z"`,
		`"2023-11-14T22:13:20.5Z"`, `"1969-12-31T23:59:59.999999999Z"`, `"1969-12-31T23:59:59.999999998Z"`}
	rng := rand.New(rand.NewPCG(51, 52))
	for range 100 {
		near := time.Unix(1700000000, 0).UTC().Add(time.Duration(rng.IntN(500) - 250))
		values = append(values, strconv.Quote(near.Format(time.RFC3339Nano)),
			strconv.FormatInt(1<<62+rng.Int64N(1000)-500, 10))
	}
	policy := pipeline.KeepPolicy{Newest: "f"}
	for _, a := range values {
		for _, b := range values {
			want := exactValue(b).Cmp(exactValue(a)) // the highest comes first
			if got := bytes.Compare(rankOf(policy, a), rankOf(policy, b)); got != want {
				t.Fatalf("%s and %s rank as %d, want %d", a, b, got, want)
			}
		}
		if n := len(rankOf(policy, a)); n != keepBytes(policy) {
			t.Fatalf("the rank of %s has %d bytes", a, n)
		}
	}
}

// TestKeepDates lists ways to write dates, from the latest on; lines with several are of one time.
func TestKeepDates(t *testing.T) {
	policy := pipeline.KeepPolicy{Newest: "f"}
	var last []byte
	for _, same := range [][]string{
		{"2024-03-01T12:30:00+02:00", "2024-03-01 12:30:00+02:00", "2024-03-01 10:30:00Z", "2024-03-01T10:30", "2024-03-01 10:30", "1709289000"},
		{"2024-03-01", "2024-03", "2024-03-01 00:00:00.000000", " 2024-03-01T00:00:00Z "},
		{"2025"}, // a number of seconds
	} {
		first := rankOf(policy, strconv.Quote(same[0]))
		if bytes.Compare(last, first) >= 0 {
			t.Errorf("%s does not rank behind what is later", same[0])
		}
		for _, text := range same {
			if rank := rankOf(policy, strconv.Quote(text)); !bytes.Equal(rank, first) {
				t.Errorf("%q ranks as %x, %s as %x", text, rank, same[0], first)
			}
		}
		last = first
	}
}
