package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestFresh checks that the committed files are what the generator writes.
func TestFresh(t *testing.T) {
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the generator writes; run go generate in the folder above", name)
		}
	}
}
