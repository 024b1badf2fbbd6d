package cuda

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// compilersVariable names files of libnvrtc, separated by colons, that [TestRealCompilers] tries.
const compilersVariable = "BZDATA_NVRTC"

// TestRealCompilers compiles every kernel file with NVIDIA's compilers for every architecture that they know from 8.0 on, and
// prints what a kernel takes of a card. `make cuda-compile` runs it.
func TestRealCompilers(t *testing.T) {
	list := os.Getenv(compilersVariable)
	if list == "" {
		t.Skipf("%s names no compiler; make cuda-compile fetches some", compilersVariable)
	}
	catalog, err := readCatalog(kernelFiles)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range filepath.SplitList(list) {
		c, err := openCompiler(path)
		if err != nil {
			t.Fatal(err)
		}
		archs := slices.DeleteFunc(slices.Clone(c.archs), func(a int) bool { return a < 80 })
		fmt.Printf("NVRTC %s: sm_%s\n", c.version, strings.Trim(strings.ReplaceAll(fmt.Sprint(archs), " ", ", "), "[]"))
		table := usageTable{}
		compileAll(t, c, catalog, archs, table)
		table.print(archs)
	}
}

// compileAll compiles the files for the architectures, as many at once as there are processors, and notes what their
// kernels take.
func compileAll(t *testing.T, c *compiler, catalog *catalog, archs []int, table usageTable) {
	var group sync.WaitGroup
	var mu sync.Mutex
	free := make(chan struct{}, runtime.NumCPU())
	m := modules{catalog: catalog}
	for _, s := range catalog.sources {
		for _, arch := range archs {
			free <- struct{}{}
			group.Go(func() {
				defer func() { <-free }()
				options := append(options(fmt.Sprintf("sm_%d", arch)), "--ptxas-options=-v")
				code, log, err := c.compileLogged(s.name, m.text(s), options)
				if err != nil || len(code) == 0 {
					t.Errorf("sm_%d: %v", arch, err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				table.read(s.name, arch, log)
			})
		}
	}
	group.Wait()
}

// usage is what a kernel takes: registers of a thread, bytes of shared memory of a block and, where registers do not
// suffice, bytes of a thread's memory.
type usage struct{ registers, shared, stack, spilled string }

// usageTable is by "file kernel" and architecture.
type usageTable map[string]map[int]usage

var (
	entryLog = regexp.MustCompile(`(?s)Compiling entry function '(\w+)'.*?(?:\z|Compile time)`)
	stackLog = regexp.MustCompile(`(\d+) bytes stack frame, (\d+) bytes spill stores`)
	usedLog  = regexp.MustCompile(`Used (\d+) registers`)
	sharLog  = regexp.MustCompile(`(\d+) bytes smem`)
)

// read notes what the assembler says about a file's kernels.
func (u usageTable) read(file string, arch int, log string) {
	first := func(r *regexp.Regexp, in string, group int) string {
		if m := r.FindStringSubmatch(in); m != nil {
			return m[group]
		}
		return "0"
	}
	for _, m := range entryLog.FindAllStringSubmatch(log, -1) {
		key := fmt.Sprintf("%-18s %s", file, m[1])
		if u[key] == nil {
			u[key] = map[int]usage{}
		}
		u[key][arch] = usage{first(usedLog, m[0], 1), first(sharLog, m[0], 1), first(stackLog, m[0], 1), first(stackLog, m[0], 2)}
	}
}

// print writes a line for each kernel: registers by architecture, then the most of static shared memory, stack and spills.
func (u usageTable) print(archs []int) {
	keys := make([]string, 0, len(u))
	for key := range u {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	fmt.Printf("%-48s registers by architecture; shared, stack and spilled bytes where there are some\n", "")
	for _, key := range keys {
		var registers, notes []string
		for _, a := range archs {
			of := u[key][a]
			registers = append(registers, fmt.Sprintf("%4s", of.registers))
			note := ""
			for _, n := range []struct{ name, bytes string }{{"shared", of.shared}, {"stack", of.stack}, {"spilled", of.spilled}} {
				if n.bytes != "0" {
					note += " " + n.name + " " + n.bytes
				}
			}
			if note != "" && !slices.Contains(notes, note) {
				notes = append(notes, note)
			}
		}
		fmt.Printf("%-48s%s %s\n", key, strings.Join(registers, ""), strings.Join(notes, " or"))
	}
}
