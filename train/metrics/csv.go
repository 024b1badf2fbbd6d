package metrics

import (
	"bytes"
	"strconv"
	"strings"
)

// csvColumns are the columns of the CSV file and the numbers in them, the first that is there. Those
// up to val_aux_loss are the columns of Block Zero's MetricLogger (CognitoBlocks/BlockZero 907d2e4,
// mycelia/miner/train_helper.py get_status), in its order; a column without a name stays empty, being
// nothing that this trainer has: it has no outer optimizer, and measures held-out text without the
// auxiliary loss.
var csvColumns = []struct {
	column string
	names  []string
	scale  float64
}{
	{"step", nil, 0},
	{"inner_opt_step", nil, 0},
	{"global_opt_step", nil, 0},
	{"lr", []string{LearningRate}, 1},
	{"param_sum", nil, 0},
	{"total_samples", []string{Samples}, 1},
	{"total_tokens", []string{Tokens}, 1},
	{"inner_step_time_hours", []string{StepSeconds}, 3600},
	{"total_training_time_hours", []string{Seconds}, 3600},
	{"tokens_per_second", []string{TokensPerSecond}, 1},
	{"loss", []string{Loss}, 1},
	{"perplexity", []string{Perplexity}, 1},
	{"aux_loss", []string{AuxLoss}, 1},
	{"val_loss", []string{ValLoss, ProofLoss}, 1},
	{"val_aux_loss", nil, 0},
	{"grad_norm", []string{GradientNorm}, 1},
	{"loss_reduction", []string{LossReduction, ProofLossReduction}, 1},
	{"val_loss_reduction", []string{ValLossReduction}, 1},
	{"non_finite", []string{NonFinite}, 1},
	{"experts_active_count", []string{ExpertsActive}, 1},
	{"expert_utilization_ratio", []string{ExpertsActiveRatio}, 1},
	{"routing_entropy", []string{RoutingEntropy}, 1},
	{"w_i_score", []string{Score}, 1},
	{"rank_in_group", []string{Rank}, 1},
	{"time", nil, 0},
}

// csvFile is the format of NAME-ID.csv. No field needs quotes.
type csvFile struct{}

func (csvFile) head(Row) []byte {
	var names []string
	for _, c := range csvColumns {
		names = append(names, c.column)
	}
	return []byte(strings.Join(names, ",") + "\n")
}

func (csvFile) tail(Row) []byte { return nil }

func (csvFile) row(r Row) []byte {
	var out bytes.Buffer
	for i, c := range csvColumns {
		if i > 0 {
			out.WriteByte(',')
		}
		switch c.column {
		case "step", "inner_opt_step":
			out.WriteString(strconv.Itoa(r.Step))
		case "time":
			out.WriteString(r.Time.UTC().Format(timeForm))
		}
		for _, name := range c.names {
			if x, ok := r.value(name); ok {
				out.Write(number(x / c.scale))
				break
			}
		}
	}
	out.WriteByte('\n')
	return out.Bytes()
}
