//go:build amd64

package restorer

import (
	"os"
	"strings"
)

// unixName reports whether a living unix socket has a name: abstract ones begin with NUL, paths are as they were given
// to bind(2). Every NUL is an @ in that table, proc_pid_net(5).
func unixName(name string) bool {
	table := readProc("/proc/net/unix")
	return strings.Contains(table, " "+strings.ReplaceAll(name, "\x00", "@")+"\n")
}

// removeSockets removes the paths that a restore which failed has given to sockets. They were free when it was planned;
// one that a living socket has is somebody else's.
func (p *Plan) removeSockets() {
	for _, path := range p.Sockets {
		if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 && !unixName(path) {
			os.Remove(path)
		}
	}
}
