package remote

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestCacheOfPython has the huggingface_hub library read what this package has fetched, and
// this package what the library has. BZDATA_HF_PYTHON names a Python with the library.
func TestCacheOfPython(t *testing.T) {
	python := os.Getenv("BZDATA_HF_PYTHON")
	if python == "" {
		t.Skip("BZDATA_HF_PYTHON names no Python with huggingface_hub")
	}
	h := newTestHub(t)
	env := hubEnv(t, h)
	fsys, _ := newTestFS(t, env)
	for name := range hubFiles() {
		if _, err := readName(fsys, "hf://datasets/owner/name@main/"+name, readWays["Read"]); err != nil {
			t.Fatal(err)
		}
	}
	const fetch = `
import sys, shutil
from huggingface_hub import hf_hub_download
for f in sys.argv[2:]:
    p = hf_hub_download("owner/name", f, repo_type="dataset", revision="main")
    shutil.copyfile(p, sys.argv[1] + "/" + f.replace("/", "_"))
`
	home := filepath.Join(t.TempDir(), "hf")
	leavePart(t, home, h.URL)
	for _, settings := range [][]string{
		{"HF_HOME=" + env["HF_HOME"], "HF_HUB_OFFLINE=1"},
		{"HF_HOME=" + home, "HF_ENDPOINT=" + h.URL, "HF_HUB_DISABLE_XET=1"},
	} {
		out := t.TempDir()
		cmd := exec.Command(python, "-c", fetch, out)
		for name := range hubFiles() {
			cmd.Args = append(cmd.Args, name)
		}
		cmd.Env = append(os.Environ(), settings...)
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", settings, err, text)
		}
		for name, data := range hubFiles() {
			got, err := os.ReadFile(filepath.Join(out, string(bytes.ReplaceAll([]byte(name), []byte("/"), []byte("_")))))
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%v: %s: %d bytes, %v", settings, name, len(got), err)
			}
		}
	}
	h.Close()
	offline, _ := newTestFS(t, map[string]string{"HF_HOME": home, "HF_HUB_OFFLINE": "1"})
	for name, data := range hubFiles() {
		got, err := readName(offline, "hf://datasets/owner/name@main/"+name, readWays["Read"])
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if err := offline.Close(); err != nil {
		t.Error(err)
	}
	left, _ := filepath.Glob(filepath.Join(home, "hub", "*", "blobs", "*"+partSuffix))
	if len(left) > 0 {
		t.Errorf("left in the cache: %v", left)
	}
}

// leavePart has a process be killed in a download.
func leavePart(t *testing.T, home, hub string) {
	killed, _ := newTestFS(t, map[string]string{"HF_HOME": home, "HF_ENDPOINT": hub})
	half := openName(t, killed, "hf://datasets/owner/name@main/data/b.jsonl")
	readSome(t, half, blockBytes)
	kill(killed, half)
}
