package main

import (
	"fmt"
	"math"
	"slices"
)

// spread is the middle and the ends of some measurements.
type spread struct {
	median, least, greatest float64
	n                       int
}

// spreadOf describes measurements; of none it is the zero value. The median of an even
// number is the mean of the two in the middle.
func spreadOf(values []float64) spread {
	n := len(values)
	if n == 0 {
		return spread{}
	}
	s := slices.Sorted(slices.Values(values))
	return spread{(s[(n-1)/2] + s[n/2]) / 2, s[0], s[n-1], n}
}

// String gives the median with three digits, and the ends if they differ from it.
func (s spread) String() string {
	switch {
	case s.n == 0:
		return "–"
	case s.n == 1:
		return digits(s.median)
	}
	return fmt.Sprintf("%s (%s … %s)", digits(s.median), digits(s.least), digits(s.greatest))
}

// digits formats a measurement with three significant digits, without an exponent.
func digits(v float64) string {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return fmt.Sprint(v)
	}
	decimals := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	return fmt.Sprintf("%.*f", max(0, decimals), v)
}

// ratios divides two series of measurements round by round.
func ratios(over, under []float64) []float64 {
	var out []float64
	for i := range min(len(over), len(under)) {
		out = append(out, over[i]/under[i])
	}
	return out
}

// count formats a number with its thousands apart.
func count(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}
