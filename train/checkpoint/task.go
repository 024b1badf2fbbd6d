package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"bzdata/pipeline/store"
)

// The files that a folder of an expert group may have beside its own two. Connito's nodes write
// both when they fetch a task (connito/shared/task_sync.py, materialize_task).
const (
	ShardPolicyFile = "shard_policy.json"
	BundleStampFile = ".bundle_sha256"
)

// TaskBundle is what Connito's owner serves as a task, /active_task_bundle, made from the folder
// of an expert group.
type TaskBundle struct {
	Name string // of the folder
	// Canonical are the bytes that are hashed: {name, config, expert_assignment, shard_policy} as
	// Python's json.dumps(sort_keys=True, separators=(",", ":")) writes them. The configuration
	// is what PyYAML's safe_load makes of it, with all its keys; a missing policy is null.
	Canonical []byte
	SHA256    string // of Canonical, in hexadecimal
	Stamp     string // the SHA-256 that a node has written into the folder, or empty
}

// ReadTaskBundle reads the folder of an expert group as a task. The group itself is not checked:
// see [LoadGroup].
func ReadTaskBundle(fsys store.FS, dir string) (*TaskBundle, error) {
	b := &TaskBundle{Name: filepath.Base(dir)}
	config, err := readPy(fsys, filepath.Join(dir, GroupConfigFile), parsePyYAML)
	if err != nil {
		return nil, err
	}
	assignment, err := readPy(fsys, filepath.Join(dir, GroupAssignmentFile), parsePyJSON)
	if err != nil {
		return nil, err
	}
	policy, err := readPy(fsys, filepath.Join(dir, ShardPolicyFile), parsePyJSON)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	b.Canonical = appendPyJSON(nil, map[string]any{"name": b.Name, "config": config,
		"expert_assignment": assignment, "shard_policy": policy})
	sum := sha256.Sum256(b.Canonical)
	b.SHA256 = hex.EncodeToString(sum[:])
	stamp, err := readSmall(fsys, filepath.Join(dir, BundleStampFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	b.Stamp = strings.TrimSpace(string(stamp))
	return b, nil
}

func readPy(fsys store.FS, path string, parse func([]byte) (any, error)) (any, error) {
	data, err := readSmall(fsys, path)
	if err != nil {
		return nil, err
	}
	v, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

// readSmall reads a file of a group's folder, none of which is large.
func readSmall(fsys store.FS, path string) ([]byte, error) {
	info, err := fsys.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > pyJSONBytesMax {
		return nil, fmt.Errorf("%s: has %d bytes; a file of an expert group has at most %d", path, info.Size(), pyJSONBytesMax)
	}
	return store.ReadAll(fsys, path)
}
