// Package stages holds the stages of a plan, one file each, named by the stage's key:
// a config struct, its documentation and example, and the few lines that join an
// algorithm of another package to the documents of a plan.
//
// A config struct is the only source of a stage's decoding, validation, JSON Schema and
// reference. The algorithms know nothing of plans: look for them in dedup, eval, train,
// tokenize and stages/quality.
//
// # Kept index
//
// A kept index is a folder with a folder for each kind of stage. There, a generation is the file
// GENERATION.json, of format 3, and the folder GENERATION@HASH of its files, cut by ranges of keys
// that the former states; package dedup says what is in one. A task opens those files whose range
// holds a key that it looks for, once it does, and 128 at a time at most. A generation of another
// format is refused by name. Nothing is ever removed but what a generation made again replaces.
//
// # Reading position
//
// WORKDIR/train-state/STAGE-KEY.json is how far a train stage has read the tokens of a data key, of which the
// name has 16 characters, in the windows of a network: data_key, order_seed and sequences, which name the order; window,
// the latest that read; from and to, the sequences drawn over all passes before and after it. It is written at
// the end of a run that has come to the end of its plan, and read by trainings in later windows. So is
// optimizer/STAGE.json beside it: window, and before and after, which name files of AdamW's moments in that folder
// with their SHA-256. What is in these says train.Optimizer.
//
// # From run to run in memory
//
// In a pipeline.Warm, train keeps the base model's weights that it has not trained, each with the files that it is
// of; the token shards that it has open; and how long steps and evaluations took, by which the next window goes
// in place of a calibration. See warm.go.
//
// # Validators' rows
//
// The output of validator_rows is the folder rows: token shards of one row a sequence, each row once, and rows.json:
// data_key, a hash of the rows' texts in order; first_seed and combined_seeds; sequences_of_seed, for each seed the
// numbers of its sequences in the order in which its validators read them; rows, which counts a row of several
// seeds as often; left_out by the profile's rules; short, why a seed has fewer rows than were asked for; mix, the data
// sets. A mirror's own format says package eval/mirror.
package stages

import (
	"strings"

	"bzdata/pipeline"
)

// All returns the registry of every stage.
func All() *pipeline.Registry {
	return pipeline.NewRegistry(
		normalizeSpec().Kind(),
		qualitySpec().Kind(),
		exactDedupSpec().Kind(),
		minhashSpec().Kind(),
		decontaminateSpec().Kind(),
		domainSpec().Kind(),
		spanDedupSpec().Kind(),
		execSpec().Kind(),
		piiSpec().Kind(),
		urlFilterSpec().Kind(),
		mixSpec().Kind(),
		keepForGroupSpec().Kind(),
		exportSpec().Kind(),
		publishSpec().Kind(),
		routeSpec().Kind(),
		tokenizeSpec().Kind(),
		tokensSpec().Kind(),
		trainSpec().Kind(),
		validatorRowsSpec().Kind(),
		proofOfLossSpec().Kind(),
		bundleSpec().Kind(),
	)
}

// code writes ‹name› as Markdown writes code, which a raw string of Go cannot hold.
func code(doc string) string { return strings.NewReplacer("‹", "`", "›", "`").Replace(doc) }

// documentsOnly is what a stage that curates documents takes and makes.
var documentsOnly = []pipeline.Data{pipeline.Documents}

// uses is what a stage reads under any plan.
func uses(kinds ...pipeline.Data) func(*pipeline.Plan) []pipeline.Data {
	return func(*pipeline.Plan) []pipeline.Data { return kinds }
}

// bytesPerPart is how much input text one partition of an exchange stands for. At
// a few per cent of the text in records, a partition fits a small memory budget.
const bytesPerPart = 256 << 20

// partsOf cuts an exchange by the size of the input.
func partsOf(inputBytes int64) int { return int(1 + inputBytes/bytesPerPart) }
