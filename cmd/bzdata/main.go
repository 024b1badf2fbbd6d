// Command bzdata turns raw text into curated training data, trains the experts of a
// mixture-of-experts model on it, and checks what a validator would measure.
package main

import (
	"os"

	"bzdata/cmd/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
