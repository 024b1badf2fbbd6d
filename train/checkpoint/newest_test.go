package checkpoint

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bzdata/pipeline/store"
)

func TestParseFolderName(t *testing.T) {
	for name, want := range map[string][2]int{
		"globalver_17_inneropt_240": {17, 240}, "uid_5_hotkey_X_globalver_3": {3, 0}, "globalver_007": {7, 0},
		"inneropt_1_globalver_2": {2, 1}, "globalver_3_inneropt_0": {3, 0},
	} {
		got, ok := ParseFolderName(name)
		if !ok || got != (FolderName{name, want[0], want[1]}) {
			t.Errorf("%q: %+v %t", name, got, ok)
		}
	}
	for _, name := range []string{"", "globalver", "globalver_x", "globalver_", "globalver_-1", "globalver_+1", "xglobalver_3",
		"globalver_3x", "globalver_99999999999999999999", "globalver_3_inneropt", "globalver_3_inneropt_x", "run_globalver_3",
		"globalver_3_globalver_4", "inneropt_3", "globalver_٣"} {
		if got, ok := ParseFolderName(name); ok {
			t.Errorf("%q is taken for %+v", name, got)
		}
	}
}

func TestCheckVersion(t *testing.T) {
	f, _ := ParseFolderName("globalver_17_inneropt_2")
	if err := f.CheckVersion(17); err != nil {
		t.Error(err)
	}
	mustSay(t, f.CheckVersion(18), "globalver_17_inneropt_2 has global version 17, but 18 is wanted; fetch the newer one")
	mustSay(t, f.CheckVersion(16), "the network has moved on")
}

// putFolder writes a checkpoint folder with files of one tensor.
func putFolder(t *testing.T, dir string, files ...string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		x, err := NewTensor("w", F32, []int{3}, []float32{1, 2, 3})
		if err != nil {
			t.Fatal(err)
		}
		putWeights(t, filepath.Join(dir, name), []Tensor{x})
	}
}

// folders is a folder of checkpoints under test.
type folders struct {
	t    *testing.T
	root string
}

func (d folders) at(name string) string { return filepath.Join(d.root, filepath.FromSlash(name)) }

// newest checks which folder is taken, and what is said of those passed over.
func (d folders) newest(want string, passed ...string) Folder {
	d.t.Helper()
	f, got, err := Newest(store.OS(), d.root, []string{"model_expgroup_0"})
	if err != nil || f.Dir != d.at(want) {
		d.t.Fatalf("%s, %v, want %s", f.Dir, err, want)
	}
	if len(got) != len(passed) {
		d.t.Fatalf("passed over %v, want %q", got, passed)
	}
	for i, p := range got {
		if !strings.Contains(p.String(), passed[i]) || strings.Contains(p.String(), "\n") {
			d.t.Errorf("passed over %q, want %q", p, passed[i])
		}
	}
	return f
}

func (d folders) write(name string, data []byte) {
	d.t.Helper()
	if err := os.WriteFile(d.at(name), data, 0o666); err != nil {
		d.t.Fatal(err)
	}
}

func (d folders) read(name string) []byte {
	d.t.Helper()
	data, err := os.ReadFile(d.at(name))
	if err != nil {
		d.t.Fatal(err)
	}
	return data
}

func TestNewest(t *testing.T) {
	d := folders{t, t.TempDir()}
	_, _, err := Newest(store.OS(), d.root, nil)
	mustSay(t, err, d.root+": no folder globalver_V… is there")
	_, _, err = Newest(store.OS(), d.at("nowhere"), nil)
	mustSay(t, err, "nowhere")
	putFolder(t, d.at("cold/hot/run/globalver_9_inneropt_240"), "model_expgroup_0.pt", "model_shared.pt")
	putFolder(t, d.at("cold/hot/run/globalver_9_inneropt_30"), "model_expgroup_0.pt")
	putFolder(t, d.at("globalver_x"), "model_expgroup_0.pt")
	d.newest("cold/hot/run/globalver_9_inneropt_240")
	putFolder(t, d.at("uid_5_hotkey_A_globalver_10"), "model_expgroup_0.safetensors")
	putFolder(t, d.at("uid_12_hotkey_B_globalver_10"), "model_expgroup_0.pt")
	putFolder(t, d.at(".cache/globalver_99"), "model_expgroup_0.pt")
	f := d.newest("uid_12_hotkey_B_globalver_10") // of equals the first
	if f.Version != 10 || !slices.Equal(f.Files, []string{d.at("uid_12_hotkey_B_globalver_10/model_expgroup_0.pt")}) {
		t.Errorf("%+v", f)
	}
	putFolder(t, d.at("globalver_11"), "model_expgroup_0.pt", "model_shared.pt", "inner_optimizer.pt")
	d.newest("globalver_11")
	if err := os.Symlink(d.at("globalver_11"), d.at("globalver_12")); err != nil {
		t.Fatal(err)
	}
	d.newest("globalver_12")
	one, passed, err := Newest(store.OS(), d.at("globalver_11"), nil)
	if err != nil || one.Version != 11 || len(one.Files) != 2 || passed != nil {
		t.Errorf("the folder itself: %+v, %v, %v", one, passed, err)
	}
}

// TestNewestIncomplete has newer folders than the one that must be taken.
func TestNewestIncomplete(t *testing.T) {
	d := folders{t, t.TempDir()}
	putFolder(t, d.at("globalver_10"), "model_expgroup_0.pt")
	putFolder(t, d.at("globalver_11"), "model_expgroup_1.pt", "inner_optimizer.pt")
	d.newest("globalver_10", "globalver_11 is passed over: neither model_expgroup_0.safetensors nor")
	putFolder(t, d.at("globalver_11"), "model_expgroup_0.pt", "model_shared.pt")
	d.newest("globalver_11")
	d.write("globalver_11/.tmp_model_shared.pt", nil)
	d.newest("globalver_10", "globalver_11 is passed over: .tmp_model_shared.pt is being written")
	if err := os.Remove(d.at("globalver_11/.tmp_model_shared.pt")); err != nil {
		t.Fatal(err)
	}
	putFolder(t, d.at("globalver_11"), "model_other.safetensors")
	for _, name := range []string{"globalver_11/model_shared.pt", "globalver_11/model_other.safetensors"} {
		whole := d.read(name)
		for cut := range whole {
			d.write(name, whole[:cut])
			d.newest("globalver_10", name+": ")
		}
		d.write(name, whole)
		d.newest("globalver_11")
	}
	d.write("globalver_11/model_other.safetensors", emptyFile(t))
	d.newest("globalver_10", "model_other.safetensors holds no tensor")
	if err := os.Mkdir(d.at("globalver_12"), 0o777); err != nil {
		t.Fatal(err)
	}
	d.newest("globalver_10", "globalver_12: neither model*.safetensors nor model*.pt is there", "holds no tensor")
	_, _, err := Newest(store.OS(), d.at("globalver_12"), nil)
	mustSay(t, err, "none of 1 checkpoints is complete; the newest is ")
}

func emptyFile(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, nil, nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// growing is a file system in which a file is another one at each look.
type growing struct {
	store.FS
	name  string
	looks int
	what  string
}

type seen struct {
	fs.FileInfo
	bytes int64
	at    time.Time
}

func (s seen) Size() int64        { return s.FileInfo.Size() + s.bytes }
func (s seen) ModTime() time.Time { return s.at }

func (g *growing) Stat(name string) (fs.FileInfo, error) {
	info, err := g.FS.Stat(name)
	if err != nil || filepath.Base(name) != g.name {
		return info, err
	}
	g.looks++
	s := seen{info, 0, info.ModTime()}
	switch g.what {
	case "size":
		s.bytes = int64(g.looks)
	case "time":
		s.at = s.at.Add(time.Duration(g.looks))
	}
	return s, nil
}

// TestNewestGrowing checks that a file is looked at twice.
func TestNewestGrowing(t *testing.T) {
	root := t.TempDir()
	putFolder(t, filepath.Join(root, "globalver_1"), "model_a.pt")
	putFolder(t, filepath.Join(root, "globalver_2"), "model_b.pt")
	for _, what := range []string{"size", "time", "nothing"} {
		f, passed, err := Newest(&growing{store.OS(), "model_b.pt", 0, what}, root, nil)
		want := map[bool]string{true: "2 []", false: "1 [checkpoint " + filepath.Join(root, "globalver_2") +
			" is passed over: " + filepath.Join(root, "globalver_2", "model_b.pt") + " is being written: its size or time changes]"}
		if got := fmt.Sprint(f.Version, " ", passed); err != nil || got != want[what == "nothing"] {
			t.Errorf("%s: %s, %v", what, got, err)
		}
	}
}

// FuzzFolderName checks that what is read of a name is what a name made of it says.
func FuzzFolderName(f *testing.F) {
	f.Add("globalver_17_inneropt_240")
	f.Add("uid_5_hotkey_X_globalver_17")
	f.Fuzz(func(t *testing.T, name string) {
		got, ok := ParseFolderName(name)
		if !ok {
			return
		}
		again, ok := ParseFolderName(fmt.Sprintf("globalver_%d_inneropt_%d", got.Version, got.Step))
		if !ok || got.Newer(again) || again.Newer(got) || got.Version < 0 || got.Step < 0 || got.Folder != name {
			t.Fatalf("%q: %+v, then %+v", name, got, again)
		}
	})
}
