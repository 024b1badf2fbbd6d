package network

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func TestLayout(t *testing.T) {
	id := BundleID{Group: 3, Version: 17, Step: 240}
	for _, c := range []struct{ profile, directory, files string }{
		{"connito", "globalver_17_inneropt_240", "model_expgroup_3.pt model_expgroup_3.safetensors"},
		{"blockzero", "globalver_17_inneropt_240", "model_expgroup_3.pt"},
		{"blockzero-docs", "checkpoint_240", "model_expgroup_3.safetensors"},
		{"sn9", "model", "model.safetensors"},
	} {
		directory, files := load(t, c.profile).Layout(id)
		var names []string
		for _, f := range files {
			names = append(names, f.Name)
		}
		if directory != c.directory || strings.Join(names, " ") != c.files {
			t.Errorf("%s: %s with %v", c.profile, directory, names)
		}
	}
}

func TestBundleManifest(t *testing.T) {
	m := load(t, "connito").NewBundleManifest(BundleID{0, 1, 2})
	m.Hash, m.Tensors = "ab", 624
	m.Files[1].Bytes, m.Files[1].SHA256 = 9, "cd"
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"profile": "connito@0c936fa"`, `"hash_kind": "blake2b-24"`, `"global_version": 1`, `"dtype": "F16"`} {
		if !bytes.Contains(data, []byte(want)) {
			t.Errorf("no %s in\n%s", want, data)
		}
	}
	again, err := ParseBundleManifest(data)
	if err != nil || !reflect.DeepEqual(m, again) {
		t.Errorf("read back %+v, %v", again, err)
	}
	if _, err := ParseBundleManifest([]byte(`{"profil":1}`)); err == nil {
		t.Error("unknown member accepted")
	}
}

func TestCommitMessage(t *testing.T) {
	hash := strings.Repeat("a", 48)
	c := Commit{ID: BundleID{0, 12, 300}, Hash: hash, Block: 5759026, Repository: "owner/name", Revision: "0c936fa"}
	got, err := load(t, "connito").CommitMessage(c)
	if want := `{"e":0,"h":"` + hash + `","v":12,"r":"owner/name","rv":"0c936fa"}`; err != nil || got != want {
		t.Errorf("connito: %s, %v", got, err)
	}
	got, err = load(t, "blockzero").CommitMessage(c)
	if want := `{"b": 5759026, "e": 0, "m": null, "h": "` + hash + `", "v": 12, "i": 300}`; err != nil || got != want {
		t.Errorf("blockzero: %s, %v", got, err)
	}
	_, err = load(t, "docs").CommitMessage(c)
	mustSay(t, err, "has no commit message")
	c.Repository = strings.Repeat("r", 33)
	_, err = load(t, "connito").CommitMessage(c)
	mustSay(t, err, "has 33 characters; the network takes 32")
	c.Repository, c.ID.Version = strings.Repeat("r", 32), 123456789
	_, err = load(t, "connito").CommitMessage(c)
	mustSay(t, err, "the network takes 128")
	c.Repository = `a"b`
	_, err = load(t, "connito").CommitMessage(c)
	mustSay(t, err, "plain ASCII")
}

// FuzzBundleManifest checks that what is read can be written and read again.
func FuzzBundleManifest(f *testing.F) {
	f.Add([]byte(`{"profile":"p","id":{"expert_group":1},"files":[{"name":"a"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseBundleManifest(data)
		if err != nil {
			return
		}
		out, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseBundleManifest(out)
		if err != nil {
			t.Fatal(err)
		}
		if second, _ := again.Encode(); !bytes.Equal(out, second) {
			t.Fatalf("%s became %s", out, second)
		}
	})
}
