package pipeline

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"

	"github.com/zeebo/xxh3"
)

// noSum stands in a report's bytes where its hash goes. It is the first value of the
// file, so no other text is taken for it.
var noSum = strings.Repeat("0", 32)

// encode writes a report with its hash.
func (r *TaskReport) encode() ([]byte, error) {
	r.Sum = noSum
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return nil, err
	}
	r.Sum = sumOf(data)
	return bytes.Replace(data, []byte(noSum), []byte(r.Sum), 1), nil
}

// parseReport reads a report. One that was damaged in any byte is an error.
func parseReport(data []byte) (*TaskReport, error) {
	r := &TaskReport{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, err
	}
	blank := bytes.Replace(data, []byte(r.Sum), []byte(noSum), 1)
	if len(r.Sum) != len(noSum) || sumOf(blank) != r.Sum {
		return nil, errors.New("the report was changed")
	}
	return r, nil
}

func sumOf(data []byte) string {
	sum := xxh3.Hash128(data).Bytes()
	return hex.EncodeToString(sum[:])
}
