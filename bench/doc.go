// Command bench measures bzdata against other programs and libraries that do the same
// work, and writes the ratios to RESULTS.md: one command for each claim.
//
//	go run . [flags] jsonl | quality | minhash | exact | parquet | all
//
// # How a claim is measured
//
// The corpus is one that "bzdata sample" makes, so that anybody can make the same.
// Contenders take turns, A B C A B C …, each run a process of its own; its processor time
// (user and system, children included), wall time and peak resident memory are what the
// operating system says of it (getrusage). A ratio is taken within a round, and the
// median, least and greatest of all rounds are stated. Where a claim is per core, every
// process is pinned to the same one.
//
// Nothing is subtracted from a run of bzdata. Other contenders also say how much
// processor time passed before their work began, importing modules and loading models;
// a ratio "after start-up" leaves that out, to bzdata's disadvantage, and it is the one
// held against a bar.
//
// Speed is stated beside what came out: rows kept, and for deduplication how many of the
// planted copies were found.
//
// # Peers
//
// Peers in Go are linked into this module, and run as "bench worker NAME". Those in Python
// are drivers in peers/, each in a virtual environment made with what
// peers/requirements-NAME.txt names. A peer that cannot be installed or fails is reported
// with the reason, and a bar that needs it counts as not shown.
//
// The module is one of its own, so that no peer is a dependency of bzdata.
package main
