package stages

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"bzdata/eval/routing"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

func (c Route) write(t *pipeline.Task, r *routed) error {
	scores := r.acc.Scores()
	table, err := scores.Of(c.Score)
	if err != nil {
		return err
	}
	chosen, err := c.rule().Choose(table)
	if err != nil {
		return err
	}
	balance, pairs := r.acc.Balance(), r.sources.Pairs()
	files := map[string]any{
		routedConfig:                     chosen.Encode(),
		"routing/summary.json":           scores.Encode(),
		"routing/expert_assignment.json": chosen.Assignment(0).Encode(),
		"routing/balance.json":           balance,
	}
	if len(pairs) > 0 {
		files["routing/sources.json"] = pairs
	}
	if err := c.rank(t, r, files); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := writeRouting(t, name, files[name]); err != nil {
			return err
		}
	}
	c.report(t, table, chosen)
	reportBalance(t, balance)
	reportSources(t, pairs)
	if c.Write != nil {
		return c.Write.write(t, chosen, r.groups, c.SequenceLength)
	}
	return nil
}

// writeRouting writes bytes as they are, and anything else as JSON.
func writeRouting(t *pipeline.Task, name string, content any) error {
	data, ok := content.([]byte)
	if !ok {
		var err error
		if data, err = json.MarshalIndent(content, "", " "); err != nil {
			return err
		}
	}
	return t.WriteFile(name, func(w io.Writer) error { _, err := w.Write(data); return err })
}

// rank compares the plan's expert groups, if it names any, and decides for one if it is to.
func (c Route) rank(t *pipeline.Task, r *routed, files map[string]any) error {
	if r.ranking == nil {
		return nil
	}
	miners, err := c.miners(t)
	if err != nil {
		return err
	}
	groups, err := r.ranking.Groups(miners)
	if err != nil {
		return &pipeline.DataError{Msg: fmt.Sprintf("%s: %v", t.Plan.Network.ExpertGroups, err)}
	}
	files["routing/groups.json"] = groups
	reportGroups(t, groups, miners != nil)
	for _, g := range groups {
		t.Value(fmt.Sprintf("group_%d_share", g.ID), g.Share)
		t.Value(fmt.Sprintf("group_%d_share_low", g.ID), g.ShareLow)
		t.Value(fmt.Sprintf("group_%d_share_high", g.ID), g.ShareHigh)
		t.Value(fmt.Sprintf("group_%d_lift", g.ID), g.Lift)
	}
	for _, g := range groups {
		if _, known := miners[g.ID]; miners != nil && !known {
			t.Note("%s does not say how many miners train group %d; it counts as none", c.Miners, g.ID)
		}
	}
	if !t.Plan.AutoGroup() {
		return nil
	}
	d := decideGroup(groups)
	files[routedGroup] = d
	t.Figure("expert group", "%d %s, chosen by route", d.Chosen.ID, d.Chosen.Name)
	t.Note("%s", d.Why)
	if by := liftFirst(groups); by.ID != d.Chosen.ID {
		t.Note("a share favours large groups; by lift, which does not, %s would be first", describeGroup(by))
	}
	if d.Close {
		t.Note("the intervals of groups %d and %d overlap: this sample does not tell which is first; raise "+
			"sample_tokens, or give network.expert_group a number", d.Chosen.ID, d.RunnerUp.ID)
	}
	return nil
}

// liftFirst is the group of the largest lift.
func liftFirst(groups []routing.RankedGroup) routing.RankedGroup {
	return slices.MaxFunc(groups, func(a, b routing.RankedGroup) int { return cmp.Compare(a.Lift, b.Lift) })
}

// miners are the numbers of miners by group id, nil if they are not known.
func (c Route) miners(t *pipeline.Task) (map[int]int, error) {
	if c.Miners == "" {
		return nil, nil
	}
	name := t.Files("miners")[0]
	data, err := store.ReadAll(t.Inputs, name)
	if err != nil {
		return nil, err
	}
	miners, err := ParseMiners(data)
	if err != nil {
		return nil, &pipeline.UsageError{Msg: fmt.Sprintf("%s: %v", name, err), Err: err}
	}
	return miners, nil
}

// ParseMiners reads how many miners train each group, by its number: {"0": 12}.
func ParseMiners(data []byte) (map[int]int, error) {
	miners := map[int]int{}
	if err := json.Unmarshal(data, &miners); err != nil {
		return nil, fmt.Errorf("want miners by group id, such as {\"0\": 12}: %w", err)
	}
	for _, id := range slices.Sorted(maps.Keys(miners)) {
		if n := miners[id]; n < 0 || n > 1<<31 || id < 0 {
			return nil, fmt.Errorf("%d miners of group %d is no number of miners", n, id)
		}
	}
	return miners, nil
}

func reportGroups(t *pipeline.Task, groups []routing.RankedGroup, miners bool) {
	rows := &pipeline.Table{Columns: []string{"group", "name", "experts", "share of activation", "95 % interval", "lift"}}
	note := "How much of the documents' activation falls on each group's experts, with the interval over documents; " +
		"a lift above 1 is more than by chance."
	if miners {
		rows.Columns = append(rows.Columns, "miners", "share for one more")
		note += " They are ranked by what is left for one more miner."
	}
	for _, g := range groups {
		row := []string{fmt.Sprint(g.ID), g.Name, fmt.Sprint(g.Experts), fmt.Sprintf("%.4f", g.Share),
			fmt.Sprintf("%.4f to %.4f", g.ShareLow, g.ShareHigh), fmt.Sprintf("%.3f", g.Lift)}
		if miners {
			row = append(row, fmt.Sprint(g.Miners), fmt.Sprintf("%.4f", g.Value))
		}
		rows.Rows = append(rows.Rows, row)
	}
	t.Panel(pipeline.Panel{Title: "Expert groups", Table: rows, Note: note})
}

func (c Route) report(t *pipeline.Task, table routing.Table, chosen *routing.Config) {
	heat := &pipeline.Heat{XLabel: "expert", YLabel: "layer"}
	line := ""
	for i, layer := range slices.Sorted(maps.Keys(table)) {
		heat.Rows = append(heat.Rows, strconv.Itoa(layer))
		heat.Values = append(heat.Values, table[layer])
		for _, e := range chosen.Experts[layer] {
			heat.Marked = append(heat.Marked, [2]int{i, e})
		}
		line += fmt.Sprintf(" %d:%v", layer, chosen.Experts[layer])
		if len(heat.Columns) == 0 {
			for e := range table[layer] {
				heat.Columns = append(heat.Columns, strconv.Itoa(e))
			}
		}
	}
	t.Panel(pipeline.Panel{Title: "Routing", Heat: heat,
		Note: "The " + c.Score + " score of each expert; the chosen ones are outlined."})
	t.Figure("experts", "%d chosen by %s score:%s", chosen.Count(), c.Score, line)
}

func reportBalance(t *pipeline.Task, balance []routing.Balance) {
	rows := &pipeline.Table{Columns: []string{"layer", "entropy (nats)", "evenness", "experts used", "busiest over mean"}}
	for _, b := range balance {
		rows.Rows = append(rows.Rows, []string{fmt.Sprint(b.Layer), fmt.Sprintf("%.3f", b.EntropyNats),
			fmt.Sprintf("%.3f", b.EvennessRatio), fmt.Sprint(b.Active), fmt.Sprintf("%.2f", b.MaxOverMean)})
	}
	t.Panel(pipeline.Panel{Title: "Load balance", Table: rows})
	if len(balance) > 0 {
		t.Figure("load balance", "%s", DescribeBalance(balance))
	}
}

// DescribeBalance says in a line how evenly layers, of which there is one at least, spread their
// choices.
func DescribeBalance(balance []routing.Balance) string {
	least, busiest, sum := balance[0], balance[0], 0.0
	for _, b := range balance {
		sum += b.EvennessRatio
		if b.EvennessRatio < least.EvennessRatio {
			least = b
		}
		if b.MaxOverMean > busiest.MaxOverMean {
			busiest = b
		}
	}
	return fmt.Sprintf("entropy %.3f of an even one on average, least %.3f in layer %d; busiest expert %.2f times the mean, "+
		"in layer %d", sum/float64(len(balance)), least.EvennessRatio, least.Layer, busiest.MaxOverMean, busiest.Layer)
}

// DescribePair says in a line how differently two sources route.
func DescribePair(p routing.SourcePair) string {
	verdict := "no difference beyond chance"
	switch {
	case !p.Measured:
		return fmt.Sprintf("%s and %s: divergence %.4f bits; too few documents to tell it from chance", p.A, p.B,
			p.DivergenceBits)
	case p.Apart:
		verdict = "they route differently"
	}
	return fmt.Sprintf("%s and %s: divergence %.4f bits, %.4f by chance; %s", p.A, p.B, p.DivergenceBits, p.NoiseBits, verdict)
}

func reportSources(t *pipeline.Task, pairs []routing.SourcePair) {
	if len(pairs) == 0 {
		return
	}
	rows := &pipeline.Table{Columns: []string{"source", "source", "divergence (bits)", "by chance", "apart"}}
	at := map[string]int{}
	heat := &pipeline.Heat{XLabel: "source", YLabel: "source"}
	for _, name := range sourceNames(pairs) {
		at[name] = len(heat.Rows)
		heat.Rows, heat.Columns = append(heat.Rows, name), append(heat.Columns, name)
	}
	for range heat.Rows {
		heat.Values = append(heat.Values, make([]float64, len(heat.Rows)))
	}
	for _, p := range pairs {
		chance, apart := "", ""
		if p.Measured {
			chance, apart = fmt.Sprintf("%.4f", p.NoiseBits), fmt.Sprint(p.Apart)
		}
		rows.Rows = append(rows.Rows, []string{p.A, p.B, fmt.Sprintf("%.4f", p.DivergenceBits), chance, apart})
		a, b := at[p.A], at[p.B]
		heat.Values[a][b], heat.Values[b][a] = p.DivergenceBits, p.DivergenceBits
		if p.Apart {
			heat.Marked = append(heat.Marked, [2]int{a, b}, [2]int{b, a})
		}
	}
	t.Panel(pipeline.Panel{Title: "How differently sources route", Heat: heat,
		Note: "Jensen-Shannon divergence of the choices of experts, 0 to 1 bit, as the mean over layers; outlined: " +
			"more than chance."})
	t.Panel(pipeline.Panel{Title: "Pairs of sources", Table: rows})
	t.Figure("sources apart", "%s", DescribePair(pairs[0]))
	if last := pairs[len(pairs)-1]; len(pairs) > 1 {
		t.Figure("sources alike", "%s", DescribePair(last))
	}
}

// sourceNames are the names in pairs, sorted.
func sourceNames(pairs []routing.SourcePair) []string {
	names := map[string]bool{}
	for _, p := range pairs {
		names[p.A], names[p.B] = true, true
	}
	return slices.Sorted(maps.Keys(names))
}
