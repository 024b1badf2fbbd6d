package cli

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain puts this test binary first on PATH under the name bzdata, where it is the
// program itself: for scripts, and for tests that start processes.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"bzdata": func() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}
