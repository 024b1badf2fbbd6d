package metrics

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"bzdata/pipeline/store"
)

// gauges are the metrics of the Prometheus file. The names are those that a Connito miner exposes
// (Connito-AI/Connito 0c936fa), as far as that has one; the others continue them. Each has the label
// run, since files of several runs may lie in one folder.
var gauges = []struct{ metric, name, help string }{
	{"miner_training_loss", Loss, "Training loss in nats per token."},
	{"miner_loss_reduction", LossReduction, "Training loss of the first step less that of the newest."},
	{"miner_perplexity", Perplexity, "Training perplexity, exp of the loss."},
	{"miner_learning_rate", LearningRate, "Learning rate."},
	{"miner_gradient_norm", GradientNorm, "Global norm of the gradient before clipping."},
	{"miner_tokens_per_sec", TokensPerSecond, "Trained tokens per second of the newest step."},
	{"miner_total_tokens", Tokens, "Trained tokens since the run's beginning."},
	{"miner_total_samples", Samples, "Trained sequences since the run's beginning."},
	{"miner_non_finite_count", NonFinite, "Losses and gradients that were no finite number."},
	{"miner_val_loss", ValLoss, "Held-out loss that guides the run, in nats per token."},
	{"miner_val_loss_reduction", ValLossReduction, "Fall of the held-out loss since before the first step."},
	{"miner_proof_val_loss", ProofLoss, "Held-out loss that judges the update, in nats per token."},
	{"miner_proof_loss_reduction", ProofLossReduction, "How much lower that is than the base model's."},
	{"miner_w_i_score", Score, "What the network's profile pays for the update."},
	{"miner_rank_in_group", Rank, "The miner's rank in its expert group."},
	{"moe_aux_loss", AuxLoss, "Load-balancing loss of the routers, before its coefficient."},
	{"moe_experts_active_count", ExpertsActive, "Experts that got a token in the newest step, all layers."},
	{"moe_topk_routing_entropy", RoutingEntropy, "Entropy of a layer's expert load in nats, mean over layers."},
}

// snapshotEvery is the time between two snapshots, by the rows' own clock.
const snapshotEvery = 5 * time.Second

// snapshot is NAME.prom: the newest value of each number, in Prometheus' text format 0.0.4, replaced as
// a whole so that the node exporter's textfile collector never sees a part.
type snapshot struct {
	fsys    store.FS
	name    string
	run     Run
	row     Row // the newest of everything
	written time.Time
	dirty   bool
}

func (s *snapshot) path() string { return s.name }

func (s *snapshot) write(r Row) error {
	s.row.Step, s.row.Time, s.dirty = r.Step, r.Time, true
	s.row.add(r.Values, nil)
	if len(r.Load) > 0 {
		s.row.Load = r.Load
	}
	return nil
}

func (s *snapshot) tick() error {
	if age := s.row.Time.Sub(s.written); age < snapshotEvery && age >= 0 {
		return nil
	}
	return s.sync()
}

func (s *snapshot) sync() error {
	if !s.dirty {
		return nil
	}
	if err := s.fsys.MkdirAll(filepath.Dir(s.name)); err != nil {
		return err
	}
	s.written, s.dirty = s.row.Time, false
	return store.WriteBytes(s.fsys, s.name, exposition(s.run, s.row))
}

func (s *snapshot) close(bool) error { return s.sync() }

// exposition is a row as Prometheus reads it.
func exposition(run Run, r Row) []byte {
	var out bytes.Buffer
	label := `run="` + escapeLabel(run.Name) + `"`
	family := func(metric, help string) { fmt.Fprintf(&out, "# HELP %s %s\n# TYPE %s gauge\n", metric, help, metric) }
	sample := func(metric, more string, x float64) {
		fmt.Fprintf(&out, "%s{%s%s} %s\n", metric, label, more, strconv.FormatFloat(x, 'g', -1, 64))
	}
	for _, g := range gauges {
		x, ok := r.value(g.name)
		if !ok {
			continue
		}
		more := ""
		if g.name == Loss && run.Group != "" {
			more = `,expert_group="` + escapeLabel(run.Group) + `"`
		}
		family(g.metric, g.help)
		sample(g.metric, more, x)
	}
	if x, ok := r.value(StepSeconds); ok {
		family("miner_step_time_hours", "Time of the newest step in hours.")
		sample("miner_step_time_hours", "", x/3600)
	}
	if x, ok := r.value(Seconds); ok {
		family("miner_total_training_time_hours", "Time of all steps in hours.")
		sample("miner_total_training_time_hours", "", x/3600)
	}
	exposeLoad(r.Load, family, sample)
	family("miner_step", "Number of the newest row.")
	sample("miner_step", "", float64(r.Step))
	family("miner_step_timestamp_seconds", "Unix time of the newest row.")
	sample("miner_step_timestamp_seconds", "", unixSeconds(r.Time))
	return out.Bytes()
}

func exposeLoad(load []Load, family func(metric, help string), sample func(metric, more string, x float64)) {
	if len(load) == 0 {
		return
	}
	family("moe_expert_utilization_ratio", "Share of a layer's experts that got a token in the newest step.")
	for _, l := range load {
		sample("moe_expert_utilization_ratio", fmt.Sprintf(`,layer_idx="%d"`, l.Layer),
			float64(l.active())/float64(max(1, len(l.Experts))))
	}
	family("moe_expert_load", "Tokens routed to each expert in the newest step.")
	for _, l := range load {
		for e, c := range l.Experts {
			sample("moe_expert_load", fmt.Sprintf(`,layer_idx="%d",expert_idx="%d"`, l.Layer, e), float64(c))
		}
	}
}

// escapeLabel writes a label's value as the format wants it.
func escapeLabel(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s)
}
