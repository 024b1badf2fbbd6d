package pipeline

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"bzdata/pipeline/store"
)

// TestDocQueue puts documents in and takes them out in runs of random lengths, beside a slice.
func TestDocQueue(t *testing.T) {
	fsys := store.NewCrashFS()
	task := &Task{FS: fsys, dir: "/task", spills: new(atomic.Int64)}
	if err := fsys.MkdirAll(task.dir); err != nil {
		t.Fatal(err)
	}
	q := docQueue{t: task, shard: 3}
	defer q.close()
	rng := rand.New(rand.NewPCG(1, 2))
	var want []Doc
	made := 0
	for round := range 60 {
		for range rng.IntN(40) {
			d := queuedDoc(rng, made)
			made++
			if err := q.put(&d); err != nil {
				t.Fatal(err)
			}
			want = append(want, heldDoc(&d))
			for i := range d.Fields { // what it was read from is used again
				clear(d.Fields[i].Value)
				clear(d.Fields[i].RawKey)
			}
		}
		take := rng.IntN(45)
		if round%20 == 19 {
			take = len(want)
		}
		for range min(take, len(want)) {
			checkNext(t, &q, &want[0])
			want = want[1:]
		}
		if q.count != len(want) {
			t.Fatalf("%d documents are left, want %d", q.count, len(want))
		}
	}
	for i := range want {
		checkNext(t, &q, &want[i])
	}
	if _, err := q.next(); err == nil {
		t.Error("an empty queue gives a document")
	}
	files, err := fsys.ReadDir(q.dir)
	if q.made < 5 || err != nil || len(files) > 0 {
		t.Errorf("%d files were made; left are %v, %v", q.made, files, err)
	}
	if filepath.Dir(filepath.Dir(q.dir)) != task.dir {
		t.Errorf("the files are in %s", q.dir)
	}
}

func queuedDoc(rng *rand.Rand, n int) Doc {
	text := strings.Repeat(fmt.Sprint(n, " "), rng.IntN(60_000))
	d := Doc{Ref: Ref{3, uint64(n)}, Source: "s", Path: fmt.Sprint("p", n/7), Text: text, Copies: 1 + n%3, Mark: Mark(n % 3), Slot: -1}
	d.Fields = []store.Field{{Key: "a", RawKey: []byte(`"\u0061"`), Value: []byte("1.0")}, {Key: "b", Value: store.AppendQuote(nil, text)}}
	switch n % 4 {
	case 1:
		d.Slot = 1
	case 2:
		d.Fields[1].Value = appendMessages(nil, []Message{{"user", text}})
		d.Slot, d.Messages = 1, []Message{{"user", text}}
	}
	return d
}

func checkNext(t *testing.T, q *docQueue, want *Doc) {
	t.Helper()
	got, err := q.next()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*got, *want) {
		t.Fatalf("document %v is not as it was put in, %v", got.Ref, want.Ref)
	}
}
