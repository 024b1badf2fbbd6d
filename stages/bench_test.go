package stages_test

import (
	"testing"

	"bzdata/pipeline/store"
)

// BenchmarkSmallRun is a whole run of a few documents on a disk in memory: what a run
// costs beside its work.
func BenchmarkSmallRun(b *testing.B) {
	dir := corpus(b, 12)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := crashRun(b, dir, crashPlan, enoughMemory, store.NewCrashFS(), func(string) {}); err != nil {
			b.Fatal(err)
		}
	}
}
