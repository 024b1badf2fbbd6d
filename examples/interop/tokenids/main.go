// Command tokenids encodes texts with bzdata, for tokenizers.py to compare:
//
//	tokenids ids TOKENIZER TEXTS OUT     writes the ids of each text: how many, then those, 4 bytes each
//	tokenids full TOKENIZER TEXTS OUT    writes a JSON object for each text: ids with and without special
//	                                     tokens, offsets, and what the ids decode to
//
// TOKENIZER is a tokenizer.json, TEXTS has a JSON string on each line.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"bzdata/pipeline/store"
	"bzdata/tokenize"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tokenids:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 4 || args[0] != "ids" && args[0] != "full" {
		return errors.New("usage: tokenids ids|full TOKENIZER TEXTS OUT")
	}
	tok, err := tokenize.Load(store.OS(), args[1])
	if err != nil {
		return err
	}
	in, err := os.Open(args[2])
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(args[3])
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	write := writeIDs
	if args[0] == "full" {
		write = writeFull
	}
	if err := each(in, func(text string) error { return write(w, tok, text) }); err != nil {
		return err
	}
	return errors.Join(w.Flush(), out.Close())
}

// each calls visit with the texts, and says how fast that was.
func each(in io.Reader, visit func(text string) error) error {
	d := json.NewDecoder(bufio.NewReaderSize(in, 1<<20))
	bytes, spent := 0, time.Duration(0)
	for {
		var text string
		if err := d.Decode(&text); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		start := time.Now()
		if err := visit(text); err != nil {
			return err
		}
		bytes, spent = bytes+len(text), spent+time.Since(start)
	}
	fmt.Printf("bzdata: %d bytes, %.1f MB/s\n", bytes, float64(bytes)/1e6/spent.Seconds())
	return nil
}

func writeIDs(w io.Writer, tok *tokenize.Tokenizer, text string) error {
	ids := tok.EncodeSpecial([]int32{0}, text)
	ids[0] = int32(len(ids) - 1)
	return binary.Write(w, binary.LittleEndian, ids)
}

// full is what is compared of one text.
type full struct {
	Special []int32  `json:"special"`
	Plain   []int32  `json:"plain"`
	Offsets [][2]int `json:"offsets"`
	Decoded string   `json:"decoded"`
}

func writeFull(w io.Writer, tok *tokenize.Tokenizer, text string) error {
	f := full{Special: tok.EncodeSpecial([]int32{}, text), Plain: tok.Encode([]int32{}, text), Offsets: [][2]int{}}
	ids, offsets := tok.EncodeOffsets(text, true)
	for i, o := range offsets {
		if ids[i] != f.Special[i] {
			return fmt.Errorf("%q: EncodeOffsets has other ids than EncodeSpecial", text)
		}
		f.Offsets = append(f.Offsets, [2]int{o.Start, o.End})
	}
	f.Decoded = string(tok.Decode(f.Special))
	return json.NewEncoder(w).Encode(f)
}
