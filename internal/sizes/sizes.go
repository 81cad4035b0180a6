// Package sizes adds and multiplies sizes that come from files. A result that does not fit is the largest size there
// is, which every limit refuses; so no sum of hostile sizes passes one by wrapping around.
package sizes

import (
	"math"
	"math/bits"
)

// Add returns a + b, at most math.MaxUint64.
func Add(a, b uint64) uint64 {
	if sum, carry := bits.Add64(a, b, 0); carry == 0 {
		return sum
	}
	return math.MaxUint64
}

// Mul returns a * b, at most math.MaxUint64.
func Mul(a, b uint64) uint64 {
	if high, low := bits.Mul64(a, b); high == 0 {
		return low
	}
	return math.MaxUint64
}
