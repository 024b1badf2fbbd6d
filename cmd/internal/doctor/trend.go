package doctor

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Predicted is what a run's proof of loss says.
type Predicted struct {
	Run string `json:"run"`
	// Version is the network's global version of the base, nil if it was no checkpoint.
	Version *int `json:"version,omitempty"`
	// Gain is by how many nats per token the loss falls, Low and High its interval; nil without a
	// proof of loss.
	Gain *float64 `json:"gain_nats"`
	Low  *float64 `json:"low_nats,omitempty"`
	High *float64 `json:"high_nats,omitempty"`
}

// Trend is how predictions run over several runs, in the order in which they were given.
type Trend struct {
	Runs []Predicted `json:"runs"`
	// Rank is Spearman's correlation of the gain with the order; nil for fewer than three gains, or if
	// all are alike.
	Rank *float64 `json:"rank_correlation_with_order"`
	// Separate says that the intervals of the first and the last gain do not overlap.
	Separate bool `json:"first_and_last_separate"`
}

// Follow gathers the predictions of runs.
func Follow(runs []*Run) Trend {
	var t Trend
	var order, gains []float64
	for i, r := range runs {
		p := Predicted{Run: r.Name}
		if v, ok := r.values("proof_of_loss", "difference_nats"); ok {
			gain := -v["difference_nats"]
			p.Gain = &gain
			order, gains = append(order, float64(i)), append(gains, gain)
		}
		if v, ok := r.values("proof_of_loss", "low_nats", "high_nats"); ok {
			low, high := -v["high_nats"], -v["low_nats"]
			p.Low, p.High = &low, &high
		}
		if v, ok := r.values("train", "base_global_version"); ok {
			version := int(v["base_global_version"])
			p.Version = &version
		}
		t.Runs = append(t.Runs, p)
	}
	t.Rank = spearman(order, gains)
	measured := slices.DeleteFunc(slices.Clone(t.Runs), func(p Predicted) bool { return p.Low == nil })
	if n := len(measured); n > 1 {
		first, last := measured[0], measured[n-1]
		t.Separate = *first.High < *last.Low || *last.High < *first.Low
	}
	return t
}

// Score is one paid score.
type Score struct {
	Key   string // the run's name, or the version
	Value float64
}

// ParseScores reads a CSV table with a head, of which the columns run or version, and score, count.
// byVersion says which the keys are. Errors name the line.
func ParseScores(r io.Reader) (scores []Score, byVersion bool, err error) {
	rows := csv.NewReader(r)
	rows.TrimLeadingSpace = true
	head, err := rows.Read()
	if err != nil {
		return nil, false, fmt.Errorf("want a head with the columns run or version, and score: %w", err)
	}
	for i := range head {
		head[i] = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(head[i], "\ufeff")))
	}
	key, score := slices.Index(head, "run"), slices.Index(head, "score")
	if key < 0 {
		key, byVersion = slices.Index(head, "version"), true
	}
	if key < 0 || score < 0 {
		return nil, false, fmt.Errorf("the head is %s; want the columns run or version, and score", strings.Join(head, ", "))
	}
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return scores, byVersion, nil
		}
		if err != nil {
			return nil, false, err
		}
		line, _ := rows.FieldPos(score)
		v, err := strconv.ParseFloat(strings.TrimSpace(row[score]), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, false, fmt.Errorf("line %d: the score %q is no number", line, row[score])
		}
		name := strings.TrimSpace(row[key])
		if _, err := strconv.Atoi(name); byVersion && err != nil {
			return nil, false, fmt.Errorf("line %d: the version %q is no whole number", line, name)
		}
		if slices.ContainsFunc(scores, func(s Score) bool { return s.Key == name }) {
			return nil, false, fmt.Errorf("line %d: %s has a score already; keep one of them", line, name)
		}
		scores = append(scores, Score{name, v})
	}
}

// Paid compares predicted gains with paid scores.
type Paid struct {
	Pairs []Pair `json:"pairs"`
	// Rank is Spearman's correlation of gain and score, from -1 to 1; nil for fewer than three pairs, or
	// if either is the same for all.
	Rank *float64 `json:"rank_correlation"`
	// Unmatched are keys of scores that fit no run with a proof of loss.
	Unmatched []string `json:"unmatched,omitempty"`
}

// Pair is one run with both. Ranks count from 1, the best; ties share the mean.
type Pair struct {
	Run           string  `json:"run"`
	Gain          float64 `json:"gain_nats"`
	Score         float64 `json:"score"`
	PredictedRank float64 `json:"predicted_rank"`
	PaidRank      float64 `json:"paid_rank"`
	// Disagree says why the run stands out, or is empty.
	Disagree string `json:"disagree,omitempty"`
}

// Compare pairs predictions with scores, by the run's name or its last element, or by the version.
func Compare(t Trend, scores []Score, byVersion bool) (Paid, error) {
	var out Paid
	for _, s := range scores {
		var found []Predicted
		for _, p := range t.Runs {
			named := !byVersion && (p.Run == s.Key || filepath.Base(filepath.Clean(p.Run)) == s.Key)
			versioned := byVersion && p.Version != nil && strconv.Itoa(*p.Version) == s.Key
			if (named || versioned) && p.Gain != nil {
				found = append(found, p)
			}
		}
		switch len(found) {
		case 0:
			out.Unmatched = append(out.Unmatched, s.Key)
		case 1:
			out.Pairs = append(out.Pairs, Pair{Run: found[0].Run, Gain: *found[0].Gain, Score: s.Value})
		default:
			return out, fmt.Errorf("score %s fits %s and %s; name each run by its path", s.Key, found[0].Run, found[1].Run)
		}
	}
	var gains, paid []float64
	for _, p := range out.Pairs {
		gains, paid = append(gains, p.Gain), append(paid, p.Score)
	}
	out.Rank = spearman(gains, paid)
	a, b := ranks(gains), ranks(paid)
	for i := range out.Pairs {
		p, n := &out.Pairs[i], float64(len(a))
		p.PredictedRank, p.PaidRank = n+1-a[i], n+1-b[i]
		p.Disagree = p.disagree(n)
	}
	return out, nil
}

// disagree says why a run of n stands out: it was paid nothing for a gain, or its ranks are a third of
// all, and two at least, apart.
func (p Pair) disagree(n float64) string {
	apart := p.PredictedRank - p.PaidRank
	switch {
	case p.Gain > 0 && p.Score <= 0:
		return "predicted to gain and paid nothing: a stale base, other evaluation data, a tie, or a submission that was refused"
	case math.Abs(apart) < max(2, n/3):
		return ""
	case apart > 0:
		return "paid better than predicted: the held-out set may lack what the validator scores"
	}
	return "paid worse than predicted: held-out text unlike the validator's, or a base that had moved on"
}

// spearman is the rank correlation, nil if there is none.
func spearman(x, y []float64) *float64 {
	if len(x) < 3 {
		return nil
	}
	a, b := ranks(x), ranks(y)
	mean := float64(len(a)+1) / 2
	xy, xx, yy := 0.0, 0.0, 0.0
	for i := range a {
		u, v := a[i]-mean, b[i]-mean
		xy, xx, yy = xy+u*v, xx+u*u, yy+v*v
	}
	if xx == 0 || yy == 0 {
		return nil
	}
	r := xy / math.Sqrt(xx*yy)
	return &r
}

// ranks count from 1, the smallest; ties share the mean of theirs.
func ranks(x []float64) []float64 {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(x[i], x[j]) })
	out := make([]float64, len(x))
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && x[order[to]] == x[order[from]] {
			to++
		}
		for _, i := range order[from:to] {
			out[i] = float64(from+to+1) / 2
		}
		from = to
	}
	return out
}
