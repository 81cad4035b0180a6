package pluginspec

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/sys"
)

// GiveBack makes descriptors that Load has read and closed readable again, for a crpie that is executed in the place of
// this one.
func GiveBack(inputs []blob.Input) error {
	var errs []error
	for _, in := range inputs {
		for _, kv := range in.Params {
			if number, ok := strings.CutPrefix(kv.Source, "@fd:"); ok {
				errs = append(errs, giveBack(number, kv.Value))
			}
		}
	}
	return errors.Join(errs...)
}

// giveBack puts a memfd with the value in the place of a descriptor, without FD_CLOEXEC, so that it survives execve(2).
func giveBack(number, value string) error {
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	f, err := sys.Memfd("crpie value", int64(len(value)), false)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(value), 0); err != nil {
		return err
	}
	if err := syscall.Dup3(int(f.Fd()), n, 0); err != nil {
		return fmt.Errorf("descriptor %s: %w", number, err)
	}
	return nil
}
