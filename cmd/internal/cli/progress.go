package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"bzdata/pipeline"
	"bzdata/pipeline/report"
)

// progress shows what a run does, on standard error and in WORKDIR/events.jsonl.
type progress struct {
	mode   string // live, plain, json or none
	w      io.Writer
	log    string           // the name of events
	events *os.File         // opened with the first event: a run that begins anew deletes the old one before
	paces  map[string]*pace // by stage
	shown  time.Time
	live   bool // a live line is on the screen
}

// liveEvery bounds how often the live line is drawn, plainEvery how often a log says
// how far a long task is.
const (
	liveEvery  = 100 * time.Millisecond
	plainEvery = 10 * time.Second
)

func newProgress(mode string, w io.Writer, opt pipeline.Options) *progress {
	if mode == "auto" {
		mode = "plain"
		if f, ok := w.(*os.File); ok && isTerminal(f) {
			mode = "live"
		}
	}
	return &progress{mode: mode, w: w, log: filepath.Join(opt.Workdir, "events.jsonl"), paces: map[string]*pace{}}
}

// checkMode is the mistake of an unknown --progress.
func checkMode(mode string, modes ...string) error {
	if slices.Contains(modes, mode) {
		return nil
	}
	return &flagError{fmt.Errorf("--progress %s: want one of %s", mode, strings.Join(modes, ", "))}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// timed is an event as it is logged.
type timed struct {
	Time time.Time `json:"time"`
	pipeline.Event
}

func (p *progress) event(e pipeline.Event) { p.at(e, time.Now()) }

// at logs and shows an event of the given time.
func (p *progress) at(e pipeline.Event, now time.Time) {
	line, err := json.Marshal(timed{now.UTC(), e})
	if err != nil {
		return // an event without a JSON form is shown all the same
	}
	line = append(line, '\n')
	// A log that cannot be written must not end the run: its results are elsewhere.
	if p.events == nil {
		p.events, _ = os.Create(p.log)
	}
	if p.events != nil {
		_, _ = p.events.Write(line)
	}
	switch p.mode {
	case "json":
		_, _ = p.w.Write(line)
	case "plain":
		p.plain(e, now)
	case "live":
		p.drawLive(e, now)
	}
}

// pace is how far a stage is, and since when it is at it: each time that its tasks begin
// to count anew, as behind a barrier, the rate is that of the new count. What comes before the first
// of a number of things, such as loading a model before the first step, is no part of their rate.
type pace struct {
	began       time.Time
	from        float64
	done, total float64
	what, unit  string // what is counted, and with a figure beside it
}

// follow notes an event of a stage and returns its pace; known says that there was one.
func (p *progress) follow(e pipeline.Event, now time.Time) (s *pace, known bool) {
	s, known = p.paces[e.Stage]
	if !known {
		s = &pace{began: now}
		p.paces[e.Stage] = s
	}
	if e.Total > 0 {
		what, _, _ := strings.Cut(e.Unit, ",") // a unit such as "steps, loss 2.5" has a figure of the moment
		if e.Done < s.done || what != s.what && (s.what != "" || what != "bytes") {
			s.began, s.from = now, e.Done
		}
		s.done, s.total, s.what, s.unit = e.Done, e.Total, what, e.Unit
	}
	return s, known
}

func (p *progress) plain(e pipeline.Event, now time.Time) {
	switch e.Kind {
	case "plan", "alarm", "note":
		fmt.Fprintln(p.w, e.Note)
	case "start":
		if _, known := p.follow(e, now); !known {
			p.shown = now
			fmt.Fprintf(p.w, "%s: started\n", e.Stage)
		}
	case "progress":
		s, _ := p.follow(e, now)
		if now.Sub(p.shown) >= plainEvery {
			p.shown = now
			fmt.Fprintln(p.w, s.describe(e, now))
		}
	}
}

func (p *progress) drawLive(e pipeline.Event, now time.Time) {
	switch e.Kind {
	case "plan", "alarm", "note":
		fmt.Fprintln(p.w, e.Note)
	case "start", "progress":
		s, _ := p.follow(e, now)
		if now.Sub(p.shown) >= liveEvery {
			p.shown, p.live = now, true
			fmt.Fprintf(p.w, "\r\x1b[K%s", s.describe(e, now))
		}
	}
}

// describe is one line about a running stage, with rate and time left where it is known.
func (s *pace) describe(e pipeline.Event, now time.Time) string {
	if s.total <= 0 {
		return fmt.Sprintf("%s: %s", e.Stage, e.Task)
	}
	quantity, unit := count, " "+s.unit
	if s.unit == "bytes" {
		quantity, unit = func(v float64) string { return report.Size(int64(v)) }, ""
	}
	line := fmt.Sprintf("%s: %s of %s%s", e.Stage, quantity(s.done), quantity(s.total), unit)
	if took := now.Sub(s.began).Seconds(); took > 1 && s.done > s.from {
		rate := (s.done - s.from) / took
		left := time.Duration((s.total - s.done) / rate * float64(time.Second))
		pace := quantity(rate) + "/s"
		if rate < 0.1 {
			pace = report.Span(time.Duration(float64(time.Second)/rate)) + " each"
		}
		line += fmt.Sprintf(", %s, %s left", pace, report.Span(left))
	}
	if e.Note != "" {
		line += ", " + e.Note
	}
	return line
}

// count writes a number with thousands separated, small fractions with one digit.
func count(v float64) string {
	if v < 100 && v != math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return report.Count(int64(math.Round(v)), " ")
}

func (p *progress) close() {
	if p.live {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	if p.events != nil {
		_ = errors.Join(p.events.Sync(), p.events.Close()) // see at
	}
}
