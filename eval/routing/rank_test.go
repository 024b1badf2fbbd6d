package routing

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"bzdata/train/checkpoint"
)

func group(name string, id int, a checkpoint.Assignment) *checkpoint.Group {
	return &checkpoint.Group{Name: name, Config: checkpoint.GroupConfig{GroupID: id}, Assignment: a}
}

// TestRanking checks shares, lifts and order on choices counted by hand.
func TestRanking(t *testing.T) {
	groups := []*checkpoint.Group{
		group("few", 2, checkpoint.Assignment{1: {{My: 0, Org: 2}}, 2: {{My: 0, Org: 3}}}),
		group("half", 1, checkpoint.Assignment{1: {{My: 0, Org: 0}, {My: 1, Org: 1}}, 2: {{My: 0, Org: 1}, {My: 1, Org: 0}}}),
		group("part", 0, checkpoint.Assignment{1: {{My: 0, Org: 2}}}),
	}
	choices := NewRanking(groups, 4)
	choices.Add(0, 1, []int32{0, 1, 0, 2}, nil) // two tokens of two experts
	choices.Add(0, 2, []int32{1, 2, 0, 1}, nil)
	choices.Add(1, 2, []int32{1, 2}, nil)
	choices.Add(1, 1, []int32{3, 2}, nil)
	check := func(r *Ranking, miners map[int]int, want []RankedGroup) {
		t.Helper()
		got, err := r.Groups(miners)
		for i := range got {
			got[i].Share, got[i].Lift, got[i].Value = Round4(got[i].Share), Round4(got[i].Lift), Round4(got[i].Value)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %+v, %v\nwant %+v", got, err, want)
		}
	}
	check(choices, nil, []RankedGroup{
		{Name: "half", ID: 1, Experts: 4, Share: 0.5833, ShareHigh: 1, Lift: 1.1667, Value: 0.5833},
		{Name: "part", ID: 0, Experts: 1, Share: 0.1667, ShareHigh: 1, Lift: 1.3333, Value: 0.1667},
		{Name: "few", ID: 2, Experts: 2, Share: 0.1667, ShareHigh: 1, Lift: 0.6667, Value: 0.1667},
	})
	check(choices, map[int]int{1: 9, 0: 1}, []RankedGroup{
		{Name: "few", ID: 2, Experts: 2, Share: 0.1667, ShareHigh: 1, Lift: 0.6667, Value: 0.1667},
		{Name: "part", ID: 0, Experts: 1, Share: 0.1667, ShareHigh: 1, Lift: 1.3333, Miners: 1, Value: 0.0833},
		{Name: "half", ID: 1, Experts: 4, Share: 0.5833, ShareHigh: 1, Lift: 1.1667, Miners: 9, Value: 0.0583},
	})
	weights := NewRanking(groups[1:2], 4)
	weights.Add(0, 1, []int32{0, 2}, []float32{0.5, 0.25})
	weights.Add(0, 2, []int32{3, 1}, []float32{0.75, 0.5})
	check(weights, nil, []RankedGroup{{Name: "half", ID: 1, Experts: 4, Share: 0.5, ShareHigh: 1, Lift: 1, Value: 0.5}})

	_, err := NewRanking(groups, 4).Groups(nil)
	mustSay(t, err, "no document was routed")
	for want, g := range map[string]*checkpoint.Group{
		"group x: layer 3 has no routed experts in the model": group("x", 1, checkpoint.Assignment{3: {{Org: 0}}}),
		"group x: layer 1: expert 4, but the model has 4":     group("x", 1, checkpoint.Assignment{1: {{Org: 4}}}),
	} {
		r := NewRanking([]*checkpoint.Group{g}, 4)
		r.Add(0, 1, []int32{0}, nil)
		_, err := r.Groups(nil)
		mustSay(t, err, want)
	}
}

// TestRankingInterval draws texts whose documents differ in length and in how much they prefer a
// group, and counts how often the interval holds the true share.
func TestRankingInterval(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	g := group("g", 0, checkpoint.Assignment{0: {{Org: 0}}})
	tokens := func() (n int, prefer float64) { n = 5 + rng.IntN(60); return n, 0.1 + 0.6*rng.Float64()*float64(n)/64 }
	ours, all := 0.0, 0.0
	for range 200_000 { // the true share: of tokens, long documents preferring more
		n, prefer := tokens()
		ours, all = ours+float64(n)*prefer, all+float64(n)
	}
	const texts, documents = 1000, 60
	held := 0
	for range texts {
		r := NewRanking([]*checkpoint.Group{g}, 2)
		for doc := range documents {
			n, prefer := tokens()
			var experts []int32
			for range n {
				e := int32(1)
				if rng.Float64() < prefer {
					e = 0
				}
				experts = append(experts, e)
			}
			r.Add(doc, 0, experts, nil)
		}
		got, err := r.Groups(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got[0].ShareLow <= ours/all && ours/all <= got[0].ShareHigh {
			held++
		}
	}
	if share := float64(held) / texts; math.Abs(share-0.94) > 0.025 {
		t.Errorf("the 95 %% interval held the truth in %.3f of %d texts", share, texts)
	}
}
