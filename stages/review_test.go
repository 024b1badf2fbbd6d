package stages_test

import (
	"path/filepath"
	"strings"
	"testing"

	"bzdata/pipeline"
	"bzdata/stages/quality"

	"golang.org/x/text/unicode/norm"
)

// disguises write a text otherwise without changing what it looks like.
var disguises = []func(string) string{
	func(s string) string { return s },
	norm.NFD.String,
	func(s string) string { return strings.ReplaceAll(s, "e", "e\u00ad") },
	func(s string) string { return "\ufeff" + strings.ReplaceAll(s, "o", "\u200bo") },
	func(s string) string { return strings.ReplaceAll(norm.NFD.String(s), " ", "\u00a0\u200e") },
}

// accented are n different texts with letters that have several forms.
func accented(seed uint64, n, words int) []string {
	out := sentences(seed, n, words)
	for i, text := range out {
		out[i] = "Zo\u00eb\u1e69 " + strings.ReplaceAll(text, "w", "caf\u00e9o")
	}
	return out
}

// TestContentHashSeesNoFormat checks that what normalize may edit leaves the hash alone, and
// that what it may not edit does not.
func TestContentHashSeesNoFormat(t *testing.T) {
	same := [][]string{
		{"a b", " a\tb\r\n", "a\u00a0b", "a \u2028 b", "a\x00 b\x7f", "\ufeffa b", "a\u200b b", "a\u00ad b\u2060", "a\u3000b"},
		{"caf\u00e9 \u1e69", "cafe\u0301 s\u0323\u0307", "cafe\u200d\u0301 s\u0307\u0323", "caf\u00e9 \u1e69\u200e"},
		{"\uac00", "\u1100\u1161", "\u1100\u00ad\u1161"}, {"\u212b", "\u00c5", "A\u030a"},
		{"\xff\xfe", "\ufffd\ufffd"}, {"", " ", "\u200b", "\x01\n"},
	}
	seen := map[uint64]string{}
	for _, group := range same {
		want := pipeline.ContentHash(group[0])
		for _, text := range group {
			if pipeline.ContentHash(text) != want {
				t.Errorf("%q and %q have different hashes", text, group[0])
			}
		}
		if other, ok := seen[want]; ok {
			t.Errorf("%q and %q have one hash", group[0], other)
		}
		seen[want] = group[0]
	}
	for _, text := range nastyTexts() {
		normal, _ := quality.Normalize(nil, []byte(text), quality.NormalizeAll())
		if pipeline.ContentHash(text) != pipeline.ContentHash(string(normal)) {
			t.Errorf("the hash of %.40q changes when the text is normalised", text)
		}
	}
	for _, pair := range [][2]string{{"a b", "ab"}, {"a", "A"}, {"e", "\u00e9"}, {"a.", "a"}} {
		if pipeline.ContentHash(pair[0]) == pipeline.ContentHash(pair[1]) {
			t.Errorf("%q and %q have one hash", pair[0], pair[1])
		}
	}
}

// FuzzContentHash checks the same with any text, and the short way for ASCII with the long.
func FuzzContentHash(f *testing.F) {
	for _, text := range nastyTexts() {
		f.Add(text[:min(len(text), 200)])
	}
	f.Fuzz(func(t *testing.T, text string) {
		normal, _ := quality.Normalize(nil, []byte(text), quality.NormalizeAll())
		want := pipeline.ContentHash(text)
		if pipeline.ContentHash(string(normal)) != want {
			t.Errorf("the hash of %q changes when the text is normalised to %q", text, normal)
		}
		if long := strings.ReplaceAll(text, " ", "\u00a0"); pipeline.ContentHash(long) != want {
			t.Errorf("the hash of %q changes with no-break spaces", text)
		}
	})
}

// TestDisguisedHeldOutText has held-out text in training under every disguise, whole and
// quoted, with normalize and without.
func TestDisguisedHeldOutText(t *testing.T) {
	exam, other := accented(21, 5, 30), accented(22, 5, 30)
	for i, disguise := range disguises {
		for j, hide := range disguises {
			dir := t.TempDir()
			var lines []string
			for k, text := range exam {
				lines = append(lines, hide(text), hide(other[k]+" then "+text+" and so on"), hide(other[k]))
			}
			jsonl(t, filepath.Join(dir, "data", "a.jsonl"), lines...)
			var held []string
			for _, text := range exam {
				held = append(held, disguise(text))
			}
			jsonl(t, filepath.Join(dir, "exam", "x.jsonl"), held...)
			for _, first := range []string{"", "normalize: {}, "} {
				opt := options(dir)
				opt.Workdir += first
				plan := "name: p\ninput: [{path: data}]\nheld_out: [{path: exam}]\nstages: [{" + first + "decontaminate: {}}, {export: {format: jsonl}}]\n"
				plan = strings.Replace(plan, "normalize: {}, ", "normalize: {}}, {", 1)
				l := ledger(t, run(t, dir, plan, opt), "decontaminate")
				if l.Dropped["held_out_copy"] != 5 || l.Dropped["held_out_overlap"] != 5 || l.Kept != 5 {
					t.Errorf("%sheld out in form %d, training in form %d: dropped %v, kept %d", first, i, j, l.Dropped, l.Kept)
				}
			}
		}
	}
}

// TestDisguisedCopiesAreHeldOut holds a fraction out: of copies that look alike, all or none
// is left for training.
func TestDisguisedCopiesAreHeldOut(t *testing.T) {
	dir := t.TempDir()
	var lines []string
	for i, text := range accented(23, 60, 12) {
		lines = append(lines, text, disguises[1+i%4](text))
	}
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), lines...)
	res := run(t, dir, "name: p\ninput: [{path: data}]\nheld_out: {fraction: 0.5}\nstages: [{decontaminate: {}}, {export: {}}]\n", options(dir))
	l, set := ledger(t, res, "held_out"), ledger(t, res, "held_out_set")
	if l.HeldOut < 10 || l.Dropped["copy_of_held_out"] != l.HeldOut || set.Kept != l.HeldOut {
		t.Errorf("%d documents are held out, %v dropped, the set keeps %d", l.HeldOut, l.Dropped, set.Kept)
	}
	if l := ledger(t, res, "decontaminate"); l.DroppedSum() != 0 {
		t.Errorf("decontaminate still found %v", l.Dropped)
	}
}
