package stages_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"bzdata/pipeline"
	"bzdata/stages"
)

// talker is a stage that sends a record of 100 bytes for each document to each of eight parts,
// under one key for each, and holds all records of a part at once.
type talker struct{}

// meeting makes tasks hold their groups at the same time: none goes on before as many do as are together, or one is refused
// its memory.
type meeting struct {
	together     int64
	begun, holds atomic.Int64
	met          chan struct{}
	meet         func()
}

func (m *meeting) of(together int) {
	m.together, m.met = int64(together), make(chan struct{})
	m.meet = sync.OnceFunc(func() { close(m.met) })
	m.begun.Store(0)
	m.holds.Store(0)
}

// hold is called with a group in memory.
func (m *meeting) hold() {
	if m.holds.Add(1) == m.together {
		m.meet()
	}
	<-m.met
}

func talkerKind(m *meeting) pipeline.Kind {
	open := func(context.Context, *pipeline.Task) (pipeline.Mapper, error) {
		return pipeline.MapFunc(func(d *pipeline.Doc, out *pipeline.Out) error {
			for i := range uint64(8) {
				out.Send(i<<61, make([]byte, 100))
			}
			return nil
		}), nil
	}
	reduce := func(_ context.Context, _ *pipeline.Task, part *pipeline.Partition) error {
		m.begun.Add(1)
		err := part.Groups(func([]pipeline.Record) error { m.hold(); return nil })
		if err != nil {
			m.meet()
		}
		return err
	}
	return pipeline.Spec[talker]{
		Name: "talker", Version: 1, Summary: "Talks.", Example: "talker: {}", Takes: []pipeline.Data{pipeline.Documents},
		New: func(talker) (pipeline.Program, error) {
			barrier := &pipeline.Barrier{Parts: func(int64) int { return 8 }, Reduce: reduce}
			return pipeline.Program{Passes: []pipeline.Pass{{Name: "talk", Open: open, Barrier: barrier}, pipeline.Apply("keep")}}, nil
		},
	}.Kind()
}

// TestMemoryChangesNothing gives runs more and less memory than their exchanges need, down to
// almost none, with one worker and with eight: the results are the same.
func TestMemoryChangesNothing(t *testing.T) {
	dir := t.TempDir()
	for i := range 8 {
		jsonl(t, filepath.Join(dir, "data", fmt.Sprint(i, ".jsonl")), sentences(uint64(i%5), 300, 5)...)
	}
	plan := "name: p\ninput: [{path: data, source: s}]\nheld_out: {fraction: 0.1}\nstages: [{exact_dedup: {}}, {minhash: {}}, " +
		"{mix: {weights: {s: 1}, repeat_max: 2}}, {export: {format: jsonl}}]\n"
	var want map[string]string
	for _, c := range []struct {
		bytes   int64
		workers int
	}{{1 << 30, 1}, {1 << 30, 8}, {1 << 20, 1}, {1 << 20, 8}} {
		opt := options(dir)
		opt.Workdir = filepath.Join(dir, fmt.Sprint("run", c.bytes, "-", c.workers))
		opt.MemoryBytes, opt.Workers, opt.TaskBytes = c.bytes, c.workers, 1
		got := outTree(t, parse(t, dir, plan), opt)
		if want == nil {
			want = got
		}
		sameTree(t, fmt.Sprintf("%d bytes, %d workers", c.bytes, c.workers), got, want)
	}
}

// TestGroupsNeedMemory lets tasks hold groups of records that need all of their memory: it
// must do for any number of workers, and less than that for none.
func TestGroupsNeedMemory(t *testing.T) {
	dir := t.TempDir()
	for i := range 8 {
		jsonl(t, filepath.Join(dir, "data", fmt.Sprint(i, ".jsonl")), sentences(uint64(i), 100, 5)...)
	}
	var m meeting
	reg := pipeline.NewRegistry(append(stages.All().Kinds(), talkerKind(&m))...)
	src := "name: p\ninput: [{path: data, source: s}]\nstages: [{talker: {}}, {export: {format: jsonl}}]\n"
	plan, err := pipeline.ParsePlan(filepath.Join(dir, "plan.yaml"), []byte(src), reg, pipeline.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		bytes   int64
		workers int
		fits    bool
	}{{1_200_000, 1, true}, {1_200_000, 8, true}, {400_000, 1, false}, {400_000, 8, false}, {10 << 20, 8, true}} {
		opt := options(dir)
		opt.Workdir = filepath.Join(dir, fmt.Sprint("run", c.bytes, "-", c.workers))
		opt.MemoryBytes, opt.Workers, opt.TaskBytes = c.bytes, c.workers, 1
		m.of(c.workers)
		_, err := pipeline.Run(context.Background(), plan, opt)
		var budget *pipeline.BudgetError
		if c.fits && err != nil || !c.fits && (!errors.As(err, &budget) || budget.Stage != "talker" || budget.Bytes != c.bytes ||
			!strings.Contains(err.Error(), "--memory")) {
			t.Errorf("%d bytes, %d workers: %v", c.bytes, c.workers, err)
		}
		if again := m.begun.Load() > 8; c.fits && again != (c.bytes == 1_200_000 && c.workers == 8) {
			t.Errorf("%d bytes, %d workers: %d groups were begun, of 8", c.bytes, c.workers, m.begun.Load())
		}
	}
}
