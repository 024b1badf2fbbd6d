package stages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"bzdata/eval"
	"bzdata/eval/network"
	"bzdata/pipeline"
	"bzdata/pipeline/store"
)

// Bundle is the configuration of the bundle stage.
type Bundle struct {
	Version       int            `yaml:"global_version" min:"0" doc:"The network's number of the base that was trained from; it becomes part of the folder's name. With network.base.checkpoints it is that of the checkpoint."`
	Repository    string         `yaml:"repository" doc:"OWNER/NAME of the public repository that the bundle will be uploaded to, for the commit message. Connito takes 32 characters, Subnet 9 38 without the slash."`
	Revision      string         `yaml:"revision" doc:"Commit of that repository, in hexadecimal, for the commit message. It is known once the bundle is uploaded."`
	Block         int64          `yaml:"block" min:"0" doc:"Number of the block at which the update is committed, for the messages of Block Zero."`
	Hotkey        string         `yaml:"hotkey" doc:"SS58 address of the miner's hotkey, which is public: Subnet 9 commits a hash over it."`
	CompareWith   pipeline.Paths `yaml:"compare_with" doc:"Other updates, .safetensors or .pt files, folders of them, or a pattern such as submitted/*.pt, with tensors as the network names them, such as those of earlier cycles: an update equal to one of them, or nearly so, is refused."`
	CosineMax     float64        `yaml:"cosine_max" min:"-1" max:"1" doc:"Greatest cosine between what the update and one of compare_with change of the base. The networks state no limit; 0.99 is ours."`
	EvenIfRefused bool           `yaml:"even_if_refused" doc:"Write the bundle although proof_of_loss refused the update, or it is a copy. The run ends with exit code 4 all the same, and the manifest says why. What a validator would reject is never written."`
}

func bundleSpec() pipeline.Spec[Bundle] {
	return pipeline.Spec[Bundle]{
		Name: "bundle", Version: 4,
		Summary: "Lays the update out as the network takes it, with its hash and a manifest.",
		Doc: code(`
Writes under out/bundle the folder that the network expects: ‹.safetensors› files are the very bytes that
‹proof_of_loss› judged, ‹.pt› files hold the same values as ‹{"model_state_dict": …}›, of plain tensors only; Subnet 9
gets the whole model, base and update, with its config.json. Beside the folder, never in it, are manifest.json
with names, sizes, SHA-256 and the hash by which the network knows the update, and the network's commit messages,
unsigned and checked against its limits. What is not known yet, such as the signature, stands as ‹<signature>› in a file
named .template, and the manifest says what to fill in: signing and sending is your own software's work.
Keys: ‹repository›, ‹revision›, ‹block›, ‹hotkey›.

An update that a validator would reject is refused with exit code 4: foreign tensors, shapes, values that are no
numbers, a type that the network cannot hash, a model of another size or architecture than it allows. So is one that
scores nothing: a copy of the base, one of an older base, and one equal to a file of ‹compare_with› or with a
cosine above ‹cosine_max› to it. One that ‹proof_of_loss› has not judged is a mistake of the plan, exit code 2.
‹bzdata verify› checks a bundle again.`),
		Example: `
bundle:
  global_version: 12
  repository: miner/math
  compare_with: submitted/*.safetensors`,
		Takes: []pipeline.Data{pipeline.Update, pipeline.Score}, Makes: []pipeline.Data{pipeline.Bundle},
		Default: Bundle{CosineMax: 0.99},
		New:     func(c Bundle) (pipeline.Program, error) { return c.program(), nil },
	}
}

// Check looks at the form of what goes into the messages, and at the network's limits where they are
// built in.
func (c *Bundle) Check(at *pipeline.Fields) {
	var p *network.Profile
	if name := at.Plan().Network.Profile; name != "" && !network.IsFile(name) {
		p, _ = network.Load(name) // an unknown name is reported where it stands
	}
	check := func(key string, s network.Submission) {
		if err := s.Check(p); err != nil {
			at.Errorf(key, "%v", err)
		}
	}
	check("repository", network.Submission{Repository: c.Repository})
	check("revision", network.Submission{Revision: c.Revision})
	check("hotkey", network.Submission{Hotkey: c.Hotkey})
}

func (c Bundle) program() pipeline.Program {
	return pipeline.Program{
		Reads: func(p *pipeline.Plan) []pipeline.Read {
			return append(readBase(p), readProfile(p), readGroup(p),
				pipeline.Read{Name: compareRead, Paths: c.CompareWith, Optional: true, Find: findUpdates})
		},
		Run: c.run, Uses: uses(pipeline.Update, pipeline.Score), SkipsDocuments: true, EvenIfRefused: c.EvenIfRefused,
		Links: []pipeline.Link{{Name: "out/bundle", From: "bundle"}},
	}
}

// compareRead names the files of other updates.
const compareRead = "compare_with"

// manifestName is the manifest beside a bundle's folder.
const manifestName = "manifest.json"

// bundling is a bundle being made.
type bundling struct {
	Bundle
	t        *pipeline.Task
	update   *Update
	base     *baseModel
	profile  *network.Profile // nil without
	manifest *network.BundleManifest
}

func (c Bundle) run(_ context.Context, t *pipeline.Task) (err error) {
	b := &bundling{Bundle: c, t: t}
	if b.update, err = OpenUpdate(t.FS, updateDir(t)); err != nil {
		return err
	}
	defer b.update.Close()
	verdict, err := judged(t)
	if err != nil {
		return err
	}
	if b.profile, err = profileOf(t); err != nil {
		return err
	}
	if b.base, err = openWeights(t); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.base.Close()) }()
	if err := b.newManifest(); err != nil {
		return err
	}
	if verdict.Outcome != eval.Improves {
		b.manifest.Refused = append(b.manifest.Refused, "the gate refuses the update: "+verdict.String())
	}
	if goOn, err := b.check(); err != nil || !goOn {
		return err
	}
	return b.write()
}

// judged refuses an update other than the one that proof_of_loss has judged: a plan may
// train again after it.
func judged(t *pipeline.Task) (eval.Verdict, error) {
	name := filepath.Join(t.Input(pipeline.Score), scoreName)
	data, err := store.ReadAll(t.FS, name)
	if err != nil {
		return eval.Verdict{}, err
	}
	var of struct {
		Update  string       `json:"update_sha256"`
		Verdict eval.Verdict `json:"verdict"`
	}
	if err := json.Unmarshal(data, &of); err != nil {
		return eval.Verdict{}, fmt.Errorf("%s: %w", name, err)
	}
	got, err := updateSHA256(t)
	if err == nil && got != of.Update {
		err = &pipeline.UsageError{Msg: fmt.Sprintf("bundle: the update with SHA-256 %.12s… was not judged, but the "+
			"one with %.12s… was; put a proof_of_loss stage between the last train stage and bundle", got, of.Update)}
	}
	return of.Verdict, err
}

// newManifest names the bundle's folder and files by the profile.
func (b *bundling) newManifest() error {
	meta := b.update.Meta
	version, err := b.version(meta)
	if err != nil {
		return err
	}
	id := network.BundleID{Version: version, Step: meta.Steps} // of the weights, whatever steps followed
	if g := b.t.Plan.Network.ExpertGroup; g != nil {
		id.Group = g.ID
	}
	if meta.Group != nil {
		id.Group = *meta.Group
	}
	m := &network.BundleManifest{Directory: "update", ID: id, HashKind: "blake2b-24",
		Files: []network.BundleFile{{Role: "update", Name: "model.safetensors", Format: "safetensors"}}}
	if b.profile != nil {
		m = b.profile.NewBundleManifest(id)
	}
	m.GroupWhy, m.Assignment = meta.GroupWhy, meta.Assignment
	m.DType, m.Naming, m.StepsRun, m.Base = meta.DType, meta.Naming, meta.StepsRun, meta.Base
	b.manifest = m
	return nil
}

// version is the network's number of the base that was trained from.
func (c Bundle) version(meta UpdateMeta) (int, error) {
	switch {
	case meta.Base == nil:
		return c.Version, nil
	case c.Version != 0 && c.Version != meta.Base.Version:
		return 0, &pipeline.UsageError{Msg: fmt.Sprintf("bundle.global_version is %d, but the update was trained from %s; "+
			"leave it out", c.Version, meta.Base.Folder)}
	}
	return meta.Base.Version, nil
}

// refuse ends the stage with a refusal. It returns whether the bundle is written even so: what a validator
// rejects never is.
func (b *bundling) refuse(fatal bool, what string, reasons []string) (goOn bool) {
	if len(reasons) == 0 {
		return true
	}
	b.t.Report.Refused = what + strings.Join(reasons[:min(3, len(reasons))], "; ")
	b.manifest.Refused = append(b.manifest.Refused, b.t.Report.Refused)
	return b.EvenIfRefused && !fatal
}
