//go:build amd64

package restorer

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/crpie/crpie/internal/pattern"
	"github.com/crpie/crpie/internal/sys"
)

// beforeName is what stands in /proc/net/unix before a name, proc_pid_net(5).
var beforeName = pattern.Pattern(`(^|\n)[0-9a-f]+: (\S+ ){5} *\d+ $`)

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

// removeMoments removes names of files that have none, should the zygote have been killed within such a moment. They were free
// when this was planned; what is there by now and does not look like that is somebody else's.
func (p *Plan) removeMoments() {
	planned := time.Unix(0, p.RestoreTimeNs)
	for _, m := range p.moments {
		if info, err := os.Lstat(m.path); err == nil && m.is(info, planned) {
			os.Remove(m.path)
		}
		for _, dir := range slices.Backward(m.dirs) {
			d := moment{path: dir, mode: sIfdir | 0o700}
			if info, err := os.Lstat(dir); err == nil && d.is(info, planned) {
				os.Remove(dir)
			}
		}
	}
}

func (m *moment) is(info fs.FileInfo, planned time.Time) bool {
	if m.mode&sIfmt == sIflnk {
		target, err := os.Readlink(m.path)
		return err == nil && target == m.link
	}
	if m.link != "" {
		other, err := os.Lstat(m.link)
		return err == nil && os.SameFile(info, other)
	}
	const tick = 10 * time.Millisecond // of the clock that file systems use, at most
	empty := info.IsDir() || info.Size() == 0
	return unixMode(info.Mode()) == m.mode && empty && info.ModTime().After(planned.Add(-tick))
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
