package eval

import (
	"fmt"
	"math"
)

// Outcome is a gate's answer.
type Outcome string

const (
	// Improves says that the loss falls by more than min_delta, at the comparison's confidence.
	Improves Outcome = "improves"
	// Worse says that the loss rises, at that confidence.
	Worse Outcome = "worse"
	// Undecided says that the data allow neither to be said.
	Undecided Outcome = "undecided"
	// Refused says that there is nothing to judge: see the reason.
	Refused Outcome = "refused"
)

// Verdict is what a gate says of a candidate.
type Verdict struct {
	Outcome Outcome `json:"outcome"`
	Reason  string  `json:"reason"` // one line
}

// String is "improves: …".
func (v Verdict) String() string { return string(v.Outcome) + ": " + v.Reason }

// Gate judges whether the held-out loss falls by more than minDelta nats for each token, at the
// comparison's confidence: whether the upper end of its interval is below -minDelta.
func Gate(c Comparison, minDelta float64) Verdict {
	low, high := c.Interval.Low, c.Interval.High
	switch {
	case math.IsNaN(minDelta) || minDelta < 0:
		return Verdict{Refused, fmt.Sprintf("min_delta is %v; it must be 0 or more", minDelta)}
	case c.NonFinite > 0:
		return Verdict{Refused, fmt.Sprintf("the loss of %d sequences is not finite", c.NonFinite)}
	case c.EqualWeights:
		return Verdict{Refused, "the candidate's weights are the base's own: nothing was trained"}
	case c.EqualLosses:
		return Verdict{Refused, "every loss equals the base's: the update changes nothing that is scored"}
	case !finite(c.Difference.Difference) || math.IsNaN(low) || math.IsNaN(high):
		return Verdict{Refused, "the difference of the losses is not finite"}
	case !(c.EffectiveDocuments >= c.DocumentsMin):
		return Verdict{Undecided, fmt.Sprintf("%.1f effective documents are fewer than %g: hold more documents out, or judge by "+
			"more rows", c.EffectiveDocuments, c.DocumentsMin)}
	}
	percent := c.Confidence * 100
	switch {
	case high < -minDelta:
		return Verdict{Improves, minus("the loss falls by more than %g: the %g %% interval ends at %+.3g",
			minDelta, percent, high)}
	case low > 0:
		return Verdict{Worse, minus("the loss rises: the %g %% interval begins at %+.3g", percent, low)}
	case low >= -minDelta:
		return Verdict{Undecided, minus("the loss falls by no more than %g: the %g %% interval begins at %+.3g",
			minDelta, percent, low)}
	}
	return Verdict{Undecided, minus("the %g %% interval from %+.3g to %+.3g reaches beyond %+g: "+
		"hold more documents out, judge by more rows, or train more", percent, low, high, -minDelta)}
}
