package stages_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bzdata/stages"
)

const piiPlan = "name: p\nseed: %d\ninput: [{path: data}]\nstages:\n  - pii: %s\n  - export: {format: jsonl}\n"

// TestPIIStage replaces and counts each kind, and changes nothing a second time.
func TestPIIStage(t *testing.T) {
	dir := t.TempDir()
	const text = "Mail A@b.de or c@d.org from 8.8.8.8 and 2606:4700::1111 or 10.0.0.1. Call +49 30 901820, pay 4111 1111 1111 1111, DE89370400440532013000."
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), text, "nothing here")
	opt := options(dir)
	plan := fmt.Sprintf(piiPlan, 1, "{replace: [email, ipv4, ipv6, phone, credit_card, iban]}")
	res := run(t, dir, plan, opt)
	want := []string{`{"text":"Mail email@example.com or email@example.com from 192.0.2.1 and 2001:db8::1 or 10.0.0.1. ` +
		`Call 202-555-0100, pay 0000 0000 0000 0000, XX00 0000 0000 0000."}`, `{"text":"nothing here"}`}
	if got := exportedLines(t, opt); !slices.Equal(got, want) {
		t.Errorf("exported %s", got)
	}
	l := ledger(t, res, "pii")
	for kind, n := range map[string]int64{"email": 2, "ipv4": 1, "ipv6": 1, "phone": 1, "credit_card": 1, "iban": 1, "documents": 1} {
		if l.Edits[kind] != n {
			t.Errorf("%d edits of kind %s, want %d", l.Edits[kind], kind, n)
		}
	}
	write(t, filepath.Join(dir, "data", "a.jsonl"), strings.Join(want, "\n")+"\n")
	if l := ledger(t, run(t, dir, plan, opt), "pii"); len(l.Edits) != 0 {
		t.Errorf("the second pass made the edits %v", l.Edits)
	}
}

// TestPIIPhoneBehindOne replaces a leading 1 with the number, but not with a placeholder that a
// first pass has put behind one.
func TestPIIPhoneBehindOne(t *testing.T) {
	for _, c := range []struct{ config, text, want string }{
		{"{replace: [phone]}", "1-800-555-1234; 1 (415) 555-2671; 1 +49 30 901820", "202-555-0100; 202-555-0100; 1 202-555-0100"},
		{"{replace: [phone], placeholders: {phone: [(202) 555-0100]}}", "1 +49 30 901820", "1 (202) 555-0100"},
		{"{replace: [phone], placeholders: {phone: [202 555 0100]}}", "1 +49 30 901820", "1 202 555 0100"},
	} {
		dir := t.TempDir()
		opt := options(dir)
		for _, text := range []string{c.text, c.want} {
			jsonl(t, filepath.Join(dir, "data", "a.jsonl"), text)
			run(t, dir, fmt.Sprintf(piiPlan, 1, c.config), opt)
			if got := exportedLines(t, opt)[0]; got != fmt.Sprintf(`{"text":%q}`, c.want) {
				t.Errorf("%s: %q became %s", c.config, text, got)
			}
		}
	}
}

// TestPIIPlaceholders chooses among several by seed and place, and keeps messages in shape.
func TestPIIPlaceholders(t *testing.T) {
	dir := t.TempDir()
	text := strings.TrimSpace(strings.Repeat("me@home.de ", 64))
	write(t, filepath.Join(dir, "data", "a.jsonl"), fmt.Sprintf(`{"m":[{"content":%q,"x":1},{"role":"a","content":"none"}]}`, text)+"\n")
	config := "{placeholders: {email: [one@example.com, two@example.com, three@example.com]}}"
	var seen []string
	for _, seed := range []int{1, 2, 1} {
		opt := options(dir)
		opt.Workdir = t.TempDir()
		run(t, dir, strings.Replace(fmt.Sprintf(piiPlan, seed, config), "path: data", "path: data, messages: m", 1), opt)
		got := exportedLines(t, opt)[0]
		for _, name := range []string{"one", "two", "three"} {
			if n := strings.Count(got, name+"@example.com"); n < 20 || n > 70 { // in messages and text
				t.Errorf("seed %d: %s was chosen %d times of 128", seed, name, n)
			}
		}
		if !strings.Contains(got, `"x":1},{"role":"a","content":"none"}]`) {
			t.Errorf("exported %s", got)
		}
		seen = append(seen, got)
	}
	if seen[0] == seen[1] || seen[0] != seen[2] {
		t.Error("the choice does not follow the seed")
	}
	for config, part := range map[string]string{"{replace: [mail]}": "email", "{placeholders: {mail: [x]}}": "none of",
		"{placeholders: {email: []}}": "has none"} {
		mistake(t, fmt.Sprintf(piiPlan, 1, config), part)
	}
}

// TestPIIDefault reads in the reference what is replaced where a plan names no kind.
func TestPIIDefault(t *testing.T) {
	var b strings.Builder
	kind, ok := stages.All().Lookup("pii")
	if !ok || kind.WriteReference(&b) != nil {
		t.Fatal("pii has no reference")
	}
	if row := "| `[\"email\",\"ipv4\",\"ipv6\"]` |"; !strings.Contains(b.String(), row) {
		t.Errorf("the reference does not say %s:\n%s", row, b.String())
	}
	dir := t.TempDir()
	jsonl(t, filepath.Join(dir, "data", "a.jsonl"), "a@b.de 8.8.8.8 2606:4700::1111 +49 30 901820")
	res := run(t, dir, fmt.Sprintf(piiPlan, 1, "{}"), options(dir))
	if l := ledger(t, res, "pii"); l.Edits["email"] != 1 || l.Edits["ipv4"] != 1 || l.Edits["ipv6"] != 1 || l.Edits["phone"] != 0 {
		t.Errorf("by default %v is replaced", l.Edits)
	}
}
