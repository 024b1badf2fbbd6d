package stages

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"bzdata/pipeline"
)

// TestRankInWindow gives whoever is asked a share of the window, and never more than a connection takes.
func TestRankInWindow(t *testing.T) {
	for left, want := range map[time.Duration]time.Duration{200 * time.Millisecond: 50 * time.Millisecond, time.Hour: rankWithin} {
		now := time.Unix(0, 0)
		w := &pipeline.Window{Now: func() time.Time { return now }, Deadline: func() time.Time { return now.Add(left) }}
		var ends time.Time
		task := &pipeline.Task{Plan: &pipeline.Plan{Window: w}, Rank: func(ctx context.Context) (int, error) {
			ends, _ = ctx.Deadline()
			if want < rankWithin {
				<-ctx.Done()
			}
			return 0, ctx.Err()
		}}
		before := time.Now()
		rank, stop := askRank(t.Context(), task)
		after := time.Now()
		if n, err := rank(); n != 0 || errors.Is(err, context.DeadlineExceeded) != (want < rankWithin) {
			t.Errorf("%s are left: rank %d, %v", left, n, err)
		}
		stop()
		if ends.Before(before.Add(want)) || ends.After(after.Add(want)) {
			t.Errorf("%s are left: there is time from %s to %s, want %s", left, before, ends, want)
		}
	}
}

// TestParseRank reads what people write into files.
func TestParseRank(t *testing.T) {
	for text, want := range map[string]int{"3": 3, " 12\n": 12, "": 0, "0": 0, "-1": 0, "3.5": 0, "third": 0,
		"3" + strings.Repeat(" ", 200) + "4": 0} {
		if got, err := ParseRank([]byte(text)); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
}
