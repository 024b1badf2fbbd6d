package pipeline

import "fmt"

// CheckConsent refuses a plan that runs commands which the options do not allow: a plan may
// come from someone else. [Run] asks it, too; commands ask before they write anything.
func CheckConsent(plan *Plan, opt Options) error {
	for i := range plan.Stages {
		step := &plan.Stages[i]
		p, err := step.Program()
		if err == nil && p.Executes != "" && !opt.AllowExec {
			return &UsageError{Msg: fmt.Sprintf("%s:%d:%d: stage %s runs the command %s; read it, and if you trust it add "+
				"--allow-exec", plan.File, step.Line, step.Col, step.Label(), p.Executes)}
		}
	}
	return nil // what else is wrong shows when the tasks are laid out
}
