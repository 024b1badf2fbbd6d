package remotetest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
)

// ViewerSplit is a split of a configuration of a data set.
type ViewerSplit struct {
	Config string `json:"config"`
	Split  string `json:"split"`
	Rows   int64  `json:"num_rows"`
}

// Viewer is a server that tells sizes and rows of data sets as the hub's datasets server does.
type Viewer struct {
	*httptest.Server
	splits map[string][]ViewerSplit
	text   func(dataset, config string, row int64) string

	mu    sync.Mutex
	asked int // for rows
}

// NewViewer starts a server of data sets by their names OWNER/NAME, whose texts are those of text. Close ends it.
func NewViewer(splits map[string][]ViewerSplit, text func(dataset, config string, row int64) string) *Viewer {
	v := &Viewer{splits: splits, text: text}
	v.Server = httptest.NewServer(http.HandlerFunc(v.serve))
	return v
}

// Asked is how often it was asked for rows.
func (v *Viewer) Asked() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.asked
}

func (v *Viewer) serve(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	splits, known := v.splits[q.Get("dataset")]
	switch {
	case !known:
		refuse(w, http.StatusNotFound, "")
	case r.URL.Path == "/size":
		json.NewEncoder(w).Encode(map[string]any{"size": map[string]any{"splits": splits}, "partial": false})
	case r.URL.Path == "/rows":
		v.rows(w, r, splits)
	default:
		refuse(w, http.StatusNotFound, "")
	}
}

func (v *Viewer) rows(w http.ResponseWriter, r *http.Request, splits []ViewerSplit) {
	v.mu.Lock()
	v.asked++
	v.mu.Unlock()
	q := r.URL.Query()
	from, err1 := strconv.ParseInt(q.Get("offset"), 10, 64)
	length, err2 := strconv.ParseInt(q.Get("length"), 10, 64)
	if err1 != nil || err2 != nil || length > 100 {
		refuse(w, http.StatusUnprocessableEntity, "")
		return
	}
	for _, s := range splits {
		if s.Config != q.Get("config") || s.Split != q.Get("split") {
			continue
		}
		rows := []any{}
		for i := from; i < min(from+length, s.Rows); i++ {
			rows = append(rows, map[string]any{"row_idx": i, "truncated_cells": []string{},
				"row": map[string]any{"text": v.text(q.Get("dataset"), s.Config, i), "id": i}})
		}
		json.NewEncoder(w).Encode(map[string]any{"rows": rows, "num_rows_total": s.Rows, "num_rows_per_page": 100,
			"partial": false})
		return
	}
	refuse(w, http.StatusNotFound, "")
}
