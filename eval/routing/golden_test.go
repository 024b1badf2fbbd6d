package routing

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"bzdata/pipeline/store"
)

const published = "../../../shared/data/esft"

// TestPublished recomputes what deepseek-ai/ESFT published for two tasks from their router
// records: summary.json and the expert configuration, byte for byte.
func TestPublished(t *testing.T) {
	if _, err := os.Stat(published); err != nil {
		t.Skip("SKIPPED, NOT CHECKED: ESFT's published records are not there: ", err)
	}
	if _, err := exec.LookPath("xz"); err != nil {
		t.Skip("SKIPPED, NOT CHECKED: no xz to unpack ESFT's records: ", err)
	}
	for task, want := range map[string]struct {
		tokens  int64
		experts int
	}{"intent": {8222, 124}, "law": {8327, 153}} {
		t.Run(task, func(t *testing.T) {
			dir := t.TempDir()
			archive := filepath.Join(published, "expert_scores-"+task+".tar.xz")
			if out, err := exec.Command("tar", "-xJf", archive, "-C", dir).CombinedOutput(); err != nil {
				t.Fatalf("unpack %s: %v %s", archive, err, out)
			}
			dir = filepath.Join(dir, task)
			acc, err := NewAccumulator(64, 6)
			if err != nil {
				t.Fatal(err)
			}
			layers, err := acc.ReadRecordDir(store.OS(), dir)
			if err != nil || len(layers) != 26 || acc.Tokens(1) != want.tokens || acc.Tokens(26) != want.tokens {
				t.Fatalf("layers %v, %d tokens, %v", layers, acc.Tokens(1), err)
			}
			summary, err := os.ReadFile(filepath.Join(dir, "summary.json"))
			if err != nil {
				t.Fatal(err)
			}
			config, err := os.ReadFile(filepath.Join(published, task+"-expert_config.json"))
			if err != nil {
				t.Fatal(err)
			}
			comparePublished(t, acc, summary, config)
			choice, err := Rule{P: 0.2}.Choose(acc.Scores().Token)
			if err != nil || choice.Count() != want.experts {
				t.Errorf("%d experts, want %d, %v", choice.Count(), want.experts, err)
			}
		})
	}
}

func comparePublished(t *testing.T, acc *Accumulator, summary, config []byte) {
	t.Helper()
	scores := acc.Scores()
	want, err := ParseScores(summary)
	if err != nil {
		t.Fatal(err)
	}
	equal := 0
	for layer := range want.Token {
		for e := range want.Token[layer] {
			if scores.Token[layer][e] == want.Token[layer][e] {
				equal++
			}
			if scores.Gate[layer][e] == want.Gate[layer][e] {
				equal++
			}
		}
	}
	if equal != 2*1664 || !reflect.DeepEqual(scores, want) {
		t.Errorf("%d of %d scores equal", equal, 2*1664)
	}
	if got := scores.Encode(); !bytes.Equal(got, summary) {
		t.Error("summary.json written differs from the published one")
	}
	wantConfig, err := ParseConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Rule{P: 0.2}.Choose(scores.Token)
	if err != nil {
		t.Fatal(err)
	}
	layers := 0
	for layer, experts := range wantConfig.Experts {
		if slices.Equal(experts, got.Experts[layer]) {
			layers++
		}
	}
	if layers != 26 || !bytes.Equal(got.Encode(), config) {
		t.Errorf("%d of 26 layers equal in set and order", layers)
	}
}
