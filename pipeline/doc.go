// Package pipeline turns a plan into tasks and carries them out: specs of stages, the
// plan and its mistakes, the engine, stage keys, the ledger, resume.
//
// # The picture
//
//	plan.yaml ─ ParsePlan ─► Plan ─ build ─► waves of tasks ─ Run ─► stages/KEY/… ─ links ─► out/
//
// A stage is declared once, as a [Spec] whose config struct is decoder, checks, schema and
// reference. It compiles to a [Program]: passes over the documents with barriers
// between them, or one artifact task.
//
//	input files        one shard each, or several; a document's id is (source, path, record)
//	   │ pass │ pass │  passes of neighbouring stages fuse into one reading: a segment
//	   ▼      ▼      ▼
//	exchange           small (key, payload) records, sorted by both, cut into partitions
//	   │ Reduce, Global
//	   ▼
//	decisions          about documents, by id; the stage's next pass carries them out
//	   │
//	artifact           export, route, tokenize, validator_rows, train, proof_of_loss, bundle
//
// A task is known by its [Key]: stage name and version, canonical config or the part of it
// that a pass or barrier says it depends on, seed, the keys of what it reads and the
// identities of its files. A finished task is a folder
// stages/KEY with its outputs and report.json, committed by one rename; a run lays out
// all keys first and executes those that are not there. So resuming, editing a plan and
// adding a file are one mechanism: memory by content. An interrupted task leaves only a
// temporary folder, which the next run replaces.
//
// A plain file of 128 MiB or more is cut into ranges of 64 to 128 MiB, and a Parquet file into
// runs of row groups, a shard each: so that one file uses every core, a shard is bounded and an
// interrupted run goes on inside the file. Cuts follow from the file's size alone, and records
// keep their numbers in the file: small tasks count the lines of a range, and hash it, just
// before it is read. A limit of few documents leaves files whole, and remote files of lines stay
// whole. See engine_cut.go.
//
// An input file is known by its place, size and time. One that an earlier run has read and
// that has only another time now is compared by SHA-256, and is the same file if that is; a
// Parquet file of which only some columns were read has none, and is read again. A remote file
// is known by its entity tag in place of the time; see store/remote.
//
// What stages read beside documents, such as a tokenizer or weights, is known by content up to 64 MiB, and
// beyond by place, size and time; token shards always by the latter. The content of a file is hashed once for
// a work directory: WORKDIR/identities.json remembers it with size and time, unless the time is so young that
// the file may change within it.
//
// Between segments documents are stored once, by the segment that read or edited them;
// later segments store only which of them are left.
//
// A variant of a plan leaves a stage or a source out, or sets a stage otherwise, to find out what that was good
// for; see plan_variant.go. It has the plan's held-out set to the last document, and publishes nothing.
//
// Runs that follow each other in one process may hand on a [Warm], in which stages keep what they would read
// again, such as weights. It is named by what the files are known by, is in no key, and changes no result.
//
// # Accounts
//
// Every task that sees documents has a [Ledger] for each of its stages, and the run
// checks that each balances and that every pass saw exactly what the one before kept.
//
// # Same bytes
//
// Keys, partition counts and orders follow from the plan and the input alone. Nothing
// under out/ holds a time, host, path, worker count or speed. Random choices are hashes of
// (seed, stage, document id); see [HashID]. What a run measures by the clock lies beside its record,
// in WORKDIR/metrics and WORKDIR/wandb; the section metrics says in which forms, and is in no key.
package pipeline
