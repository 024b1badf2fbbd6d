package stages

import (
	"strings"
	"testing"
	"time"
)

// WatchPrograms has programs be looked at so often, and found to hang by another rule if there is one, until restore.
func WatchPrograms(every time.Duration, rule func(idle, patient time.Duration) bool) (restore func()) {
	wasEvery, wasRule := lookEvery, hangs
	if lookEvery = every; rule != nil {
		hangs = rule
	}
	return func() { lookEvery, hangs = wasEvery, wasRule }
}

// idleProcess is a program that neither reads nor answers.
func idleProcess(patient time.Duration) *coprocess {
	return &coprocess{patient: patient, asks: make(chan []byte), answers: make(chan [][]byte), started: time.Now()}
}

// TestIdleProgramHangs waits for a program that does nothing.
func TestIdleProgramHangs(t *testing.T) {
	defer WatchPrograms(time.Millisecond, nil)()
	p := idleProcess(20 * time.Millisecond)
	if _, _, err := p.next(t.Context(), []byte("{}\n")); err == nil || !strings.HasPrefix(err.Error(), "neither read nor answered for 20ms") {
		t.Errorf("with a line to hand over: %v", err)
	}
	p.closeInput()
	if _, _, err := p.next(t.Context(), nil); err == nil || !strings.HasPrefix(err.Error(), "neither answered nor ended for 20ms") {
		t.Errorf("at the end: %v", err)
	}
}

// TestVigil counts what time passes between two looks: all of it if a program does nothing, none if it has done something, and of
// an hour for which all stood still what two looks are apart.
func TestVigil(t *testing.T) {
	p := idleProcess(0)
	pass := func(d time.Duration) { p.started = p.started.Add(-d) }
	v := p.vigil()
	pass(lookEvery)
	first := v.look()
	if first < lookEvery || first > 2*lookEvery {
		t.Errorf("idle for %s after %s", first, lookEvery)
	}
	pass(time.Hour)
	if idle := v.look(); idle != first+2*lookEvery {
		t.Errorf("idle for %s after an hour, %s before", idle, first)
	}
	pass(lookEvery)
	p.progress()
	if idle := v.look(); idle != 0 {
		t.Errorf("idle for %s, having moved", idle)
	}
	if pass(lookEvery); v.look() < lookEvery {
		t.Error("what has moved once is not idle again")
	}
}
