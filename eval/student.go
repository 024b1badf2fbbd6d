package eval

import "math"

// studentQuantile is the value that Student's t of so many degrees of freedom, which need not be a
// whole number, stays below with probability p, 0.5 <= p < 1.
func studentQuantile(p, freedom float64) float64 {
	low, high := 0.0, 1.0
	for studentBelow(high, freedom) < p && high < 1e12 {
		high *= 2
	}
	for range 200 {
		middle := (low + high) / 2
		if studentBelow(middle, freedom) < p {
			low = middle
		} else {
			high = middle
		}
	}
	return high
}

// studentBelow is the probability that Student's t stays below t >= 0 (Abramowitz and Stegun,
// 26.7.1).
func studentBelow(t, freedom float64) float64 {
	return 1 - betaShare(freedom/(freedom+t*t), freedom/2, 0.5)/2
}

// betaShare is the regularised incomplete beta function I_x(a, b) (Abramowitz and Stegun, 26.5).
func betaShare(x, a, b float64) float64 {
	switch {
	case x <= 0:
		return 0
	case x >= 1:
		return 1
	case x > (a+1)/(a+b+2): // the fraction converges fast on the other side
		return 1 - betaShare(1-x, b, a)
	}
	lgamma := func(v float64) float64 { g, _ := math.Lgamma(v); return g }
	front := math.Exp(lgamma(a+b)-lgamma(a)-lgamma(b)+a*math.Log(x)+b*math.Log1p(-x)) / a
	return front * betaFraction(x, a, b)
}

// betaFraction is the continued fraction of 26.5.8, by Lentz's method (Thompson and Barnett 1986).
func betaFraction(x, a, b float64) float64 {
	const tiny = 1e-300
	away := func(v float64) float64 {
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	c, d := 1.0, 1/away(1-(a+b)*x/(a+1))
	f := d
	for i := 1; i <= 10000; i++ {
		m := float64(i)
		even := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		d, c = 1/away(1+even*d), away(1+even/c)
		f *= d * c
		odd := -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		d, c = 1/away(1+odd*d), away(1+odd/c)
		f *= d * c
		if math.Abs(d*c-1) < 1e-15 {
			break
		}
	}
	return f
}
