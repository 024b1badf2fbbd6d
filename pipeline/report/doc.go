// Package report shows the result of a run: as text for a terminal, as JSON, and as one
// HTML page without anything outside it.
//
// It draws general panels (tables, bars, curves, heat maps, samples) and knows no stage:
// what there is to show comes with the result.
package report
