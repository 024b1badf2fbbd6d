package checkpoint

import (
	"fmt"
	"path/filepath"
	"regexp"

	"bzdata/pipeline/store"
)

// GroupDatasetFile is the Python module of a group's data set class, which config.yaml names as
// expert_groups.NAME.dataset:StreamingTorchDataset.
const GroupDatasetFile = "dataset.py"

// groupNamePattern are names that Python can import as a module of expert_groups.
var groupNamePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// CheckGroupName says why a folder cannot have this name.
func CheckGroupName(name string) error {
	if !groupNamePattern.MatchString(name) {
		return fmt.Errorf("%q cannot name an expert group: the networks import it as a Python module; "+
			"use letters, digits and _, such as exp_math", name)
	}
	return nil
}

// DatasetClass is what config.yaml calls the class in the group's dataset.py.
func DatasetClass(name string) string {
	return "expert_groups." + name + ".dataset:StreamingTorchDataset"
}

// Write makes the group's folder under root, or replaces its config.yaml and its
// expert_assignment.json. The group is valid: what it read back gives the same.
func (g *Group) Write(fsys store.FS, root string) error {
	if err := g.check(); err != nil {
		return fmt.Errorf("group %s: %w", g.Name, err)
	}
	dir := filepath.Join(root, g.Name)
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	path := filepath.Join(dir, GroupAssignmentFile)
	if err := store.WriteBytes(fsys, path, g.Assignment.Encode()); err != nil {
		return err
	}
	return store.WriteBytes(fsys, filepath.Join(dir, GroupConfigFile), g.Config.Encode())
}

func (g *Group) check() error {
	if err := CheckGroupName(g.Name); err != nil {
		return err
	}
	if err := g.Assignment.check(); err != nil {
		return err
	}
	if g.Config.GroupID < 0 {
		return fmt.Errorf("group_id %d is negative", g.Config.GroupID)
	}
	return g.Config.Data.check()
}

// Add writes a new group beside those that root has, with a dataset.py, reads it back, and
// returns it and all groups of root. A group of the same name or id is an error, and nothing is
// written then. Rows of the data set are text, or, with messages, conversations in the column of
// that name.
func (g *Group) Add(fsys store.FS, root string, messages bool) (added *Group, all []*Group, err error) {
	if err := g.check(); err != nil {
		return nil, nil, fmt.Errorf("group %s: %w", g.Name, err)
	}
	if store.Exists(fsys, root) {
		others, err := LoadGroups(fsys, root)
		if err != nil {
			return nil, nil, err
		}
		for _, other := range others {
			if other.Config.GroupID == g.Config.GroupID {
				return nil, nil, fmt.Errorf("%s: group %s has the group_id %d already; choose another",
					root, other.Name, g.Config.GroupID)
			}
		}
	}
	dir := filepath.Join(root, g.Name)
	for _, name := range []string{GroupConfigFile, GroupAssignmentFile, GroupDatasetFile} {
		if store.Exists(fsys, filepath.Join(dir, name)) {
			return nil, nil, fmt.Errorf("%s is there already; choose another folder, or remove it first",
				filepath.Join(dir, name))
		}
	}
	if err := g.Write(fsys, root); err != nil {
		return nil, nil, err
	}
	if err := store.WriteBytes(fsys, filepath.Join(dir, GroupDatasetFile), DatasetModule(g.Name, messages)); err != nil {
		return nil, nil, err
	}
	if all, err = LoadGroups(fsys, root); err != nil {
		return nil, nil, err
	}
	added, err = LoadGroup(fsys, dir)
	return added, all, err
}

// DatasetModule is a dataset.py for a group: the network's own class of text, or one of
// conversations as Block Zero's exp_math has it (907d2e4).
func DatasetModule(name string, messages bool) []byte {
	body := "    \"\"\"The network's own class, which reads the column text.\"\"\"\n"
	if messages {
		body = `    """Conversations in the column messages, by the tokenizer's own template."""

    @staticmethod
    def tokenize_and_format(example, tokenizer, sequence_length):
        text = tokenizer.apply_chat_template(example["messages"], tokenize=False, add_generation_prompt=True)
        tokens = tokenizer(text, truncation=True, max_length=sequence_length, padding="max_length",
                           add_special_tokens=False)
        return {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"]}
`
	}
	return fmt.Appendf(nil, `"""The data set of the expert group %s. dataset_class in config.yaml names its class."""

try:
    from connito.shared.dataloader import DefaultStreamingTorchDataset
except ImportError:  # Block Zero, as Connito was called before
    from mycelia.shared.dataloader import DefaultStreamingTorchDataset


class StreamingTorchDataset(DefaultStreamingTorchDataset):
%s`, name, body)
}
