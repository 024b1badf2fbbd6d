package cli

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"bzdata/train/tensor"
	"bzdata/train/tensor/cuda"
)

// devicesJSON is the answer of bzdata doctor --devices.
type devicesJSON struct {
	Processor struct {
		Kernels []string `json:"kernels"` // the fastest first
		Cores   int      `json:"cores"`
	} `json:"processor"`
	CUDA cuda.Survey `json:"cuda"`
	// NotReady says why no card can be used.
	NotReady string    `json:"not_ready,omitempty"`
	Warm     *warmJSON `json:"warm,omitempty"`
}

// warmJSON says how the kernels were made ready.
type warmJSON struct {
	Device  string       `json:"device"`
	Seconds float64      `json:"seconds"`
	Files   []cuda.Built `json:"files"`
}

// devices lists what bzdata can compute on.
func (f *doctorFlags) devices(env *environment) error {
	var out devicesJSON
	out.Processor.Kernels, out.Processor.Cores = tensor.Names(), runtime.NumCPU()
	out.CUDA = cuda.Inspect(nil)
	if err := out.CUDA.Ready(); err != nil {
		out.NotReady = err.Error()
	}
	if f.warm {
		warm, err := warmUp()
		if err != nil {
			return fmt.Errorf("--warm: %w", err)
		}
		out.Warm = warm
	}
	if f.json != "" {
		return writeJSON(env, f.json, indented(out))
	}
	_, err := io.WriteString(env.stdout, out.text())
	return err
}

// warmUp compiles the kernels for the first card.
func warmUp() (*warmJSON, error) {
	began := time.Now()
	device, err := cuda.New(cuda.Options{Precision: tensor.Half})
	if err != nil {
		return nil, err
	}
	built, err := device.Warm()
	if closed := device.Close(); err == nil {
		err = closed
	}
	return &warmJSON{Device: device.String(), Seconds: time.Since(began).Seconds(), Files: built}, err
}

// text is the answer for a terminal.
func (out *devicesJSON) text() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	b.WriteString("processor\n")
	line("kernels", "%s", strings.Join(out.Processor.Kernels, " "))
	line("cores", "%d", out.Processor.Cores)
	b.WriteString("\nCUDA, not tested on a card yet\n")
	if out.CUDA.Unsupported != "" {
		line("none", "%s", out.CUDA.Unsupported)
		return b.String()
	}
	libraries := []cuda.Found{out.CUDA.Driver, out.CUDA.Compiler, out.CUDA.Products}
	for i, found := range libraries {
		if found.Missing == "" {
			line(found.Library, "%s, %s", found.Version, found.Path)
			continue
		}
		line(found.Library, "%s", found.Missing)
		if i+1 < len(libraries) && libraries[i+1].Missing != "" && slices.Equal(libraries[i+1].Folders, found.Folders) {
			continue // the next line says the same
		}
		if len(found.Folders) > 0 {
			line("", "looked in %s", strings.Join(found.Folders, " "))
		}
		if found.Advice != "" {
			line("", "→ %s", found.Advice)
		}
	}
	for _, card := range out.CUDA.Cards {
		problem := ""
		if card.Problem != "" {
			problem = "; cannot be used: " + card.Problem
		}
		line(fmt.Sprintf("card %d", card.Ordinal), "%s, compute capability %s, %.1f GiB, %d multiprocessors%s",
			card.Name, card.Capability(), float64(card.MemoryBytes)/(1<<30), card.Processors, problem)
	}
	line("cache", "%s", out.CUDA.Cache)
	if out.NotReady == "" {
		line("", "a card can be used")
	} else {
		line("", "no card can be used; training and scoring run on the processor")
	}
	if out.Warm != nil {
		out.Warm.write(&b)
	}
	return b.String()
}

func (w *warmJSON) write(b *strings.Builder) {
	fmt.Fprintf(b, "\nkernels of %s, ready in %.1f s\n", w.Device, w.Seconds)
	for _, f := range w.Files {
		how := fmt.Sprintf("compiled in %.1f s", f.Seconds)
		if f.Cached {
			how = "from the cache"
		}
		if f.NotKept != "" {
			how += ", not kept: " + f.NotKept
		}
		fmt.Fprintf(b, "  %-18s %s, %d bytes\n", f.File, how, f.Bytes)
	}
}
