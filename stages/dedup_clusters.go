package stages

import (
	"context"
	"strconv"

	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// applyClusters carries out decisions, and gives each document that stays the fields cluster_id,
// its own id, and cluster_size: the value of a decision that does not drop it, or 1.
func applyClusters(columns bool) pipeline.Pass {
	drop := pipeline.Apply("drop")
	if !columns {
		return drop
	}
	open := func(ctx context.Context, t *pipeline.Task) (pipeline.Mapper, error) {
		apply, err := drop.Open(ctx, t)
		if err != nil {
			return nil, err
		}
		return pipeline.MapFunc(func(d *pipeline.Doc, out *pipeline.Out) error {
			if err := apply.Map(d, out); err != nil || out.Dropped() {
				return err
			}
			d.AddField("cluster_id", store.AppendQuote(nil, t.DocName(d.Ref)))
			d.AddField("cluster_size", strconv.AppendInt(nil, max(1, int64(out.Carried().Value)), 10))
			return nil
		}), nil
	}
	return pipeline.Pass{Name: drop.Name, Edits: true, Open: open}
}

// decideSize tells the pass after the barrier about a cluster of more than one document.
func decideSize(t *pipeline.Task, first pipeline.Ref, size int) {
	if size > 1 {
		t.Decide(first, pipeline.Verdict{Value: float64(size)})
	}
}
