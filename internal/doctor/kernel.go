//go:build linux && amd64

package doctor

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
)

// The oldest kernel on which crpie restores: the first with close_range(2).
const oldestMajor, oldestMinor = 5, 9

// kernel looks for what crpie's own restorer needs of it.
func (r *round) kernel() {
	release := strings.TrimSpace(read("/proc/sys/kernel/osrelease"))
	var major, minor int
	_, _ = fmt.Sscanf(release, "%d.%d", &major, &minor)
	wrong := false
	problem := func(is bool, hint, format string, args ...any) {
		if is {
			wrong = true
			r.add("kernel", Problem, hint, format, args...)
		}
	}
	problem(major < oldestMajor || major == oldestMajor && minor < oldestMinor, "boot a newer kernel",
		"Linux %s; crpie needs %d.%d", release, oldestMajor, oldestMinor)
	problem(!sys.SetsMaps(), "a kernel with CONFIG_CHECKPOINT_RESTORE", "PR_SET_MM_MAP does not work, prctl(2)")
	problem(strings.TrimSpace(read("/proc/sys/kernel/yama/ptrace_scope")) == "3",
		"sysctl kernel.yama.ptrace_scope cannot be lowered from 3: set it to 2 or less at boot",
		"kernel.yama.ptrace_scope is 3: nobody can trace a process, root neither")
	if !wrong {
		r.fine("kernel", "Linux %s", release)
	}
}

func read(name string) string {
	text, _ := os.ReadFile(name) // empty if there is none
	return string(text)
}

// capability is one that a restore needs.
type capability struct {
	name   string
	number uint
}

// capabilities compares what this process may do with what every restore needs, capabilities(7).
func (r *round) capabilities() {
	needed := []capability{
		{"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN}, {"CAP_SYS_PTRACE", unix.CAP_SYS_PTRACE},
		{"CAP_SETPCAP", unix.CAP_SETPCAP}, {"CAP_SETUID", unix.CAP_SETUID}, {"CAP_SETGID", unix.CAP_SETGID},
		{"CAP_SYS_TIME", unix.CAP_SYS_TIME}, {"CAP_NET_ADMIN", unix.CAP_NET_ADMIN},
	}
	have := effective(read("/proc/self/status"))
	var lacking []string
	for _, c := range needed {
		if have&(1<<c.number) == 0 {
			lacking = append(lacking, c.name)
		}
	}
	if len(lacking) > 0 {
		r.add("capabilities", Problem, "run it as root, in a container with --privileged", "this process lacks %s",
			strings.Join(lacking, ", "))
		return
	}
	r.fine("capabilities", "all that restores need")
}

// effective reads the effective capabilities, proc_pid_status(5).
func effective(status string) uint64 {
	for line := range strings.Lines(status) {
		if text, ok := strings.CutPrefix(line, "CapEff:"); ok {
			bits, _ := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
			return bits
		}
	}
	return 0
}
