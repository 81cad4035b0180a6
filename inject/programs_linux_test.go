//go:build linux && amd64

package inject

import (
	"testing"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/testenv"
)

// Servers and runtimes do not notice that hooks of all stages run in them, again and again, while clients work on them:
// alone, and together with the clients. No answer is lost, and none is given twice.
func TestProgramsDoNotNotice(t *testing.T) {
	for _, name := range []string{"pool", "goserver", "redis", "postgres", "jvm", "node"} {
		t.Run(name, func(t *testing.T) {
			driver, _ := testenv.StartProgram(t, name)
			server := sys.Children(sys.PID(driver.Pid))[0]
			attach(t, int(server), order{Tree: true, Times: 200})
			attach(t, driver.Pid, order{Tree: true, Times: 20})
			driver.MustPass(t)
		})
	}
}
