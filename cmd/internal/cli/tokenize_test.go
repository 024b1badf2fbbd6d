package cli

import (
	"bytes"
	"strings"
	"testing"
)

// TestTokenizeParts reads the help of each part, which lists the codes that it ends with.
func TestTokenizeParts(t *testing.T) {
	for part, codes := range map[string]string{"train": "0 1 2 3 130, 143", "encode": "0 1 2 3 130, 143", "decode": "0 1 2 3", "info": "0 1 2 3"} {
		for _, args := range [][]string{{"help", "tokenize", part}, {"tokenize", part, "--help"}} {
			var out bytes.Buffer
			if code := Main(args, nil, &out, &out); code != 0 {
				t.Fatalf("%s: code %d: %s", args, code, out.String())
			}
			_, list, _ := strings.Cut(out.String(), exitsTitle)
			var got []string
			for line := range strings.Lines(list) {
				got = append(got, strings.TrimSpace(line[:10]))
			}
			if strings.Join(got, " ") != codes || !strings.Contains(out.String(), "bzdata tokenize "+part) {
				t.Errorf("%s lists %q\n%s", args, got, out.String())
			}
			for line := range strings.Lines(out.String()) {
				if len(line) > 101 {
					t.Errorf("%s: %d columns: %s", args, len(line), line)
				}
			}
		}
	}
}
