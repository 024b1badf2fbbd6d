package pipeline_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// rooms says which of the module's packages each package may import. It is a
// statement of policy: a new edge is a change of design, argued for in the commit
// that adds it. The last word "any" admits every package but cmd/bzdata.
var rooms = map[string]string{
	"pipeline/store":   "",
	"pipeline/cputime": "",

	// Network access is a room of its own, so that formats do not come to depend on it.
	"pipeline/store/remote":            "pipeline/store",
	"pipeline/store/remote/remotetest": "",

	"tokenize/words":    "",
	"tokenize/match":    "",
	"train/tensor":      "",
	"train/tensor/cuda": "train/tensor pipeline/store",
	// Test libraries that stand in for a card's.
	"train/tensor/cuda/cudatest": "",
	"pipeline/spill":             "pipeline/store",
	"train/checkpoint":           "pipeline/store",
	"stages/quality":             "tokenize/words",
	"stages/shuffle":             "pipeline/store",
	"dedup":                      "pipeline/store pipeline/spill tokenize/words",
	"tokenize":                   "pipeline/store tokenize/words tokenize/jinja tokenize/match",
	// Jinja is a language of its own; what a conversation's tokens are, tokenize says.
	"tokenize/jinja": "tokenize/words",
	"eval/ngram":     "pipeline/store pipeline/spill tokenize/words tokenize",
	"eval/selection": "pipeline/store pipeline/spill tokenize/words",
	"eval/routing":   "eval train/model train/checkpoint pipeline/store",
	"train/model":    "train/tensor train/checkpoint pipeline/store",
	// Metrics are plain numbers: their formats know neither the loop nor the model.
	"train/metrics": "pipeline/store",
	// What models compute on is chosen by name, in one place, and the model knows none of it.
	"train/device": "train/tensor train/tensor/cuda",
	"train":        "train/model train/tensor train/checkpoint tokenize pipeline/store",
	"eval":         "train/tensor train/model train/checkpoint tokenize pipeline/store",
	"eval/network": "eval eval/routing train/checkpoint tokenize pipeline/store",
	// Which files of a data set a network reads is the network's affair; how they come here is the store's.
	"eval/mirror":         "train/checkpoint pipeline/store",
	"pipeline":            "pipeline/store pipeline/spill",
	"pipeline/report":     "pipeline pipeline/store",
	"stages":              "any",
	"cmd/internal/cli":    "any",
	"cmd/internal/doctor": "any",
	"cmd/internal/sample": "any",
	"cmd/bzdata":          "cmd/internal/cli",
}

// wrapped says which packages may import which outside modules: each has one wrapper.
var wrapped = map[string]string{
	"github.com/goccy/go-yaml":         "pipeline/store pipeline",
	"github.com/parquet-go/parquet-go": "pipeline/store",
	"github.com/klauspost/compress":    "pipeline/store",
	"github.com/invopop/jsonschema":    "pipeline",
	"github.com/spf13/cobra":           "cmd/internal/cli",
	"github.com/minio/minio-go":        "pipeline/store/remote",
	"github.com/ebitengine/purego":     "train/tensor/cuda",
}

// Limits on size; generated code and assembly are exempt.
const (
	funcLinesMax = 60
	fileLinesMax = 500
	columnsMax   = 130
)

type source struct {
	name string
	text string
	ast  *ast.File
	fset *token.FileSet
}

func (s source) test() bool      { return strings.HasSuffix(s.name, "_test.go") }
func (s source) generated() bool { return ast.IsGenerated(s.ast) }
func (s source) pkg() string     { return path.Dir(s.name) }

// sources parses every Go file of the module; nested modules and testdata are left out.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	root := os.DirFS("..")
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, nested := fs.Stat(root, path.Join(name, "go.mod"))
			if d.Name() == "testdata" || d.Name() == ".git" || (name != "." && nested == nil) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, text, parser.ParseComments)
		if err != nil {
			return err
		}
		out = append(out, source{name, string(text), f, fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestImports(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() || strings.HasPrefix(s.name, "examples/") {
			continue
		}
		allowed, ok := rooms[s.pkg()]
		if !ok {
			t.Errorf("%s: package %s has no line in rooms", s.name, s.pkg())
		}
		for _, imp := range s.ast.Imports {
			checkImport(t, s, strings.Trim(imp.Path.Value, `"`), allowed)
		}
	}
}

func checkImport(t *testing.T, s source, imported, allowed string) {
	own, isOwn := strings.CutPrefix(imported, "bzdata/")
	if isOwn && own != s.pkg() {
		anyRoom := allowed == "any" && own != "cmd/bzdata"
		if !anyRoom && !slices.Contains(strings.Fields(allowed), own) {
			t.Errorf("%s: %s must not import %s", s.name, s.pkg(), own)
		}
	}
	for mod, users := range wrapped {
		if strings.HasPrefix(imported, mod) && !slices.Contains(strings.Fields(users), s.pkg()) {
			t.Errorf("%s: only %s may import %s", s.name, users, mod)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, s := range sources(t) {
		if s.generated() {
			continue
		}
		lines := strings.Split(s.text, "\n")
		if len(lines) > fileLinesMax {
			t.Errorf("%s: %d lines, more than %d; cut it by subject", s.name, len(lines), fileLinesMax)
		}
		for i, l := range lines {
			wide := len([]rune(strings.ReplaceAll(l, "\t", "    "))) > columnsMax
			if wide && !strings.Contains(l, "`yaml:") && !s.test() {
				t.Errorf("%s:%d: wider than %d columns", s.name, i+1, columnsMax)
			}
		}
		for _, d := range s.ast.Decls {
			checkFuncSize(t, s, d)
		}
	}
}

func checkFuncSize(t *testing.T, s source, d ast.Decl) {
	fn, ok := d.(*ast.FuncDecl)
	if !ok {
		return
	}
	from, to := s.fset.Position(fn.Pos()).Line, s.fset.Position(fn.End()).Line
	if to-from+1 > funcLinesMax {
		t.Errorf("%s:%d: %s has %d lines, more than %d", s.name, from, fn.Name.Name, to-from+1, funcLinesMax)
	}
	if fn.Name.Name == "init" && fn.Recv == nil {
		t.Errorf("%s:%d: no init functions: pass values in", s.name, from)
	}
}

func TestDocumented(t *testing.T) {
	packages := map[string]bool{}
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		packages[s.pkg()] = packages[s.pkg()] || s.ast.Doc != nil
		for _, d := range s.ast.Decls {
			checkDocumented(t, s, d)
		}
	}
	for pkg, ok := range packages {
		if !ok {
			t.Errorf("%s: no package comment", pkg)
		}
	}
}

func checkDocumented(t *testing.T, s source, d ast.Decl) {
	missing := func(pos token.Pos, name string) {
		t.Errorf("%s:%d: exported %s has no comment", s.name, s.fset.Position(pos).Line, name)
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && exportedReceiver(d) && d.Doc == nil {
			missing(d.Pos(), d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if spec.Name.IsExported() && d.Doc == nil && spec.Doc == nil {
					missing(spec.Pos(), spec.Name.Name)
				}
			case *ast.ValueSpec:
				if spec.Names[0].IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
					missing(spec.Pos(), spec.Names[0].Name)
				}
			}
		}
	}
}

// exportedReceiver reports whether fn is a function or a method of an exported type
// that is not there only to satisfy a well-known interface.
func exportedReceiver(fn *ast.FuncDecl) bool {
	if fn.Recv == nil {
		return true
	}
	typ := fn.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if index, ok := typ.(*ast.IndexExpr); ok {
		typ = index.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}

// TestExit checks that only commands end the process.
func TestExit(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() || strings.HasPrefix(s.name, "cmd/") || strings.HasPrefix(s.name, "examples/") {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			id, ok := sel.X.(*ast.Ident)
			if ok && id.Name == "os" && sel.Sel.Name == "Exit" {
				t.Errorf("%s:%d: os.Exit outside cmd", s.name, s.fset.Position(n.Pos()).Line)
			}
			return true
		})
	}
}
