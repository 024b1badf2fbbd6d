package stages

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"bzdata/pipeline"
)

// TestRankInWindow gives whoever is asked a share of the window.
func TestRankInWindow(t *testing.T) {
	now := time.Unix(0, 0)
	w := &pipeline.Window{Now: func() time.Time { return now }, Deadline: func() time.Time { return now.Add(200 * time.Millisecond) }}
	task := &pipeline.Task{Plan: &pipeline.Plan{Window: w},
		Rank: func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }}
	began := time.Now()
	rank, stop := askRank(t.Context(), task)
	defer stop()
	if n, err := rank(); n != 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("rank %d, %v", n, err)
	}
	if took := time.Since(began); took < 50*time.Millisecond || took >= rankWithin {
		t.Errorf("it took %s", took)
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
