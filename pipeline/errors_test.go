package pipeline

import (
	"errors"
	"fmt"
	"testing"

	"bzdata/pipeline/store"
)

// TestAsDataError tells damaged files of the user from those of the run, and from other errors.
func TestAsDataError(t *testing.T) {
	content := func(name string) error {
		return fmt.Errorf("stage x: %w", &store.ContentError{Name: name, Err: errors.New(name + " is damaged")})
	}
	plain := errors.New("no more room")
	usage := &UsageError{Msg: "no such column", Err: content("data/a.parquet")}
	for _, c := range []struct {
		err  error
		data bool
	}{
		{nil, false}, {plain, false}, {usage, false},
		{content("data/a.gz"), true}, {errors.Join(content("data/a.gz"), plain), true}, {content("s3://b/runs/p/a.gz"), true},
		{content("runs/p/stages/1/docs"), false}, {content("runs/p2/out/a.parquet"), true},
	} {
		got := AsDataError("runs/p", c.err)
		var data *DataError
		if errors.As(got, &data) != c.data || !c.data && got != c.err || c.data && got.Error() != c.err.Error() {
			t.Errorf("%v became %T: %v", c.err, got, got)
		}
	}
}
