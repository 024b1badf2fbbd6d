package cuda

import (
	"errors"
	"fmt"
)

// Survey is what a machine has of what the device needs.
type Survey struct {
	// Unsupported says why this build has no GPU device at all; the rest is empty then.
	Unsupported string `json:"unsupported,omitempty"`
	Driver      Found  `json:"driver"`
	Compiler    Found  `json:"compiler"`
	Products    Found  `json:"products"`
	Cards       []Seen `json:"cards"`
	// Cache is the folder of compiled kernels.
	Cache string `json:"cache"`
}

// Found is a library: where it is, or why there is none.
type Found struct {
	Library string `json:"library"`
	Path    string `json:"path,omitempty"`
	Version string `json:"version,omitempty"`
	Missing string `json:"missing,omitempty"`
	// Advice says how to get it, and Folders are where it was looked for.
	Advice  string   `json:"advice,omitempty"`
	Folders []string `json:"folders,omitempty"`
}

// Seen is a card, and why it cannot be used, if so.
type Seen struct {
	Card
	Problem string `json:"problem,omitempty"`
}

// Inspect looks for the libraries in folders, nil for [Folders], and for cards. It uses no memory of a card.
func Inspect(folders []string) Survey {
	s := Survey{
		Unsupported: unsupported, Cards: []Seen{},
		Driver: Found{Library: "libcuda"}, Compiler: Found{Library: "libnvrtc"}, Products: Found{Library: "libcublasLt"},
	}
	if unsupported != "" {
		return s
	}
	v, err := findDriver(folders)
	made := version(1000 * majorMax) // without a driver, any version of the others is worth knowing
	if err == nil {
		if made, err = v.version(); err == nil {
			s.Driver.Path, s.Driver.Version = v.path, "CUDA "+made.String()
		}
	}
	s.Driver.miss(err)
	c, err := findCompiler(folders, made)
	if err == nil {
		s.Compiler.Path, s.Compiler.Version = c.path, c.version.String()
	}
	s.Compiler.miss(err)
	b, err := findBLAS(folders, made)
	if err == nil {
		s.Products.Path, s.Products.Version = b.path, b.version
	}
	s.Products.miss(err)
	if s.Driver.Missing == "" {
		s.see(v, c)
	}
	if s.Cache, err = CacheFolder(); err != nil {
		s.Cache = ""
	}
	return s
}

func (f *Found) miss(err error) {
	var none *notFoundError
	switch {
	case errors.As(err, &none):
		f.Missing, f.Advice, f.Folders = none.reason(), none.advice, none.folders
	case err != nil:
		f.Missing = err.Error()
	}
}

// see describes the cards; the compiler may be nil.
func (s *Survey) see(v *driver, c *compiler) {
	n, err := v.count()
	if err != nil {
		s.Driver.miss(err)
		return
	}
	for i := range n {
		card, err := v.card(i)
		if card == nil {
			card = &Card{Ordinal: i}
		}
		seen := Seen{Card: *card}
		if err == nil {
			err = card.usable()
		}
		if err == nil && c != nil {
			_, err = c.archFor(card)
		}
		if err != nil {
			seen.Problem = err.Error()
		}
		s.Cards = append(s.Cards, seen)
	}
}

// Ready returns nil if a device can be opened, as far as can be seen without doing so, or else the first thing that is missing.
func (s *Survey) Ready() error {
	if s.Unsupported != "" {
		return errors.New(s.Unsupported)
	}
	for _, f := range []Found{s.Driver, s.Compiler, s.Products} {
		if f.Missing != "" {
			return errors.New(f.Missing)
		}
	}
	for _, card := range s.Cards {
		if card.Problem == "" {
			return nil
		}
	}
	if len(s.Cards) == 0 {
		return errNoCard
	}
	return fmt.Errorf("no card can be used: %s", s.Cards[0].Problem)
}
