package pipeline

import "bzdata/pipeline/store"

// Evaluate is the section evaluate: whose rows judge the update. It stands in the plan and not in a stage because
// several go by it: the one that makes the exam, the one that judges, and, for their warnings, those that choose
// training text.
type Evaluate struct {
	SourcesFrom    Path `yaml:"sources_from" doc:"An expert group's config.yaml, whose data sets, weights and shares are those of the validators; none for a network whose profile names them, such as Subnet 9."`
	Mirror         Path `yaml:"mirror" required:"true" doc:"Local folder with the files of each data set in PATH/NAME or PATH below it, or its pages; bzdata mirror fills it."`
	Rows           int  `yaml:"rows" min:"1" max:"1000000" doc:"Rows of each seed, at most; of Subnet 9 it is pages, as many as the profile says."`
	Seeds          int  `yaml:"seeds" min:"1" max:"100" doc:"Seeds by which validators would choose rows: they are derived from seed, seed + 1, and so on. Rows of several seeds are judged once."`
	SequenceLength int  `yaml:"sequence_length" min:"8" network:"tokenize.sequence_length" doc:"Tokens of a row; longer rows are cut as the profile says."`
}

// SetDefaults sets the number of rows and seeds.
func (e *Evaluate) SetDefaults() { e.Rows, e.Seeds, e.SequenceLength = 2000, 3, 1024 }

// Check asks for a network, and for files that are there already.
func (e *Evaluate) Check(at *Fields) {
	if at.Plan().Network.Profile == "" {
		at.Errorf("", "the rows are those of a network's validators, and the plan names no network; set network.profile")
	}
	const local = "must be local, since a window leaves no time for downloads; "
	if store.IsRemote(string(e.SourcesFrom)) {
		at.Errorf("sources_from", local+"download the file before")
	}
	if store.IsRemote(string(e.Mirror)) {
		at.Errorf("mirror", local+"name a folder, which bzdata mirror fills")
	}
}
