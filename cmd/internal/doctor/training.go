package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// proof is the answer where proof_of_loss or its figures are missing.
func (r *Run) proof(check string) Answer {
	if r.stage("proof_of_loss") == nil {
		return r.missing(check, "proof_of_loss", "add held_out, tokenize, train and proof_of_loss")
	}
	return unrecorded(check, "proof_of_loss")
}

func gate(r *Run) Answer {
	const check = "the gate and its margin"
	v, ok := r.values("proof_of_loss", "difference_nats", "low_nats", "high_nats")
	if !ok {
		return r.proof(check)
	}
	least, _, _ := r.setting("proof_of_loss", "min_delta")
	margin := -least - v["high_nats"]
	v["margin_nats"] = margin
	a := Answer{Check: check, State: Fine, Figures: v, Says: fmt.Sprintf(
		"held-out loss changes by %+.4f nats [%+.4f, %+.4f]; the gate passes with a margin of %.4f", v["difference_nats"],
		v["low_nats"], v["high_nats"], margin)}
	switch {
	case r.Refused != "":
		a.State, a.Says = Change, r.Refused
		a.Do = "do not submit this update; the lines below say what to change first"
	case margin <= 0:
		a.State, a.Do = Change, "hold more documents out, or train more: the interval reaches min_delta"
	case v["high_nats"]-v["low_nats"] > 2*math.Abs(v["difference_nats"]):
		a.Do = "the interval is wide: more held-out documents would narrow it"
	}
	return a
}

func effective(r *Run) Answer {
	const check = "held-out documents of the verdict"
	v, ok := r.values("proof_of_loss", "effective_documents", "documents")
	least, _, known := r.setting("proof_of_loss", "documents_min")
	if !ok || !known {
		return r.proof(check)
	}
	a := Answer{Check: check, State: Fine, Figures: v, Says: fmt.Sprintf(
		"%.0f documents say as much as %.0f of equal length; documents_min is %.0f", v["documents"],
		v["effective_documents"], least)}
	if v["effective_documents"] < least {
		a.State = Change
		a.Do = "hold more documents out (held_out.fraction or documents_max): three in four of them judge"
		if r.planned("validator_rows") {
			a.Do = "raise evaluate.rows or evaluate.seeds, and fetch what they need with bzdata mirror"
		}
	}
	return a
}

// passesMax is how often data may be repeated before it helps clearly less than new data (Muennighoff
// et al. 2023, Scaling Data-Constrained Language Models: about four times).
const passesMax = 4

func passes(r *Run) Answer {
	const check = "passes over the data"
	v, ok := r.values("train", "passes", "steps")
	if !ok {
		return r.unanswered(check, "train")
	}
	a := Answer{Check: check, State: Fine, Figures: v,
		Says: fmt.Sprintf("%.0f steps went %.2f times through the training sequences", v["steps"], v["passes"])}
	switch {
	case v["passes"] > passesMax:
		a.State = Change
		a.Do = "add data, keep more of it, or take fewer steps: beyond about four passes repeated data help little"
	case v["passes"] < 1:
		a.State = Change
		a.Do = fmt.Sprintf("%s of the sequences were never seen: raise max_steps or batch_size if the window allows, "+
			"or filter harder, so that the best are seen", percent(1-v["passes"], 1))
	}
	return a
}

func stillFalling(r *Run) Answer {
	const check = "loss at the end of training"
	v, ok := r.values("train", "last_fall_nats", "last_fall_standard_error_nats", "steps")
	if !ok {
		if s := r.stage("train"); s != nil && s.Values["steps"] > 0 {
			return Answer{Check: check, State: Unknown, Says: fmt.Sprintf("%.0f steps are too few to see a trend at their end",
				s.Values["steps"]), Do: "raise train.max_steps to 32 or more"}
		}
		return r.unanswered(check, "train")
	}
	fall, e := v["last_fall_nats"], v["last_fall_standard_error_nats"]
	a := Answer{Check: check, State: Fine, Figures: v, Says: fmt.Sprintf(
		"over the last quarter of the steps the training loss falls by %.4f nats (standard error %.4f)", fall, e)}
	if fall > 2*e {
		a.State, a.Do = Change, "it still falls: raise train.max_steps as far as the window allows"
	}
	return a
}

func overfit(r *Run) Answer {
	const check = "select loss: overfit"
	v, ok := r.values("train", "select_best_nats", "select_last_nats", "select_best_step", "select_evaluations", "steps")
	if !ok {
		if r.stage("train") == nil {
			return r.missing(check, "train", "add train")
		}
		return Answer{Check: check, State: Unknown, Says: "no select loss was measured",
			Do: "add held_out, a quarter of which is for this, and set train.eval_steps"}
	}
	if v["select_evaluations"] < 3 {
		return Answer{Check: check, State: Unknown, Figures: v, Says: "the select loss was measured at both ends only",
			Do: fmt.Sprintf("set train.eval_steps, such as %.0f", max(1, v["steps"]/10))}
	}
	a := Answer{Check: check, State: Fine, Figures: v, Says: fmt.Sprintf("the select loss is lowest at step %.0f of %.0f: %.4f",
		v["select_best_step"], v["steps"], v["select_best_nats"])}
	if rise := v["select_last_nats"] - v["select_best_nats"]; v["select_best_step"] < v["steps"] && rise > 0 {
		a.State = Change
		a.Says += fmt.Sprintf(", and %.4f higher at the end", rise)
		a.Do = "the best weights were kept; take fewer steps, a lower learning rate, or more data"
	}
	return a
}

func skipped(r *Run) Answer {
	const check = "skipped batches"
	v, ok := r.values("train", "skipped_batches", "batches")
	if !ok {
		return r.unanswered(check, "train")
	}
	a := Answer{Check: check, State: Fine, Figures: v,
		Says: fmt.Sprintf("%.0f of %.0f batches had no finite loss and were skipped", v["skipped_batches"], v["batches"])}
	if v["skipped_batches"] > 0 {
		a.State = Change
		a.Do = "the report names the documents: drop empty and short rows with quality, or lower the learning rate"
	}
	return a
}

// rateRatio is by how much a learning rate may differ from the profile's.
const rateRatio = 3

func learningRate(r *Run) Answer {
	const check = "learning rate"
	rate, origin, ok := r.setting("train", "learning_rate")
	if !ok {
		return r.unanswered(check, "train")
	}
	a := Answer{Check: check, State: Fine, Figures: map[string]float64{"learning_rate": rate},
		Says: fmt.Sprintf("learning_rate is %g, from %s", rate, origin)}
	own, known := number(r.Profile["train.learning_rate"])
	if !known {
		a.State, a.Do = Unknown, "set network.profile, whose learning rate it would be compared with"
		return a
	}
	a.Figures["profile_learning_rate"] = own
	a.Says += fmt.Sprintf("; %s has %g", r.Network, own)
	if ratio := rate / own; ratio > rateRatio || ratio < 1.0/rateRatio {
		a.State = Change
		a.Do = fmt.Sprintf("it is %.3g times the profile's: try that with --set train.learning_rate=%g, and compare the "+
			"verdicts", ratio, own)
	}
	return a
}

func warmup(r *Run) Answer {
	const check = "warm-up"
	v, ok := r.values("train", "warmup_steps", "steps")
	wanted, origin, known := r.setting("train", "warmup_steps")
	if !ok || !known {
		return r.unanswered(check, "train")
	}
	v["warmup_steps_wanted"] = wanted
	a := Answer{Check: check, State: Fine, Figures: v, Says: fmt.Sprintf("%.0f of %.0f steps (%s)", v["warmup_steps"], v["steps"],
		percent(v["warmup_steps"], v["steps"]))}
	if wanted > v["warmup_steps"] {
		a.Says += fmt.Sprintf("; %s asks for %.0f, of which a tenth of the steps is the most that is used", origin, wanted)
	}
	return a
}

// groupFigures are what route has counted of one group.
type groupFigures struct {
	id                     int
	share, low, high, lift float64
}

func (r *Run) groups() []groupFigures {
	s := r.stage("route")
	if s == nil {
		return nil
	}
	var out []groupFigures
	for _, name := range slices.Sorted(maps.Keys(s.Values)) {
		id, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(name, "group_"), "_lift"))
		if err != nil {
			continue
		}
		of := func(what string) float64 { return s.Values[fmt.Sprintf("group_%d_%s", id, what)] }
		out = append(out, groupFigures{id, of("share"), of("share_low"), of("share_high"), of("lift")})
	}
	return out
}

func group(r *Run) Answer {
	const check = "expert group"
	groups := r.groups()
	if len(groups) == 0 {
		if r.stage("route") == nil {
			return r.missing(check, "route", "add route and network.expert_groups: it ranks the groups by activation")
		}
		return Answer{Check: check, State: Unknown, Says: "route ranked no groups", Do: "set network.expert_groups"}
	}
	v, ok := r.values("train", "expert_group")
	if !ok {
		return Answer{Check: check, State: Unknown,
			Says: fmt.Sprintf("route ranked %d groups, but train recorded none", len(groups)),
			Do:   "set network.expert_group to a number or auto"}
	}
	at := slices.IndexFunc(groups, func(g groupFigures) bool { return float64(g.id) == v["expert_group"] })
	if at < 0 {
		return Answer{Check: check, State: Unknown, Says: fmt.Sprintf("route did not rank group %.0f", v["expert_group"]),
			Do: "check network.expert_groups"}
	}
	own := groups[at]
	best := slices.MaxFunc(groups, func(a, b groupFigures) int { return cmp.Compare(a.lift, b.lift) })
	a := Answer{Check: check, State: Fine, Says: fmt.Sprintf(
		"group %d was trained: %.4f of the activation (%.4f to %.4f), lift %.3f", own.id, own.share, own.low, own.high, own.lift),
		Figures: map[string]float64{"expert_group": float64(own.id), "share": own.share, "lift": own.lift,
			"best_group": float64(best.id), "best_lift": best.lift}}
	switch {
	case best.id != own.id && best.low > own.high:
		a.State = Change
		a.Do = fmt.Sprintf("group %d fits the data better: %.4f of the activation, lift %.3f; set network.expert_group: auto",
			best.id, best.share, best.lift)
	case own.lift < 1:
		a.State = Change
		a.Do = "the data avoids this group's experts: add keep_for_group, or data of the group's domain"
	}
	return a
}

func baseVersion(r *Run) Answer {
	const check = "version of the base"
	if r.stage("train") == nil {
		return r.missing(check, "train", "add train")
	}
	v, ok := r.values("train", "base_global_version")
	if !ok {
		return Answer{Check: check, State: Unknown,
			Says: "the update starts from the base model, not from a checkpoint of the network",
			Do: "set network.base.checkpoints to the folder of downloaded checkpoints: the validator's baseline moves each " +
				"cycle"}
	}
	return Answer{Check: check, State: Unknown, Figures: v,
		Says: fmt.Sprintf("the update starts from global version %.0f; the report does not know the newest",
			v["base_global_version"]),
		Do: "before submitting, bzdata check PLAN: with a newer checkpoint train is to be done again"}
}
