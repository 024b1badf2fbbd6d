package pipeline

import (
	"fmt"
	"maps"
	"slices"
)

// alarmsOf says which sources lost more than a fraction of their documents in one pass of a
// stage. Held-out documents are not lost.
func alarmsOf(l *Ledger, fraction float64) []string {
	if fraction == 0 || l.Stage == heldOutStage || l.Stage == heldOutSetStage || l.Stage == inputStage ||
		l.Stage == leaveOutStage {
		return nil
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(l.Sources)) {
		s := l.Sources[name]
		if lost := s.In - s.Kept; float64(lost) > fraction*float64(s.In) {
			out = append(out, fmt.Sprintf("ALARM: stage %s removed %.1f %% of source %s (%d of %d documents), more than "+
				"alarm_fraction %g", l.Stage, 100*float64(lost)/float64(s.In), name, lost, s.In, fraction))
		}
	}
	return out
}

// alarms looks at what the passes of a wave removed: it tells of each alarm, and is an error if
// the plan says that the run ends there.
func (r *run) alarms(w *wave) error {
	var sums []*Ledger
	for _, n := range w.nodes {
		if n.shard < 0 || n.readsHeldOut() {
			continue
		}
		for i, l := range n.report.Ledgers {
			if i == len(sums) {
				sums = append(sums, newLedger(l.Stage))
			}
			sums[i].Add(l)
		}
	}
	for _, l := range sums {
		for _, alarm := range alarmsOf(l, r.plan.AlarmFraction) {
			r.event(Event{Kind: "alarm", Stage: l.Stage, Note: alarm})
			if r.plan.OnAlarm == "fail" {
				return &DataError{alarm + "; see drops/ and the report in the work directory, or raise alarm_fraction"}
			}
		}
	}
	return nil
}
