// Package store reads and writes everything that bzdata keeps on disk: shards of
// JSONL and Parquet, compression, YAML with positions, and durable files.
//
// It knows nothing of pipelines. Every durable write of the program goes through
// an [FS], so that tests can replace the disk by one that loses power between any
// two operations (see [NewCrashFS]).
//
// A durable file is written under a temporary name, synced, renamed to its final
// name, and its directory is synced: after a crash it is there whole or not at all.
// [WriteFile] does just that. A directory is committed the same way by [CommitDir].
package store
