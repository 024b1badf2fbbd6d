package routing

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"bzdata/train/checkpoint"
)

// Ranking compares expert groups by the share of a text's activation, choices of experts or their
// weights, that falls on their experts, with an interval over documents: tokens of one document
// route alike, so that the document is the unit. It is not safe for concurrent use.
type Ranking struct {
	groups  []*checkpoint.Group
	member  []map[int]map[int32]bool // by group and layer: its experts
	experts int                      // of a layer
	layers  map[int]bool
	docs    map[int]*documentShares
}

// documentShares are a document's activation in all layers, and the part that falls on each group.
type documentShares struct {
	all   fixed
	group []fixed
}

// NewRanking returns an empty ranking of groups for a model with so many routed experts in a layer.
func NewRanking(groups []*checkpoint.Group, experts int) *Ranking {
	r := &Ranking{groups: groups, experts: experts, layers: map[int]bool{}, docs: map[int]*documentShares{}}
	for _, g := range groups {
		member := map[int]map[int32]bool{}
		for layer, pairs := range g.Assignment {
			member[layer] = map[int32]bool{}
			for _, p := range pairs {
				member[layer][int32(p.Org)] = true
			}
		}
		r.member = append(r.member, member)
	}
	return r
}

// Add takes a layer's choices for a document's tokens, with their weights, or nil to count each
// as 1. Every document must be given for every mixture layer, in any order.
func (r *Ranking) Add(document, layer int, experts []int32, weights []float32) {
	r.layers[layer] = true
	d := r.docs[document]
	if d == nil {
		d = &documentShares{group: make([]fixed, len(r.groups))}
		r.docs[document] = d
	}
	for i, e := range experts {
		w := 1.0
		if weights != nil {
			w = float64(weights[i])
		}
		d.all.add(w)
		for g := range r.member {
			if r.member[g][layer][e] {
				d.group[g].add(w)
			}
		}
	}
}

// RankedGroup is a group's share of the choices.
type RankedGroup struct {
	Name    string
	ID      int
	Experts int     // over all layers
	Share   float64 // of the activation of all layers, 0 to 1
	// ShareLow and ShareHigh are the 95 % interval over documents.
	ShareLow, ShareHigh float64
	// Lift is Share over what it would be if all experts were chosen alike: above 1 the text prefers
	// the group's experts. Share favours large groups, Lift does not.
	Lift float64
	// Miners is how many mine the group already, 0 if that is not known; Value is Share over
	// Miners+1, what is left for one more.
	Miners int
	Value  float64
}

// documentsMin is how many documents an interval needs; with fewer it is the whole range.
const documentsMin = 10

// Groups ranks the groups by Value, largest first, ties by id and name. Without miners, by group id,
// Value is Share. The interval is that of a ratio: with y the activation that falls on a group
// and n all of a document, θ = Σy/Σn ± 1.96 s, s² = D/(D-1) Σ(y - θn)² / (Σn)² over D
// documents (Cochran 1977, section 6.13). A layer that a group does not list counts as 0; a group
// that names a layer or an expert that the model does not have belongs to another model, and is an error.
func (r *Ranking) Groups(miners map[int]int) ([]RankedGroup, error) {
	if len(r.docs) == 0 {
		return nil, errors.New("no document was routed to rank groups by")
	}
	var out []RankedGroup
	for g, group := range r.groups {
		even, err := r.Even(g)
		if err != nil {
			return nil, err
		}
		ranked := RankedGroup{Name: group.Name, ID: group.Config.GroupID, Experts: group.Assignment.Experts()}
		ranked.Share, ranked.ShareLow, ranked.ShareHigh = r.share(g)
		if even > 0 {
			ranked.Lift = ranked.Share / even
		}
		out = append(out, ranked)
	}
	compete(out, miners)
	return out, nil
}

// compete sets the number of miners and the value of each group, and ranks the groups by it.
func compete(groups []RankedGroup, miners map[int]int) {
	for i := range groups {
		g := &groups[i]
		if g.Miners, g.Value = miners[g.ID], g.Share; miners != nil {
			g.Value = g.Share / float64(g.Miners+1)
		}
	}
	slices.SortFunc(groups, func(a, b RankedGroup) int {
		return cmp.Or(cmp.Compare(b.Value, a.Value), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Name, b.Name))
	})
}

// Document is the share of one document's activation that falls on the group of that rank among
// those given, 0 to 1, and whether it has any activation.
func (r *Ranking) Document(group, document int) (share float64, ok bool) {
	d := r.docs[document]
	if d == nil || d.all.value() == 0 {
		return 0, false
	}
	return d.group[group].value() / d.all.value(), true
}

// Even is the share of a group, by its rank among those given, if all experts of the layers seen
// were chosen alike. See [Ranking.Groups] for the errors.
func (r *Ranking) Even(rank int) (float64, error) {
	group := r.groups[rank]
	for _, layer := range group.Assignment.Layers() {
		if !r.layers[layer] {
			return 0, fmt.Errorf("group %s: layer %d has no routed experts in the model", group.Name, layer)
		}
		for _, p := range group.Assignment[layer] {
			if p.Org >= r.experts {
				return 0, fmt.Errorf("group %s: layer %d: expert %d, but the model has %d", group.Name, layer, p.Org, r.experts)
			}
		}
	}
	return float64(group.Assignment.Experts()) / float64(len(r.layers)*r.experts), nil
}

func (r *Ranking) share(group int) (share, low, high float64) {
	ids := slices.Sorted(maps.Keys(r.docs)) // an order for the sums
	ours, all := 0.0, 0.0
	for _, id := range ids {
		ours += r.docs[id].group[group].value()
		all += r.docs[id].all.value()
	}
	count := float64(len(ids))
	if all == 0 {
		return 0, 0, 1
	}
	if share = ours / all; count < documentsMin {
		return share, 0, 1
	}
	squares := 0.0
	for _, id := range ids {
		off := r.docs[id].group[group].value() - share*r.docs[id].all.value()
		squares += off * off
	}
	half := 1.96 * math.Sqrt(count/(count-1)*squares) / all
	return share, max(0, share-half), min(1, share+half)
}
