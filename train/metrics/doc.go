// Package metrics writes what is measured during a training run, a [Row] a step, in the formats of
// the tools that show it. It knows numbers by name, not the loop that they come from.
//
// # Files
//
// Below the work directory, for a run of name NAME and the ID that tells its repetitions apart:
//
//	metrics/NAME-ID.jsonl                   JSON lines: always, all else is made of them
//	metrics/NAME-ID.csv                     CSV under Block Zero's column names
//	metrics/tensorboard/NAME-ID/events.…    TensorBoard event file
//	metrics/NAME.prom                       newest values, Prometheus text format 0.0.4
//	wandb/offline-run-TIME-WID/run-WID.wandb   offline run that `wandb sync` uploads
//
// A line is one object: step, time (RFC 3339, UTC, milliseconds), numbers by name, and under
// moe/expert_load the positions that each expert of a layer got:
//
//	{"step":1,"time":"2026-01-02T03:04:05.678Z","train/loss":3.2,"moe/expert_load":{"0":[5,0,3]}}
//
// Numbers that are not finite are left out, since JSON has none.
//
// # Going on
//
// [Open] keeps the lines up to a step, and makes the other files anew from them: so a format that is
// asked for later has the whole run, and there is one reader to trust. A line that a crash cut
// short, and all after it, count as not written. The old file stays until the new one has more than
// it kept: whatever the moment of a crash, the lines up to the last [Log.Sync] are there.
//
// No failure of writing ends anything: [Options.Warn] gets one line about it, and the format that
// failed is left off for the rest of the run.
package metrics
