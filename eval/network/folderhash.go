package network

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"bzdata/pipeline/store"
)

// FolderHash is the name by which Subnet 9 knows a model folder: base64 of the SHA-256 of the base64 of each
// file's SHA-256, one after another; the files of a folder in byte order, then its folders. Names do
// not enter, and every file does, so that a repository's own files, such as .gitattributes, change it.
// Source: macrocosm-os/taoverse, hash_directory over os.walk.
func FolderHash(fsys store.FS, dir string) (string, error) {
	sums, err := folderSums(fsys, dir)
	if err != nil {
		return "", err
	}
	return HashOfSums(sums), nil
}

// HashOfSums is [FolderHash] from the SHA-256 of each file, in the order of the files.
func HashOfSums(sums [][]byte) string {
	h := sha256.New()
	for _, sum := range sums {
		h.Write([]byte(base64.StdEncoding.EncodeToString(sum)))
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func folderSums(fsys store.FS, dir string) (sums [][]byte, err error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files, folders []string
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		info, err := fsys.Stat(name) // a snapshot of the hub is links to files
		if err != nil {
			return nil, err
		}
		if info.IsDir() {
			folders = append(folders, name)
		} else {
			files = append(files, name)
		}
	}
	slices.SortFunc(files, strings.Compare)
	slices.SortFunc(folders, strings.Compare)
	for _, name := range files {
		sum, err := fileSum(fsys, name)
		if err != nil {
			return nil, err
		}
		sums = append(sums, sum)
	}
	for _, name := range folders {
		more, err := folderSums(fsys, name)
		if err != nil {
			return nil, err
		}
		sums = append(sums, more...)
	}
	return sums, nil
}

func fileSum(fsys store.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return h.Sum(nil), err
}

// SecureHash is what Subnet 9 commits in place of a folder's hash, so that no one can commit the hash of
// another: base64 of the SHA-256 of the hash followed by the hotkey's SS58 address.
func SecureHash(hash, hotkey string) string {
	sum := sha256.Sum256([]byte(hash + hotkey))
	return base64.StdEncoding.EncodeToString(sum[:])
}
