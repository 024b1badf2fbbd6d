//go:build !amd64

package words

// bestClassify returns the fastest [classifier] that this processor can run.
func bestClassify() classifier { return classifyPlain }
