package remote_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"bzdata/pipeline/store"
	"bzdata/pipeline/store/remote"
	"bzdata/pipeline/store/remote/remotetest"
)

// asked notes which host is asked, and refuses.
type asked struct{ hosts []string }

func (a *asked) RoundTrip(r *http.Request) (*http.Response, error) {
	a.hosts = append(a.hosts, r.URL.Host+" "+r.Header.Get("Authorization"))
	return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
}

func viewing(t *testing.T, transport http.RoundTripper, env map[string]string) *remote.FS {
	t.Helper()
	env["HF_HOME"] = t.TempDir()
	fsys := remote.New(t.Context(), store.OS(), remote.Options{Attempts: 2, Jitter: rand.New(rand.NewPCG(1, 2)), Transport: transport,
		Env:   func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		Sleep: func(context.Context, time.Duration) error { return nil }})
	t.Cleanup(func() { fsys.Close() })
	return fsys
}

// TestView asks the server beside the hub, and says what it does not know.
func TestView(t *testing.T) {
	note := &asked{}
	fsys := viewing(t, note, map[string]string{"HF_TOKEN": "secret"})
	err := fsys.View("owner/set", "size", url.Values{"dataset": {"owner/set"}}, nil)
	if err == nil || err.Error() != "owner/set: the datasets server knows no size of dataset=owner%2Fset" {
		t.Error(err)
	}
	if len(note.hosts) != 1 || note.hosts[0] != "datasets-server.huggingface.co Bearer secret" {
		t.Errorf("%q", note.hosts)
	}
	offline := viewing(t, note, map[string]string{"HF_HUB_OFFLINE": "1"})
	if err := offline.View("owner/set", "size", nil, nil); err == nil || !strings.Contains(err.Error(), "HF_HUB_OFFLINE is set") {
		t.Error(err)
	}
	viewer := remotetest.NewViewer(map[string][]remotetest.ViewerSplit{"owner/set": {{Config: "a", Split: "train", Rows: 3}}},
		func(_, _ string, row int64) string { return strings.Repeat("x", int(row)) })
	defer viewer.Close()
	var answer struct {
		Rows []struct{ Row struct{ Text string } }
	}
	query := url.Values{"dataset": {"owner/set"}, "config": {"a"}, "split": {"train"}, "offset": {"1"}, "length": {"50"}}
	here := viewing(t, nil, map[string]string{"HF_ENDPOINT": viewer.URL})
	if err := here.View("owner/set", "rows", query, &answer); err != nil || len(answer.Rows) != 2 || answer.Rows[1].Row.Text != "xx" {
		t.Errorf("%+v, %v", answer, err)
	}
}
