package checkpoint

import (
	"cmp"
	"encoding/hex"
	"slices"

	"golang.org/x/crypto/blake2b"
)

const hashBytes = 24

// Hash returns the networks' name for a set of tensors, 48 hexadecimal digits: BLAKE2b
// with a digest of 24 bytes over each tensor's name and then its raw values, in the byte
// order of the names. Shapes, types and separators do not enter.
// Source: CognitoBlocks/BlockZero 907d2e4, mycelia/shared/helper.py, get_model_hash.
func Hash(tensors []Tensor) (string, error) {
	if err := checkNames(tensors); err != nil {
		return "", err
	}
	order := slices.Clone(tensors)
	slices.SortFunc(order, func(a, b Tensor) int { return cmp.Compare(a.Name, b.Name) })
	h, err := blake2b.New(hashBytes, nil)
	if err != nil {
		return "", err
	}
	for _, t := range order {
		data, err := t.values()
		if err != nil {
			return "", err
		}
		h.Write([]byte(t.Name))
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
