//go:build amd64

package run

import (
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// removeMoments removes names of files that have none, should the zygote have been killed within such a moment. They
// were free when this was planned; a file that is there by now and does not look like that belongs to another process.
func removeMoments(p *plan.Plan) {
	planned := time.Unix(0, p.RestoreTimeNs)
	for _, m := range p.Moments {
		removeMoment(p, m, planned)
		for _, dir := range slices.Backward(m.Dirs) {
			removeMoment(p, plan.Moment{Path: dir, Mode: uapi.SIfdir | 0o700}, planned)
		}
	}
}

// removeMoment removes a name that was to exist for a moment only, if a failed restore left it.
func removeMoment(p *plan.Plan, m plan.Moment, planned time.Time) {
	var done, doneLink func()
	m.Path, done = here(p, m.Path)
	defer done()
	if m.Link != "" && m.Mode&uapi.SIfmt != uapi.SIflnk {
		m.Link, doneLink = here(p, m.Link)
		defer doneLink()
	}
	if info, err := os.Lstat(m.Path); err == nil && isMoment(&m, info, planned) {
		os.Remove(m.Path)
	}
}

// here gives the path by which this process reaches what the tasks have at one.
func here(p *plan.Plan, path string) (at string, done func()) {
	if p.Here == nil {
		return path, func() {}
	}
	return p.Here(path)
}

// isMoment reports whether the file of that name is the one that this restore has made: the name could be somebody
// else's by now, and must stay then.
func isMoment(m *plan.Moment, info fs.FileInfo, planned time.Time) bool {
	if m.Mode&uapi.SIfmt == uapi.SIflnk {
		target, err := os.Readlink(m.Path)
		return err == nil && target == m.Link
	}
	if m.Link != "" {
		other, err := os.Lstat(m.Link)
		return err == nil && os.SameFile(info, other)
	}
	const tick = 10 * time.Millisecond // of the clock that file systems use, at most
	empty := info.IsDir() || info.Size() == 0
	return uapi.UnixMode(info.Mode()) == m.Mode && empty && info.ModTime().After(planned.Add(-tick))
}

// removeSockets removes the paths that a restore which failed has given to sockets. They were free when it was planned;
// one that a living socket has belongs to another process.
func removeSockets(p *plan.Plan) {
	for _, path := range p.Sockets {
		path, done := here(p, path)
		if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 && !sys.UnixAlive(path) {
			os.Remove(path)
		}
		done()
	}
}
