package restorer

import (
	"fmt"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/pause"
)

// checkStages refuses plugins whose hooks are all around a dump: a restore would do nothing with them and report
// success.
func checkStages(plugins []blob.Input) error {
	var errs []error
	for i, label := range blob.Labels(plugins) {
		if plugins[i].Plugin.OnlyAroundDump() {
			errs = append(errs, fmt.Errorf("restore: plugin %s: it has hooks around a dump alone (%s), which a restore does not "+
				"run; crpie try -p PID --stages pre-dump does", escape.Name(label), plugins[i].Plugin.Hooks[0].ID))
		}
	}
	return several.Join(errs...)
}

// checkPause refuses a point that a restore does not reach.
func checkPause(at pause.Point, plugins []blob.Input) error {
	err := at.Check(plugins)
	if err == nil && at.Stage.OfDump() {
		err = fmt.Errorf("pause at %s: a restore does not run hooks around a dump", at.Stage)
	}
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}
