package freezer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
)

// Cgroup is a cgroup that can be frozen, by its directory.
type Cgroup string

// Files of version 1, Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst, and of version 2, cgroup-v2.rst.
const (
	stateV1 = "freezer.state"
	selfV1  = "freezer.self_freezing"
	stateV2 = "cgroup.freeze"
	events  = "cgroup.events"
)

// Freezable reports whether it can be frozen: the root of a hierarchy has no such file.
func (c Cgroup) Freezable() bool { return c.has(stateV1) || c.has(stateV2) }

func (c Cgroup) has(file string) bool {
	_, err := os.Stat(filepath.Join(string(c), file))
	return err == nil
}

func (c Cgroup) read(file string) string {
	text, _ := os.ReadFile(filepath.Join(string(c), file))
	return strings.TrimSpace(string(text))
}

// Frozen reports whether all processes in it stand still, also those of cgroups below it, because of it or of a cgroup
// above it.
func (c Cgroup) Frozen() bool {
	return c.read(stateV1) == "FROZEN" || strings.Contains(c.read(events)+"\n", "frozen 1\n")
}

// Asked lists the cgroups that were asked to freeze and stop those in it: itself and those above it.
func (c Cgroup) Asked() (levels []Cgroup) {
	for ; c.Freezable(); c = Cgroup(filepath.Dir(string(c))) {
		if c.read(selfV1) == "1" || c.read(stateV2) == "1" {
			levels = append(levels, c)
		}
	}
	return levels
}

// Within reports whether it is another cgroup or below it.
func (c Cgroup) Within(other Cgroup) bool {
	return strings.HasPrefix(string(c)+"/", strings.TrimSuffix(string(other), "/")+"/")
}

// Freeze stops all processes in it, and waits until they stand.
func (c Cgroup) Freeze(timeout time.Duration) error {
	if err := c.set(true); err != nil {
		return err
	}
	for end := time.Now().Add(timeout); !c.Frozen(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return errors.Join(fmt.Errorf("cgroup %s has not frozen within %v", c, timeout), c.Thaw())
		}
	}
	return nil
}

// Thaw lets them go on, unless a cgroup above is frozen.
func (c Cgroup) Thaw() error { return c.set(false) }

func (c Cgroup) set(frozen bool) error {
	file, word := stateV2, "0"
	if frozen {
		word = "1"
	}
	if c.has(stateV1) {
		file, word = stateV1, "THAWED"
		if frozen {
			word = "FROZEN"
		}
	}
	return sys.WriteControl(filepath.Join(string(c), file), word)
}

// Processes lists those in it and in cgroups below it, as this process sees them.
func (c Cgroup) Processes() (pids []int, err error) {
	err = filepath.WalkDir(string(c), func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return skipGone(err)
		}
		text, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		for word := range strings.FieldsSeq(string(text)) {
			pid, _ := strconv.Atoi(word)
			pids = append(pids, pid)
		}
		return skipGone(err)
	})
	return pids, err
}

// skipGone forgives a cgroup that is removed meanwhile.
func skipGone(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}
