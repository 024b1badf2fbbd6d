package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"testing"
)

// TestMemoryPeak curates a corpus and one of four times as many documents in the same memory,
// each in a process of its own: the peaks are alike, and follow from the budget.
func TestMemoryPeak(t *testing.T) {
	if testing.Short() || raced() {
		t.Skip("some ten seconds, and memory that is the program's own")
	}
	const budget = 128 << 20
	var peaks []int64
	for _, documents := range []int{20_000, 80_000} {
		peaks = append(peaks, peakOf(t, documents, budget))
	}
	t.Logf("%d MiB and %d MiB", peaks[0]>>20, peaks[1]>>20)
	if peaks[1] > peaks[0]+peaks[0]/10 {
		t.Errorf("the peak grows with the input, from %d to %d bytes", peaks[0], peaks[1])
	}
	if peaks[0] < budget || peaks[1] > budget*5/4+programBytes {
		t.Errorf("peaks of %d bytes in a budget of %d", peaks, budget)
	}
}

// programBytes is what the program itself and its tables take, which no budget counts.
const programBytes = 40 << 20

// raced reports whether this is a build for the race detector, which takes memory of its own.
func raced() bool {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" && s.Value == "true" {
			return true
		}
	}
	return false
}

// peakOf is the peak of the resident memory of the example of scale, in bytes.
func peakOf(t *testing.T, documents, budget int) int64 {
	t.Helper()
	dir := t.TempDir()
	plan, err := os.ReadFile("../../../examples/scale/plan.yaml")
	if err != nil {
		t.Fatal(err)
	}
	made := exec.Command("bzdata", "sample", "--model=false", "--progress", "none", "--documents", strconv.Itoa(documents), dir)
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	put(t, filepath.Join(dir, "scale.yaml"), string(plan))
	run := exec.Command("bzdata", "run", filepath.Join(dir, "scale.yaml"), "--progress", "none", "--json", "-",
		"--workers", "2", "--memory", strconv.Itoa(budget))
	out, err := run.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var report struct {
		MemoryPeakBytes int64 `json:"memory_peak_bytes"`
	}
	if err := json.Unmarshal(out, &report); err != nil || report.MemoryPeakBytes == 0 {
		t.Fatalf("the report has no peak: %v", err)
	}
	return report.MemoryPeakBytes
}
