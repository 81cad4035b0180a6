package pluginspec

import (
	"fmt"
	"os"
	"syscall"

	"github.com/crpie/crpie/internal/sys"
)

func inherited(fd int) bool { return sys.Inherited(fd) }

// emptyStdin puts null(4) in the place of standard input.
func emptyStdin() error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	if err := syscall.Dup3(int(null.Fd()), 0, 0); err != nil {
		return fmt.Errorf("descriptor 0: %w", err)
	}
	return nil
}
