//go:build amd64

package host

import (
	"strings"

	"github.com/crpie/crpie/internal/pattern"
	"github.com/crpie/crpie/internal/sys"
)

// beforeName is what stands in /proc/net/unix before a name, proc_pid_net(5).
var beforeName = pattern.Pattern(`(^|\n)[0-9a-f]+: (\S+ ){5} *\d+ $`)

// livingUnixName reports whether a living unix socket has a name: abstract ones begin with NUL. Every NUL is an @ in
// that table; a newline is itself.
func livingUnixName(name string) bool {
	if !strings.HasPrefix(name, "\x00") {
		return sys.UnixAlive(name)
	}
	table, name := ReadProc(threadNet+"unix"), strings.ReplaceAll(name, "\x00", "@")+"\n"
	for {
		before, after, found := strings.Cut(table, name)
		if !found || beforeName.MatchString(before) {
			return found
		}
		table = after
	}
}
