//go:build amd64

package restorer

import (
	"os"
	"regexp"
	"strings"

	"github.com/crpie/crpie/internal/sys"
)

// beforeName is what stands in /proc/net/unix before a name, proc_pid_net(5).
var beforeName = regexp.MustCompile(`(^|\n)[0-9a-f]+: (\S+ ){5} *\d+ $`)

// livingUnixName reports whether a living unix socket has a name: abstract ones begin with NUL. Every NUL is an @ in that
// table; a newline is itself.
func livingUnixName(name string) bool {
	if !strings.HasPrefix(name, "\x00") {
		return sys.UnixAlive(name)
	}
	table, name := readProc("/proc/net/unix"), strings.ReplaceAll(name, "\x00", "@")+"\n"
	for {
		before, after, found := strings.Cut(table, name)
		if !found || beforeName.MatchString(before) {
			return found
		}
		table = after
	}
}

// removeSockets removes the paths that a restore which failed has given to sockets. They were free when it was planned;
// one that a living socket has is somebody else's.
func (p *Plan) removeSockets() {
	for _, path := range p.Sockets {
		if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 && !sys.UnixAlive(path) {
			os.Remove(path)
		}
	}
}
