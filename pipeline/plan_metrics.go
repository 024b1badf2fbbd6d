package pipeline

// Metrics is the section metrics: how a run tells what it measures while it trains. It stands in the
// plan and not in a stage because two stages write the same files, and because nothing of it is in a
// key: another format does not train again.
type Metrics struct {
	Formats      []string `yaml:"formats" enum:"csv|tensorboard|prometheus" doc:"What is written while training beside the JSON lines WORKDIR/metrics/NAME-ID.jsonl: a CSV file with Block Zero's columns, TensorBoard event files, a file for Prometheus' node exporter."`
	WandB        bool     `yaml:"wandb" doc:"Write an offline run of Weights & Biases, too; wandb sync WORKDIR/wandb/offline-run-… uploads it."`
	WandBProject string   `yaml:"wandb_project" doc:"Project of Weights & Biases."`
	RankFile     Path     `yaml:"rank_file" doc:"File that holds the miner's rank in its expert group, a number such as 3, for chain/rank_in_group; read when the proof of loss is done."`
}
