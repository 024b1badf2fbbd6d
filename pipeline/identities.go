package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"time"

	"bzdata/pipeline/store"
)

// identitiesName is where a work directory remembers the content of files that stages read beside
// documents, so that a base model or tokenizer that stays as it is is hashed once, not by each stage
// and in each window.
const identitiesName = "identities.json"

// settled is how old a file's time must be when it is hashed for size and time to tell, later on, that it
// is the same: within the coarsest resolution of file systems, 2 s, one may be written twice.
const settled = 2 * time.Second

// identities are SHA-256s of files, by their full names.
type identities struct {
	before, used map[string]hashedFile
	now          func() time.Time
}

// hashedFile is what a file looked like when it was hashed.
type hashedFile struct {
	Bytes     int64  `json:"bytes"`
	ModTimeNS int64  `json:"mtime_ns,omitempty"`
	ETag      string `json:"etag,omitempty"`
	SHA256    string `json:"sha256"`
}

// readIdentities reads what earlier runs have found; a damaged file tells nothing.
func readIdentities(opt Options) *identities {
	ids := &identities{before: map[string]hashedFile{}, used: map[string]hashedFile{}, now: opt.clock()}
	data, err := store.ReadAll(opt.FS, filepath.Join(opt.Workdir, identitiesName))
	if err != nil || opt.Fresh || json.Unmarshal(data, &ids.before) != nil {
		ids.before = map[string]hashedFile{}
	}
	return ids
}

// sha256 is the hash of a file whose identity was just taken; it is read only if it is not the file
// that was hashed before.
func (ids *identities) sha256(fsys store.FS, name string, id store.Identity) (string, error) {
	full := name
	if !store.IsRemote(name) {
		if abs, err := filepath.Abs(name); err == nil {
			full = abs
		}
	}
	for _, known := range []map[string]hashedFile{ids.used, ids.before} {
		h, ok := known[full]
		if ok && h.Bytes == id.Bytes && h.ModTimeNS == id.ModTimeNS && h.ETag == id.ETag {
			ids.used[full] = h
			return h.SHA256, nil
		}
	}
	began := ids.now()
	sum, err := hashAll(fsys, name)
	if err != nil {
		return "", err
	}
	if id.ETag != "" || time.Unix(0, id.ModTimeNS).Before(began.Add(-settled)) {
		ids.used[full] = hashedFile{id.Bytes, id.ModTimeNS, id.ETag, sum}
	}
	return sum, nil
}

// hashAll is the SHA-256 of a small file.
func hashAll(fsys store.FS, name string) (string, error) {
	data, err := store.ReadAll(fsys, name)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), err
}

// write keeps what this run has used, if that is news.
func (ids *identities) write(fsys store.FS, workdir string) error {
	if maps.Equal(ids.before, ids.used) {
		return nil
	}
	data, err := json.MarshalIndent(ids.used, "", " ")
	if err != nil {
		return fmt.Errorf("%s: %w", identitiesName, err)
	}
	return store.WriteBytes(fsys, filepath.Join(workdir, identitiesName), append(data, '\n'))
}
