// Command gpu-check tries the device of package cuda on a real card: whether its results are the processor's, how fast it is,
// what memory it takes, and what it says when something is missing.
//
//	gpu-check [--results FILE] [--peer FILE] PART…|all
//	gpu-check --list
//	gpu-check --results FILE --markdown
//
// It needs nothing but itself and what the device needs (see the README's section on cards): weights are made on the spot by
// a generator that any value can be asked of, the same on every machine. A part takes less than ten minutes.
//
// What a part finds is written to the file of results when it ends. A part that is there with the same program, card and
// versions of libraries, and passed, is not run again, so that "gpu-check all" may be ended at any time and called
// again. With --peer, what peer.py measured with PyTorch on the same card is set beside it.
//
// The status is 0 if all parts asked for have passed, and 1 if not.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"
)

type options struct {
	results, peer  string
	list, markdown bool
	limit          time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.results, "results", "gpu-check.json", "file of results, which is gone on with")
	flag.StringVar(&o.peer, "peer", "", "file that peer.py has written")
	flag.BoolVar(&o.list, "list", false, "list the parts")
	flag.BoolVar(&o.markdown, "markdown", false, "print the results for bench/GPU.md, and run nothing")
	flag.DurationVar(&o.limit, "limit", 9*time.Minute, "time for each part")
	flag.Parse()
	// Memory is full of weights, in large blocks: half as much again for garbage would be too much.
	debug.SetGCPercent(20)
	if err := run(context.Background(), os.Stdout, fullSizes(), o, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "gpu-check:", err)
		os.Exit(1)
	}
}

// run does what the options ask for.
func run(ctx context.Context, out io.Writer, s sizes, o options, names []string) error {
	if o.list {
		for _, p := range parts() {
			fmt.Fprintf(out, "%-12s %s\n", p.name, p.about)
		}
		return nil
	}
	peer, err := readPeer(o.peer)
	if err != nil {
		return err
	}
	file, err := openResults(o.results)
	if err != nil {
		return err
	}
	if o.markdown {
		return file.markdown(out, peer)
	}
	chosen, err := choose(names)
	if err != nil {
		return err
	}
	key, err := newKey(s)
	if err != nil {
		return err
	}
	failed := 0
	for _, p := range chosen {
		r, done := file.passed(p.name, key)
		if done {
			fmt.Fprintf(out, "%s: passed on %s, and nothing has changed\n", p.name, r.When)
			continue
		}
		fmt.Fprintf(out, "%s: %s\n", p.name, p.about)
		if r = p.do(ctx, out, s, o.limit); !r.Passed {
			failed++
		}
		r.Key = key
		if err := file.put(r); err != nil {
			return err
		}
	}
	file.table(out, peer)
	if failed > 0 {
		return fmt.Errorf("%d of %d parts failed", failed, len(chosen))
	}
	return nil
}
