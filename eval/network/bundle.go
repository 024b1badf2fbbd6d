package network

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"bzdata/train/checkpoint"
)

// Bundle says which files a network takes and under which names. In names, {group},
// {version} and {step} stand for the fields of [BundleID].
type Bundle struct {
	Directory          string       `yaml:"directory"`
	Files              []BundleFile `yaml:"files"`
	BytesMax           int64        `yaml:"bytes_max"`            // of all files; 0 is no limit
	Commit             string       `yaml:"commit"`               // connito, blockzero, or none
	CommitBytesMax     int          `yaml:"commit_bytes_max"`     // 0 is no limit
	RepositoryCharsMax int          `yaml:"repository_chars_max"` // 0 is no limit
}

// BundleFile is a file of a bundle.
type BundleFile struct {
	Role   string `yaml:"role" json:"role"`     // update or model
	Name   string `yaml:"name" json:"name"`     // base name
	Format string `yaml:"format" json:"format"` // torch or safetensors
	Bytes  int64  `yaml:"-" json:"bytes"`
	SHA256 string `yaml:"-" json:"sha256"` // hexadecimal
}

// BundleID names an update.
type BundleID struct {
	Group   int `json:"expert_group"`
	Version int `json:"global_version"` // of the base that was trained from
	Step    int `json:"inner_step"`     // optimizer step after which the weights were these
}

func (b Bundle) check() error {
	formats := []string{"torch", "safetensors"}
	for _, f := range b.Files {
		if f.Role == "" || !slices.Contains(formats, f.Format) {
			return fmt.Errorf("bundle.files: %q needs a role and a format of %v", f.Name, formats)
		}
	}
	for _, name := range append([]string{b.Directory}, b.names()...) {
		plain := expand(name, BundleID{})
		isName := plain == filepath.Base(plain) && plain != "." && plain != ".."
		if !isName || strings.ContainsAny(plain, "{}") {
			return fmt.Errorf("bundle: %q is no name of a file, or has an unknown {field}", name)
		}
	}
	if !slices.Contains([]string{"", "connito", "blockzero"}, b.Commit) {
		return fmt.Errorf("bundle.commit: unknown %q", b.Commit)
	}
	return nil
}

func (b Bundle) names() []string {
	var out []string
	for _, f := range b.Files {
		out = append(out, f.Name)
	}
	return out
}

func expand(name string, id BundleID) string {
	return strings.NewReplacer("{group}", strconv.Itoa(id.Group),
		"{version}", strconv.Itoa(id.Version), "{step}", strconv.Itoa(id.Step)).Replace(name)
}

// Layout returns the names of an update's folder and files.
func (p *Profile) Layout(id BundleID) (directory string, files []BundleFile) {
	for _, f := range p.Bundle.Files {
		f.Name = expand(f.Name, id)
		files = append(files, f)
	}
	return expand(p.Bundle.Directory, id), files
}

// CheckpointFiles lists the files of weights, by their names without extension, that a checkpoint
// folder of the network must have: those that are submitted, of the given expert group, or without
// those of a group if there is none.
func (p *Profile) CheckpointFiles(group *int) []string {
	var out []string
	for _, f := range p.Bundle.Files {
		name := strings.TrimSuffix(f.Name, filepath.Ext(f.Name))
		if strings.Contains(name, "{group}") {
			if group == nil {
				continue
			}
			name = expand(name, BundleID{Group: *group})
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// BundleManifest describes a bundle; it is written beside the bundle's folder, never in
// it, since networks read every file there.
type BundleManifest struct {
	Profile   string       `json:"profile"`
	Directory string       `json:"directory"`
	ID        BundleID     `json:"id"`
	GroupWhy  string       `json:"expert_group_chosen,omitempty"` // why, where routing has chosen the group
	StepsRun  int          `json:"steps_run"`                     // optimizer steps of the training, at least ID.Step
	DType     string       `json:"dtype"`
	Naming    string       `json:"naming"`
	HashKind  string       `json:"hash_kind"`
	Hash      string       `json:"hash"`
	Tensors   int          `json:"tensors"`
	Files     []BundleFile `json:"files"`
	// Base is the network's checkpoint that was trained from, if there was one.
	Base *checkpoint.FolderName `json:"base_checkpoint,omitempty"`
}

// NewBundleManifest fills in what the profile decides; StepsRun, Hash, Tensors and the files'
// Bytes and SHA256 are left to the writer.
func (p *Profile) NewBundleManifest(id BundleID) *BundleManifest {
	directory, files := p.Layout(id)
	return &BundleManifest{Profile: p.Name, Directory: directory, ID: id, DType: p.Update.DType,
		Naming: p.Update.Naming, HashKind: p.Update.Hash, Files: files}
}

// Encode writes the manifest as indented JSON, the same bytes for the same manifest.
func (m *BundleManifest) Encode() ([]byte, error) {
	out, err := json.Marshal(m, json.Deterministic(true), jsontext.WithIndent("  "))
	return append(out, '\n'), err
}

// ParseBundleManifest reads what [BundleManifest.Encode] wrote; unknown members are errors.
func ParseBundleManifest(data []byte) (*BundleManifest, error) {
	m := &BundleManifest{}
	if err := json.Unmarshal(data, m, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("bundle manifest: %w", err)
	}
	return m, nil
}

// Commit is what a miner puts on the chain about an update.
type Commit struct {
	ID         BundleID
	Hash       string
	Block      int64  // blockzero only
	Repository string // connito only: OWNER/NAME
	Revision   string // connito only: the first 7 digits of the repository's commit
}

// CommitMessage returns the JSON text of the network's second commit, byte for byte as its
// own software writes it, and checks the network's limits. Signing and sending it is the
// miner's own software's work.
func (p *Profile) CommitMessage(c Commit) (string, error) {
	if err := checkPlain(c.Hash, c.Repository, c.Revision); err != nil {
		return "", err
	}
	var text string
	switch p.Bundle.Commit {
	case "connito":
		if limit := p.Bundle.RepositoryCharsMax; limit > 0 && len(c.Repository) > limit {
			return "", fmt.Errorf("repository %q has %d characters; the network takes %d",
				c.Repository, len(c.Repository), limit)
		}
		text = fmt.Sprintf(`{"e":%d,"h":"%s","v":%d,"r":"%s","rv":"%s"}`, c.ID.Group, c.Hash,
			c.ID.Version, c.Repository, c.Revision)
	case "blockzero":
		text = fmt.Sprintf(`{"b": %d, "e": %d, "m": null, "h": "%s", "v": %d, "i": %d}`,
			c.Block, c.ID.Group, c.Hash, c.ID.Version, c.ID.Step)
	default:
		return "", fmt.Errorf("profile %s has no commit message", p.Name)
	}
	if limit := p.Bundle.CommitBytesMax; limit > 0 && len(text) > limit {
		return "", fmt.Errorf("commit message of %d bytes; the network takes %d: "+
			"shorten the repository's name", len(text), limit)
	}
	return text, nil
}

// checkPlain refuses texts that JSON would have to escape.
func checkPlain(texts ...string) error {
	for _, t := range texts {
		for _, r := range t {
			if r < ' ' || r > '~' || r == '"' || r == '\\' {
				return fmt.Errorf("commit message: %q must be plain ASCII", t)
			}
		}
	}
	return nil
}
