package stages

import (
	"fmt"
	"strings"

	"bzdata/eval"
	"bzdata/eval/network"
	"bzdata/pipeline"
)

// judge is the text that judges an update.
type judge struct {
	eval.Data
	sources    []string // names by number
	key        string   // names the data
	measuredOn string
	domain     *tokensDomain // of the plan's own documents
	mix        *MixExam      // of validators' rows, else nil
	close      func()
}

// openJudge opens the validators' rows if the plan asks for them, or else the judge part of its tokens.
func openJudge(t *pipeline.Task) (*judge, error) {
	if t.Plan.Evaluate == nil {
		data, closeData, err := openTokens(t, "judge")
		return &judge{Data: data, sources: data.sources, key: data.part.DataKey, domain: data.domain, close: closeData,
			measuredOn: "the plan's own held-out documents"}, err
	}
	rows, err := openRows(t)
	if err != nil {
		return nil, err
	}
	return &judge{Data: rows, sources: rows.Sources, key: rows.Key, mix: rows, close: rows.Close,
		measuredOn: fmt.Sprintf("the mix of %s that validators of %s read, %s of %d seeds", rows.names(), t.Plan.NetworkOrigin,
			rows.unit(), len(rows.Seeds))}, nil
}

// names lists the data sets that judge, and those of the network that are left out.
func (e *MixExam) names() string {
	if !e.Pages {
		return strings.Join(e.Sources, " and ")
	}
	var with, without []string
	for _, s := range e.Mix {
		switch {
		case s.Rows == 0:
			without = append(without, s.Label)
		case s.Own:
			with = append(with, "own text in place of "+s.Label)
		default:
			with = append(with, s.Label)
		}
	}
	out := strings.Join(with, " and ")
	if len(without) > 0 {
		out += ", without " + strings.Join(without, " and ") + ","
	}
	return out
}

// unit is what the exam has of each seed.
func (e *MixExam) unit() string {
	if e.Pages {
		return "pages"
	}
	return "rows"
}

// describe says of which rows a mix is made, and how many of them were trained on; nil if the judge is none.
func (j *judge) describe(t *pipeline.Task) (*MixReport, error) {
	if j.mix == nil {
		return nil, nil
	}
	train, closeTrain, err := openTokens(t, "train")
	if err != nil {
		return nil, err
	}
	defer closeTrain()
	m, err := j.mix.Report(train)
	if err != nil {
		return nil, err
	}
	t.Figure("exam", "%s", m)
	t.Value("exam_rows_trained", float64(*m.Trained))
	if *m.Trained > 0 {
		t.Note("%d of the %d rows of the exam %s: the loss on them says little about others; "+
			"hold the mirror's files out (held_out: [{path: …}]), so that decontaminate drops what overlaps with them",
			*m.Trained, m.Distinct, m.trainedAre("begin like a training document"))
	}
	return m, nil
}

// bySeed scores each seed's rows for itself.
func (s *score) bySeed(t *pipeline.Task, p *network.Profile, base, candidate *eval.Losses, mix *MixExam) error {
	judged, draws, err := mix.Judge(p, base, candidate)
	if err != nil {
		return err
	}
	s.Draws, s.BySeed = draws, judged
	table := &pipeline.Table{Columns: []string{"seed", "rows", "trained on", "base", "update", "difference", "score", "batches"}}
	for i, j := range judged {
		table.Rows = append(table.Rows, []string{s.Mix.Seeds[i][:12], fmt.Sprint(s.Mix.RowsOfSeed[i]),
			fmt.Sprint(s.Mix.OfSeed[i]), fmt.Sprintf("%.4f", j.Baseline), fmt.Sprintf("%.4f", j.Loss),
			fmt.Sprintf("%.4f", -j.Delta), fmt.Sprintf("%.6g", j.Score), fmt.Sprint(j.Batches)})
	}
	t.Panel(pipeline.Panel{Title: "Held-out loss by seed", Table: table, Note: fmt.Sprintf(
		"Of each seed's first batches, as far as a validator of %s goes, by its own arithmetic; a row of several seeds was "+
			"judged once. Seeds are combined ones, cut short.", p.Name)})
	for name, v := range map[string]float64{"score_mean": draws.Mean, "score_std": draws.Std, "score_min": draws.Min,
		"score_max": draws.Max, "seeds": float64(len(judged))} {
		t.Value(name, v)
	}
	return nil
}
