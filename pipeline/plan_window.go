package pipeline

import "time"

// Window is the time that a run has until a network closes its phase. Stages that can do with more or
// less time, such as train, fit themselves into it. A run in a window is not the same twice, since
// it depends on how fast the machine is; a run that is resumed in its window repeats what it had
// fitted.
type Window struct {
	// ID names the window: results of another one are not reused.
	ID string
	// Deadline is when all must be done; it may be corrected while the run goes on.
	Deadline func() time.Time
	// Reserve is kept at the end beside what the stages have measured.
	Reserve time.Duration
	// Now is the clock.
	Now func() time.Time
	// Began is when the time until the first step began to count: the start of the process, or of the cycle.
	Began time.Time
	// OnFirstStep, if set, is told how long after Began the first step begins that counts.
	OnFirstStep func(time.Duration)
}

// Files of a work directory in which whoever runs plans in windows keeps a record: of the window
// under way, and of all. They may be there before the run is.
const (
	WindowName  = "cycle.json"
	WindowsName = "cycles.jsonl"
)

// Left is the time until the deadline.
func (w *Window) Left() time.Duration { return w.Deadline().Sub(w.Now()) }
