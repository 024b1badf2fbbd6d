package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"bzdata/pipeline/store"
)

// result is what a part has found.
type result struct {
	Part    string    `json:"part"`
	Key     key       `json:"key"`
	When    string    `json:"when"`
	Passed  bool      `json:"passed"`
	Seconds float64   `json:"seconds"`
	Error   string    `json:"error,omitempty"`
	Bounds  []bounded `json:"bounds,omitempty"`
	Figures []figure  `json:"figures,omitempty"`
	Notes   []string  `json:"notes,omitempty"`
}

// bounded is a value that must not be greater than a bound.
type bounded struct {
	What  string  `json:"what"`
	Value number  `json:"value"`
	Bound float64 `json:"bound"`
	Held  bool    `json:"held"`
}

// figure is a measurement.
type figure struct {
	What  string `json:"what"`
	Value number `json:"value"`
	Unit  string `json:"unit"`
}

// number is a value of which JSON knows NaN and infinities as null.
type number float64

// MarshalJSON implements [json.Marshaler].
func (n number) MarshalJSON() ([]byte, error) {
	if f := float64(n); math.IsNaN(f) || math.IsInf(f, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON implements [json.Unmarshaler].
func (n *number) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*n = number(math.NaN())
		return nil
	}
	return json.Unmarshal(data, (*float64)(n))
}

// results are a file of them, one for each part.
type results struct {
	path  string
	Parts []result `json:"parts"`
}

func openResults(path string) (*results, error) {
	r := &results{path: path}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(data, r)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// passed returns the result of a part that need not be run again.
func (r *results) passed(name string, k key) (result, bool) {
	for _, p := range r.Parts {
		if p.Part == name && p.Key == k && p.Passed {
			return p, true
		}
	}
	return result{}, false
}

// put writes a result to the file, in place of an older one.
func (r *results) put(one result) error {
	r.Parts = slices.DeleteFunc(r.Parts, func(p result) bool { return p.Part == one.Part })
	r.Parts = append(r.Parts, one)
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return store.WriteBytes(store.OS(), r.path, append(data, '\n'))
}

// ordered are the results in the order of parts.
func (r *results) ordered() []result {
	var out []result
	for _, p := range parts() {
		if i := slices.IndexFunc(r.Parts, func(one result) bool { return one.Part == p.name }); i >= 0 {
			out = append(out, r.Parts[i])
		}
	}
	return out
}

func (r result) outcome() string {
	if r.Passed {
		return "passed"
	}
	return "FAILED"
}

// missed says which bounds did not hold.
func (r result) missed() []string {
	var out []string
	if r.Error != "" {
		out = append(out, r.Error)
	}
	for _, b := range r.Bounds {
		if !b.Held {
			out = append(out, fmt.Sprintf("%s: %.3g, more than %.3g", b.What, float64(b.Value), b.Bound))
		}
	}
	return out
}

// falls is what shows that something was learned. It is near its bound, and says nothing about precision.
const falls = "loss of the last quarter as a part of the first's"

// nearest is the bound that is the least far from its value, for people.
func (r result) nearest() string {
	at, share := "", -1.
	for _, b := range r.Bounds {
		if b.Bound > 0 && !strings.HasSuffix(b.What, falls) && float64(b.Value)/b.Bound > share {
			share = float64(b.Value) / b.Bound
			at = fmt.Sprintf("%s: %.2g of %.2g", b.What, float64(b.Value), b.Bound)
		}
	}
	return at
}

// table prints all results.
func (r *results) table(to io.Writer, peer []peerFigure) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\npart\toutcome\tseconds\tbounds\tnearest to its bound")
	for _, p := range r.ordered() {
		fmt.Fprintf(w, "%s\t%s\t%.0f\t%d\t%s\n", p.Part, p.outcome(), p.Seconds, len(p.Bounds), p.nearest())
	}
	w.Flush()
	for _, p := range r.ordered() {
		for _, line := range p.missed() {
			fmt.Fprintf(to, "%s FAILED %s\n", p.Part, line)
		}
	}
	for _, line := range r.ratios(peer) {
		fmt.Fprintln(to, line)
	}
}

// markdown prints all results for a document.
func (r *results) markdown(to io.Writer, peer []peerFigure) error {
	list := r.ordered()
	if len(list) == 0 {
		return fmt.Errorf("%s has no results", r.path)
	}
	fmt.Fprintf(to, "%s; %s; program %.12s.\n\n", list[0].Key.Card, list[0].Key.Versions, list[0].Key.Program)
	fmt.Fprintln(to, "| part | outcome | seconds | bounds | nearest to its bound |\n| --- | --- | ---: | ---: | --- |")
	for _, p := range list {
		fmt.Fprintf(to, "| %s | %s | %.0f | %d | %s |\n", p.Part, p.outcome(), p.Seconds, len(p.Bounds), p.nearest())
	}
	fmt.Fprintln(to, "\n| part | figure | value | unit |\n| --- | --- | ---: | --- |")
	for _, p := range list {
		for _, f := range p.Figures {
			fmt.Fprintf(to, "| %s | %s | %.4g | %s |\n", p.Part, f.What, float64(f.Value), f.Unit)
		}
	}
	fmt.Fprintln(to)
	for _, p := range list {
		for _, line := range append(p.missed(), p.Notes...) {
			fmt.Fprintf(to, "- %s: %s\n", p.Part, strings.ReplaceAll(line, "\n", " "))
		}
	}
	for _, line := range r.ratios(peer) {
		fmt.Fprintf(to, "- %s\n", line)
	}
	return nil
}
