package network

import (
	"bytes"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"bzdata/pipeline/store"
)

func TestLayout(t *testing.T) {
	id := BundleID{Group: 3, Version: 17, Step: 240}
	for _, c := range []struct{ profile, directory, files string }{
		{"connito", "globalver_17_inneropt_240", "model_expgroup_3.pt model_expgroup_3.safetensors"},
		{"blockzero", "globalver_17_inneropt_240", "model_expgroup_3.pt"},
		{"blockzero-docs", "checkpoint_240", "model_expgroup_3.safetensors"},
		{"sn9", "model", "model.safetensors config.json"},
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

// messages are a submission's messages by name.
func messages(t *testing.T, profile string, s Submission) map[string]Message {
	t.Helper()
	all, err := load(t, profile).Messages(s)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]Message{}
	for _, m := range all {
		out[m.Name] = m
	}
	return out
}

func TestMessages(t *testing.T) {
	hash, hotkey := strings.Repeat("a", 48), "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
	commit := "0c936fa" + strings.Repeat("1", 33)
	whole := Submission{ID: BundleID{0, 12, 300}, Hash: hash, Block: 5759026, Repository: "owner/name", Revision: commit,
		Hotkey: hotkey}
	secure := SecureHash(hash, hotkey)
	none := Submission{ID: whole.ID, Hash: hash}
	for _, c := range []struct {
		profile, message string
		of               Submission
		text             string
		blanks, bytes    int
	}{
		{"connito", "commit_1", whole, `{"m":"<signature>"}`, 1, 94},
		{"connito", "commit_2", whole, `{"e":0,"h":"` + hash + `","v":12,"r":"owner/name","rv":"0c936fa"}`, 0, 101},
		{"connito", "commit_2", none, `{"e":0,"h":"` + hash + `","v":12,"r":"<repository>","rv":"<revision>"}`, 2, 123},
		{"blockzero", "commit_1", whole, `{"m": "<signature>"}`, 1, 95},
		{"blockzero", "commit_2", whole, `{"b": 5759026, "e": 0, "m": null, "h": "` + hash + `", "v": 12, "i": 300}`, 0, 109},
		{"blockzero", "commit_2", none, `{"b": <block>, "e": 0, "m": null, "h": "` + hash + `", "v": 12, "i": 300}`, 1, 112},
		{"sn9", "commit_1", whole, "owner:name:" + commit + ":" + secure + ":2", 0, 98},
		{"sn9", "commit_1", none, "<namespace:name>:<commit>:<secure_hash>:2", 3, 127},
		{"docs", "message", whole, `{"hotkey": "` + hotkey + `", "expert_group": 0, "checkpoint_url": "<checkpoint_url>", ` +
			`"block_number": 5759026, "signature": "<signature>"}`, 2, 0},
	} {
		got := messages(t, c.profile, c.of)[c.message]
		if got.Text != c.text || len(got.Blanks) != c.blanks || c.bytes != 0 && got.Bytes != c.bytes {
			t.Errorf("%s %s: %s, %d blanks, %d bytes", c.profile, c.message, got.Text, len(got.Blanks), got.Bytes)
		}
		if len(got.Blanks) == 0 && got.Bytes != len(got.Text) {
			t.Errorf("%s %s: %d bytes are said to be %d", c.profile, c.message, len(got.Text), got.Bytes)
		}
	}
}

func TestMessagesRefused(t *testing.T) {
	long := "o/" + strings.Repeat("r", 30)
	for _, c := range []struct {
		profile string
		of      Submission
		says    string
	}{
		{"connito", Submission{Repository: long + "r"}, "has 33 characters; the network takes 32"},
		{"connito", Submission{Hash: strings.Repeat("a", 48), Repository: long, Revision: "0c936fa",
			ID: BundleID{Version: 123456789}}, "has 130 bytes; the network takes 128"},
		{"connito", Submission{Repository: `a"b/c`}, "is not OWNER/NAME"},
		{"connito", Submission{Repository: "name"}, "is not OWNER/NAME"},
		{"connito", Submission{Revision: "main"}, "hexadecimal digits"},
		{"sn9", Submission{Repository: "o/" + strings.Repeat("r", 38)}, "has 39 characters; the network takes 38"},
		{"sn9", Submission{Revision: "0c936fa"}, "is cut short"},
		{"sn9", Submission{Hotkey: "0x12"}, "no SS58 address"},
		{"blockzero", Submission{Block: -1}, "block is below 0"},
	} {
		_, err := load(t, c.profile).Messages(c.of)
		mustSay(t, err, c.says)
	}
	if _, err := load(t, "sn9").Messages(Submission{Repository: "o/" + strings.Repeat("r", 37)}); err != nil {
		t.Error(err)
	}
}

// TestFolderHash compares with the formula of hash_directory, in Python:
//
//	h(x) = base64(sha256(x)); h("b" file, "a/c" file) = base64(sha256(h(b"two") + h(b"one")))
func TestFolderHash(t *testing.T) {
	fsys := store.NewCrashFS()
	for name, text := range map[string]string{"/m/b": "two", "/m/a/c": "one"} {
		if err := fsys.MkdirAll(filepath.Dir(name)); err != nil {
			t.Fatal(err)
		}
		if err := store.WriteBytes(fsys, name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := FolderHash(fsys, "/m")
	if want := "vHpeJVnaGFU1YKefNAzn32s7QQpeECseL70kMDRr9Ak="; err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
	if want := "NkSD6PhRqFU+WPR09l/0cKwFAmoIUWSLESf7h8/4m7k="; SecureHash(got, "5F") != want {
		t.Errorf("secure hash %s", SecureHash(got, "5F"))
	}
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
