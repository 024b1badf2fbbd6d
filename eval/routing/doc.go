// Package routing decides which experts a body of text uses, and so which to train: expert
// specialised fine-tuning, ESFT ("Let the Expert Stick to His Last", arXiv 2407.01906;
// code: deepseek-ai/ESFT at 579a771).
//
// An [Accumulator] is fed router records, the experts and weights chosen for each token,
// and yields per layer l and expert e, for N tokens of k experts each,
//
//	token score = round(count(l,e) / (k·N), 4)       a layer's scores sum to 1
//	gate score  = round(Σ weight(l,e) / N, 4)        raw weights, not renormalised
//
// A [Rule] picks each layer's experts from one of the two. All tokens are pooled, as the
// code does; the paper describes a mean over samples. Scores are rounded to 4 decimals
// before the choice: the published configurations follow from rounded scores only, since
// experts that tie at 4 decimals are ordered by their id.
//
// Files are those of the ESFT repository: expert_weights_LAYER.txt (records), summary.json
// (scores, [Scores.Encode]) and expert configurations ([Config.Encode]), written byte for
// byte as published.
//
// [Accumulator.Balance] measures how evenly a layer spreads its load, a [Ranking] how much of
// the activation, of a text or of one document, falls on each expert group, and [Sources] how
// differently bodies of text route. A [Config] becomes an expert group's assignment and back by
// [Config.Assignment] and [ConfigOf].
package routing
