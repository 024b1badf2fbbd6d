package stages_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"bzdata/pipeline"
	"bzdata/stages"
)

// talker is a stage that sends ten records of 100 bytes for each document, to eight parts.
type talker struct{}

func talkerKind(opened *atomic.Int64) pipeline.Kind {
	open := func(context.Context, *pipeline.Task) (pipeline.Mapper, error) {
		opened.Add(1)
		return pipeline.MapFunc(func(d *pipeline.Doc, out *pipeline.Out) error {
			for i := range uint64(10) {
				out.Send(d.Ref.Record*0x9e3779b97f4a7c15+i<<60, make([]byte, 100))
			}
			if d.Ref.Record%10 == 0 {
				time.Sleep(100 * time.Microsecond) // so that tasks are at it at the same time
			}
			return nil
		}), nil
	}
	return pipeline.Spec[talker]{
		Name: "talker", Version: 1, Summary: "Talks.", Example: "talker: {}", Takes: []pipeline.Data{pipeline.Documents},
		New: func(talker) (pipeline.Program, error) {
			barrier := &pipeline.Barrier{Parts: func(int64) int { return 8 },
				Reduce: func(context.Context, *pipeline.Task, *pipeline.Partition) error { return nil }}
			return pipeline.Program{Passes: []pipeline.Pass{{Name: "talk", Open: open, Barrier: barrier}, pipeline.Apply("keep")}}, nil
		},
	}.Kind()
}

// TestMemoryIsSharedAndEnough gives a run the memory that one of its tasks needs: it must
// do for any number of workers, and less than that for none.
func TestMemoryIsSharedAndEnough(t *testing.T) {
	dir := t.TempDir()
	for i := range 8 {
		jsonl(t, filepath.Join(dir, "data", fmt.Sprint(i, ".jsonl")), sentences(uint64(i), 100, 5)...)
	}
	var opened atomic.Int64
	reg := pipeline.NewRegistry(append(stages.All().Kinds(), talkerKind(&opened))...)
	src := "name: p\ninput: [{path: data, source: s}]\nstages: [{talker: {}}, {export: {format: jsonl}}]\n"
	plan, err := pipeline.ParsePlan(filepath.Join(dir, "plan.yaml"), []byte(src), reg, pipeline.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		bytes   int64
		workers int
		fits    bool
	}{{220_000, 1, true}, {220_000, 8, true}, {100_000, 1, false}, {100_000, 8, false}, {10 << 20, 8, true}} {
		opt := options(dir)
		opt.Workdir = filepath.Join(dir, fmt.Sprint("run", c.bytes, "-", c.workers))
		opt.MemoryBytes, opt.Workers = c.bytes, c.workers
		opened.Store(0)
		_, err := pipeline.Run(context.Background(), plan, opt)
		var budget *pipeline.BudgetError
		if c.fits && err != nil || !c.fits && (!errors.As(err, &budget) || budget.Stage != "talker" || budget.Bytes != c.bytes) {
			t.Errorf("%d bytes, %d workers: %v", c.bytes, c.workers, err)
		}
		if again := opened.Load() > 8; c.fits && again != (c.bytes == 220_000 && c.workers == 8) {
			t.Errorf("%d bytes, %d workers: %d tasks were begun, of 8", c.bytes, c.workers, opened.Load())
		}
	}
}
