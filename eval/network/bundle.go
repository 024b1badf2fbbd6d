package network

import (
	"errors"
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
	DTypes             []string     `yaml:"dtypes"`               // types that the network can hash; none stands for any
	BytesMax           int64        `yaml:"bytes_max"`            // of all files; 0 is no limit
	Commit             string       `yaml:"commit"`               // connito, blockzero, blockzero-docs, sn9, or none
	CommitBytesMax     int          `yaml:"commit_bytes_max"`     // 0 is no limit
	RepositoryCharsMax int          `yaml:"repository_chars_max"` // 0 is no limit; see [Profile.CheckRepository]
	Competition        *int         `yaml:"competition"`          // sn9: the number that its commit ends in
}

// BundleFile is a file of a bundle.
type BundleFile struct {
	Role   string `yaml:"role" json:"role"`     // update, model for all of the weights, or config
	Name   string `yaml:"name" json:"name"`     // base name
	Format string `yaml:"format" json:"format"` // torch, safetensors, or json for the base's file of that name
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
	formats, roles := []string{"torch", "safetensors", "json"}, []string{"update", "model", "config"}
	for _, f := range b.Files {
		if !slices.Contains(roles, f.Role) || !slices.Contains(formats, f.Format) {
			return fmt.Errorf("bundle.files: %q needs a role of %v and a format of %v", f.Name, roles, formats)
		}
		if (f.Role == "config") != (f.Format == "json") {
			return fmt.Errorf("bundle.files: %q is of role %s, which cannot be %s", f.Name, f.Role, f.Format)
		}
	}
	for _, d := range b.DTypes {
		if _, err := checkpoint.ParseDType(d); err != nil {
			return fmt.Errorf("bundle.dtypes: %w", err)
		}
	}
	for _, name := range append([]string{b.Directory}, b.names()...) {
		plain := expand(name, BundleID{})
		isName := plain == filepath.Base(plain) && plain != "." && plain != ".."
		if !isName || strings.ContainsAny(plain, "{}") {
			return fmt.Errorf("bundle: %q is no name of a file, or has an unknown {field}", name)
		}
	}
	if !slices.Contains([]string{"", "connito", "blockzero", "blockzero-docs", "sn9"}, b.Commit) {
		return fmt.Errorf("bundle.commit: unknown %q", b.Commit)
	}
	if b.Commit == "sn9" && b.Competition == nil {
		return errors.New("bundle.commit: sn9 needs competition, the number of the competition")
	}
	return nil
}

// Hashable are the types that the network can hash; none stands for any.
func (b Bundle) Hashable() []checkpoint.DType {
	var out []checkpoint.DType
	for _, name := range b.DTypes {
		d, _ := checkpoint.ParseDType(name) // checked when the profile was read
		out = append(out, d)
	}
	return out
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
		if f.Role == "config" {
			continue
		}
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
	// Assignment is the experts whose tensors the update has; none if all weights were trained.
	Assignment checkpoint.Assignment `json:"expert_assignment,omitempty"`
	// Compared are the updates that this one was held against.
	Compared []Compared `json:"compared,omitempty"`
	// Messages are what the miner's own software signs and sends, each in a file beside the bundle's folder.
	Messages []MessageFile `json:"messages,omitempty"`
	// Refused says why the gate refused the update, if the bundle was asked for even so.
	Refused []string `json:"refused,omitempty"`
}

// Compared is another update, and how like it this one is.
type Compared struct {
	File   string  `json:"file"`
	Hash   string  `json:"hash"`         // BLAKE2b of 24 bytes, see [checkpoint.Hash]
	Cosine float64 `json:"delta_cosine"` // see [checkpoint.DeltaCosine]
}

// MessageFile is a message and the file that has its text.
type MessageFile struct {
	Message
	File string `json:"file"`
}

// NewBundleManifest fills in what the profile decides; the rest is left to the writer.
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
