package doctor

import (
	"fmt"

	"bzdata/pipeline"
)

// dropped is the answer to a line that one stage's ledger answers.
func (r *Run) dropped(check, kind, what, add string) Answer {
	s := r.stage(kind)
	if s == nil || s.Ledger == nil {
		return r.missing(check, kind, add)
	}
	in, gone := int64(0), int64(0)
	for _, s := range r.Stages { // a plan may have several of the kind
		if s.Kind == kind && s.Ledger != nil {
			in, gone = max(in, s.Ledger.In), gone+s.Ledger.DroppedSum()
		}
	}
	return Answer{Check: check, State: Fine, Figures: map[string]float64{"documents": float64(in), "dropped": float64(gone)},
		Says: fmt.Sprintf("%s dropped %d of %d documents (%s) as %s", kind, gone, in, percent(float64(gone), float64(in)), what)}
}

func nearCopies(r *Run) Answer {
	return r.dropped("near copies", "minhash", "near copies", "add minhash, which finds and drops them")
}

func exactCopies(r *Run) Answer {
	return r.dropped("exact copies", "exact_dedup", "copies", "add exact_dedup, which finds and drops them")
}

func offDomain(r *Run) Answer {
	return r.dropped("off-domain text", "domain", "off the domain",
		"add domain with reference: rows of the text that the validator scores")
}

func leak(r *Run) Answer {
	const check = "held-out text in training"
	if v, ok := r.values("proof_of_loss", "exam_rows_trained", "documents"); ok && v["exam_rows_trained"] > 0 {
		return Answer{Check: check, State: Change, Figures: v,
			Says: fmt.Sprintf("%.0f of the %.0f rows of the validators' exam have text that was trained on",
				v["exam_rows_trained"], v["documents"]),
			Do: "hold the mirror's files out (held_out: [{path: …}]), so that decontaminate drops what overlaps with them"}
	}
	if r.stage("held_out_set") == nil && !r.planned("held_out_set") && !r.planned("tokens") {
		return Answer{Check: check, State: Unknown, Says: "the plan holds no documents out",
			Do: "add held_out; decontaminate then keeps training text apart from it"}
	}
	a := r.dropped(check, "decontaminate", "overlapping with held-out text", "add decontaminate before tokenize")
	if a.State == Unknown && !r.planned("decontaminate") && !r.planned("tokens") {
		a.State = Change
	}
	return a
}

// rejectMax is the share of malformed records above which the input is worth a look.
const rejectMax = 0.001

func malformed(r *Run) Answer {
	a := Answer{Check: "malformed and poor rows", State: Fine}
	records, rejected := int64(0), int64(0)
	for _, in := range r.Inputs {
		records, rejected = records+in.Records, rejected+in.Rejected
	}
	if records == 0 && r.planned("tokens") {
		return r.earlier(a.Check)
	}
	if records == 0 {
		a.State, a.Says, a.Do = Unknown, "the report does not say how many records were read", "run the plan again"
		return a
	}
	a.Figures = map[string]float64{"records": float64(records), "rejected": float64(rejected)}
	a.Says = fmt.Sprintf("%d of %d records are malformed", rejected, records)
	if float64(rejected) > rejectMax*float64(records) {
		a.State, a.Do = Change, "see rejects/ in the work directory, and mend what wrote them"
	}
	q := r.stage("quality")
	if q == nil || q.Ledger == nil {
		a.Says += "; no quality stage looked at the text"
		if a.State == Fine {
			a.State, a.Do = Unknown, "add quality, such as {preset: connito}"
		}
		return a
	}
	a.Says += fmt.Sprintf("; quality dropped %d of %d documents", q.Ledger.DroppedSum(), q.Ledger.In)
	return a
}

// Shares of tokens from which cutting and padding are worth a change.
const (
	cutMax = 0.05
	padMax = 0.25
)

func truncation(r *Run) Answer {
	const check = "token lengths: truncation"
	v, ok := r.values("tokenize", "train_tokens", "train_truncated_tokens", "train_documents", "train_truncated_documents")
	if !ok {
		return r.unanswered(check, "tokenize")
	}
	length, origin, _ := r.setting("tokenize", "sequence_length")
	cut, all := v["train_truncated_tokens"], v["train_tokens"]+v["train_truncated_tokens"]
	a := Answer{Check: check, State: Fine, Figures: v, Says: fmt.Sprintf(
		"%s of the training tokens, of %.0f of %.0f documents, are cut off at sequence_length %.0f", percent(cut, all),
		v["train_truncated_documents"], v["train_documents"], length)}
	if cut > cutMax*all {
		a.State = Change
		a.Do = "raise tokenize.sequence_length, cut long documents up before, or set packing: eos-concat, if the network " +
			"evaluates so"
		if origin == r.Network && origin != "" {
			a.Do = fmt.Sprintf("%s evaluates at this length: cut long documents into rows of their own before", origin)
		}
	}
	return a
}

func padding(r *Run) Answer {
	const check = "token lengths: padding"
	v, ok := r.values("tokenize", "train_tokens", "train_padding")
	if !ok {
		return r.unanswered(check, "tokenize")
	}
	all := v["train_tokens"] + v["train_padding"]
	a := Answer{Check: check, State: Fine, Figures: v,
		Says: fmt.Sprintf("%s of the places in training sequences are padding", percent(v["train_padding"], all))}
	if v["train_padding"] > padMax*all {
		a.State = Change
		a.Do = "lower tokenize.sequence_length to what the documents need, or set packing: best-fit or eos-concat: steps take " +
			"less time"
	}
	return a
}

// unanswered is the answer where a stage or its figures are missing.
func (r *Run) unanswered(check, kind string) Answer {
	if r.stage(kind) == nil {
		return r.missing(check, kind, "add "+kind+", which counts it")
	}
	return unrecorded(check, kind)
}

func bundled(r *Run) Answer {
	const check = "bundle and its hash"
	s := r.stage("bundle")
	if s == nil {
		return r.missing(check, "bundle", "add bundle: it checks names, shapes and types, and prints the hash to commit to")
	}
	return Answer{Check: check, State: Fine, Says: "bundle is written, hash " + figure(s, "hash"),
		Do: "commit to this hash, and run bzdata verify on the folder before upload"}
}

// figure is the value of a stage's figure of a name.
func figure(s *pipeline.StageResult, name string) string {
	for _, f := range s.Summary {
		if f.Name == name {
			return f.Value
		}
	}
	return "not recorded"
}
