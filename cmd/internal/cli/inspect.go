package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"bzdata/pipeline"
	"bzdata/pipeline/report"
	"bzdata/pipeline/store"
	"bzdata/stages"
	"bzdata/train/tensor"

	"github.com/spf13/cobra"
)

func newReport(env *environment) *cobra.Command {
	var html, jsonFile string
	cmd := &cobra.Command{
		Use:   "report RUN",
		Short: "Show the report of a run again",
		Long: `Report prints the summary of a work directory's last run, and can write its page or JSON
elsewhere.

` + exitStatus(exitDone, exitFailed, exitUsage),
		Args: exactly(1, "one RUN, a work directory"),
		RunE: func(_ *cobra.Command, args []string) error { return showReport(env, args[0], html, jsonFile) },
	}
	cmd.Flags().StringVar(&html, "html", "", "write the page to this `FILE`, too")
	cmd.Flags().StringVar(&jsonFile, "json", "",
		"write the report as JSON to this `FILE` instead; - is standard output")
	return cmd
}

func showReport(env *environment, workdir, html, jsonFile string) error {
	if err := errors.Join(checkOutput("--html", html), checkOutput("--json", jsonFile)); err != nil {
		return err
	}
	name := filepath.Join(workdir, "report.json")
	data, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		msg := workdir + " holds no report; name the folder that bzdata run wrote"
		return &pipeline.UsageError{Msg: msg, Err: err}
	case err != nil:
		return err
	}
	res, meta, err := report.ReadJSON(data)
	if err != nil {
		return fmt.Errorf("%s is damaged: %w; run the plan again", name, err)
	}
	if html != "" {
		err := store.WriteFile(store.OS(), html, func(w io.Writer) error { return report.WriteHTML(w, res, meta) })
		if err != nil {
			return err
		}
	}
	if jsonFile != "" {
		return writeJSON(env, jsonFile, func(w io.Writer) error { return report.WriteJSON(w, res, meta) })
	}
	return report.WriteText(env.stdout, res, meta)
}

func newVerify(env *environment) *cobra.Command {
	var jsonFile string
	cmd := &cobra.Command{
		Use:   "verify RUN|BUNDLE",
		Short: "Check every file of a run or bundle against what was recorded",
		Long: `Verify reads every output of a run, or of a bundle, and compares size, hash and counts with what
was recorded when it was made.

` + exitStatus(exitDone, exitFailed, exitUsage, exitData),
		Args: exactly(1, "one RUN or BUNDLE, a folder"),
		RunE: func(_ *cobra.Command, args []string) error { return verify(env, args[0], jsonFile) },
	}
	cmd.Flags().StringVar(&jsonFile, "json", "", "write the answer as JSON to this `FILE`; - is standard output")
	return cmd
}

func verify(env *environment, dir, jsonFile string) error {
	if err := checkOutput("--json", jsonFile); err != nil {
		return err
	}
	look := pipeline.VerifyRun
	if stages.IsBundle(store.OS(), dir) {
		look = stages.VerifyBundle
	}
	checks, err := look(store.OS(), dir)
	if err != nil {
		return err
	}
	var faults []string
	for _, c := range checks {
		if c.Fault != "" {
			faults = append(faults, fmt.Sprintf("%s: %s", c.What, c.Fault))
		}
	}
	if jsonFile != "" {
		err = writeJSON(env, jsonFile, func(w io.Writer) error { return json.NewEncoder(w).Encode(checks) })
	} else if len(faults) == 0 {
		_, err = fmt.Fprintf(env.stdout, "%s: %d checks, all well\n", dir, len(checks))
	}
	if len(faults) > 0 {
		return &pipeline.DataError{Msg: fmt.Sprintf("%d of %d checks failed:\n  %s",
			len(faults), len(checks), strings.Join(faults, "\n  "))}
	}
	return err
}

func versionLine() string {
	return fmt.Sprintf("bzdata %s, %s, %s/%s, kernels %s", buildID(), runtime.Version(), runtime.GOOS,
		runtime.GOARCH, strings.Join(tensor.Names(), " "))
}
