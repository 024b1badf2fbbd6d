package pipeline

import (
	"bytes"
	"testing"
)

// TestDamagedReport flips every bit of a report in turn.
func TestDamagedReport(t *testing.T) {
	data, err := (&TaskReport{Key: "k", Stage: "s", Notes: []string{noSum}}).encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseReport(data); err != nil {
		t.Fatalf("the report as written: %v", err)
	}
	for i := range data {
		for bit := range 8 {
			damaged := bytes.Clone(data)
			damaged[i] ^= 1 << bit
			if r, err := parseReport(damaged); err == nil {
				t.Errorf("byte %d, bit %d: %q passes as %+v", i, bit, damaged, r)
			}
		}
	}
}
