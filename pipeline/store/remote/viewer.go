package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"strings"

	"bzdata/pipeline/store"
)

// View asks the hub's datasets server about a data set, OWNER/NAME: what is size, rows and so on. The server's
// address is the hub's with datasets-server. before the host, as the library datasets has it; a host that is a number has
// no names below it, and answers itself.
func (f *FS) View(dataset, what string, query url.Values, answer any) error {
	l := store.Location{Scheme: "hf", Root: dataset, Revision: "main"}
	_, s, err := f.at(l.String())
	if err != nil {
		return err
	}
	hub, ok := s.(*hubScheme)
	if !ok {
		return &store.LocationError{Msg: dataset + " is no data set of the hub"}
	}
	if hub.offline {
		return &store.LocationError{Msg: fmt.Sprintf("%s: HF_HUB_OFFLINE is set; unset it to ask the datasets server", dataset)}
	}
	at := hub.viewer() + "/" + what + "?" + query.Encode()
	err = f.web.try(f.ctx, l.String(), func(ctx context.Context) error {
		_, err := hub.get(ctx, l, at, answer)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: the datasets server knows no %s of %s", dataset, what, query.Encode())
	}
	return err
}

// viewer is the address of the datasets server.
func (h *hubScheme) viewer() string {
	u, err := url.Parse(h.endpoint)
	if err != nil || net.ParseIP(u.Hostname()) != nil {
		return h.endpoint
	}
	return strings.Replace(h.endpoint, "://", "://datasets-server.", 1)
}
