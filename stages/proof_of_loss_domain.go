package stages

import (
	"fmt"
	"slices"
	"strings"

	"bzdata/eval"
)

// domainLosses tells the losses of held-out documents that domain would have kept from
// those that it would have dropped.
type domainLosses struct {
	Documents int `json:"documents"`
	Beyond    int `json:"documents_beyond"`
	// Parts has an entry for either side of the threshold that has documents.
	Parts []eval.SourceDifference `json:"parts"`
}

// sides name the parts, by whether a document lies beyond the threshold.
var sides = []string{"within the domain threshold", "beyond the domain threshold"}

// byDomain compares losses on either side of domain's threshold; nil without a domain stage.
func byDomain(base, candidate *eval.Losses, d *tokensDomain, opts eval.CompareOptions) (*domainLosses, error) {
	if d == nil {
		return nil, nil
	}
	sided := func(l *eval.Losses) *eval.Losses {
		out := *l
		out.Documents, out.Sources = slices.Clone(l.Documents), sides
		for i := range out.Documents {
			side := uint32(0)
			if _, beyond := slices.BinarySearch(d.Beyond, out.Documents[i].Ordinal); beyond {
				side = 1
			}
			out.Documents[i].Source = side
		}
		return &out
	}
	comparison, err := eval.Compare(sided(base), sided(candidate), opts)
	if err != nil {
		return nil, err
	}
	out := &domainLosses{Documents: comparison.Documents, Parts: comparison.Sources}
	for _, p := range out.Parts {
		if p.Source == sides[1] {
			out.Beyond = p.Documents
		}
	}
	return out, nil
}

func (d *domainLosses) parts() []eval.SourceDifference {
	if d == nil {
		return nil
	}
	return d.Parts
}

// String is one line: how much of the exam domain would have dropped, and both losses.
func (d *domainLosses) String() string {
	var losses []string
	for _, p := range d.Parts {
		losses = append(losses, fmt.Sprintf("%s %s", p.Source, p.Difference))
	}
	return fmt.Sprintf("%d of %d documents (%.1f %%) are unlike the training text that domain has chosen: %s",
		d.Beyond, d.Documents, 100*float64(d.Beyond)/float64(max(1, d.Documents)), strings.Join(losses, "; "))
}
