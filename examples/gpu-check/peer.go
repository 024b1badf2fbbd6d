package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// peerFigure is a measurement of peer.py. What and unit are those of a figure here.
type peerFigure struct {
	What  string  `json:"what"`
	Way   string  `json:"way"` // such as "eager"
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// readPeer reads what peer.py has written; without a file there is nothing.
func readPeer(path string) ([]peerFigure, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var peer struct {
		Versions string       `json:"versions"`
		Figures  []peerFigure `json:"figures"`
	}
	if err := json.Unmarshal(data, &peer); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for i := range peer.Figures {
		peer.Figures[i].Way += ", " + peer.Versions
	}
	return peer.Figures, nil
}

// ratios set figures beside the peer's: how many times as fast, or how many times the memory.
func (r *results) ratios(peer []peerFigure) []string {
	var out []string
	for _, p := range r.ordered() {
		for _, f := range p.Figures {
			for _, other := range peer {
				if other.What != f.What || other.Unit != f.Unit || other.Value == 0 || f.Value == 0 {
					continue
				}
				ratio, what := float64(f.Value)/other.Value, "times the peer's"
				if f.Unit == seconds {
					ratio, what = 1/ratio, "times as fast as the peer"
				}
				out = append(out, fmt.Sprintf("%s: %.4g %s, %.4g with %s: %.2f %s", f.What, float64(f.Value), f.Unit, other.Value,
					other.Way, ratio, what))
			}
		}
	}
	return out
}
