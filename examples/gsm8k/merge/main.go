// Command merge makes a new base model of a base and a run's update, as a network does
// between two cycles.
//
//	merge --base DIR --run RUN --to DIR
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"bzdata/pipeline/store"
	"bzdata/stages"
	"bzdata/train/checkpoint"
)

func main() {
	base := flag.String("base", "", "base model's folder")
	run := flag.String("run", "", "work directory whose update is merged")
	to := flag.String("to", "", "folder of the new base model")
	flag.Parse()
	if err := merge(*base, *run, *to); err != nil {
		fmt.Fprintln(os.Stderr, "merge:", err)
		os.Exit(1)
	}
}

func merge(base, run, to string) error {
	fsys := store.OS()
	weights, err := checkpoint.OpenDir(fsys, base)
	if err != nil {
		return err
	}
	defer weights.Close()
	update, err := stages.OpenUpdate(fsys, filepath.Join(run, "out", "update"))
	if err != nil {
		return err
	}
	defer update.Close()
	merged, err := checkpoint.Overlay(weights, update)
	if err != nil {
		return err
	}
	if err := fsys.MkdirAll(to); err != nil {
		return err
	}
	for _, name := range []string{"config.json", "tokenizer.json"} {
		data, err := store.ReadAll(fsys, filepath.Join(base, name))
		if err != nil {
			return err
		}
		if err := store.WriteBytes(fsys, filepath.Join(to, name), data); err != nil {
			return err
		}
	}
	tensors, err := checkpoint.Tensors(merged)
	if err != nil {
		return err
	}
	return store.WriteFile(fsys, filepath.Join(to, checkpoint.SingleFile),
		func(w io.Writer) error { return checkpoint.Write(w, tensors, nil) })
}
