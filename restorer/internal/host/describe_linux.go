//go:build amd64

package host

import (
	"fmt"
	"strings"
	"time"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/sys"
)

// Describe tells what of this host a restore depends on, for logs.
func (h *Host) Describe() []string {
	var cgroups []string
	hierarchies := h.Cgroups()
	for _, name := range SortedNames(hierarchies) {
		cgroups = append(cgroups, fmt.Sprintf("%q at %q, own %q", name, hierarchies[name].Mount,
			hierarchies[name].Own))
	}
	return []string{
		fmt.Sprintf("host: %s, %d CPUs, XSAVE features %#x, vDSO %d bytes behind %d of data, time namespaces %t",
			sys.Kernel(), h.CPUs,
			h.Xsave.Features, len(h.VDSO.Code), h.VDSO.DataSize, h.TimeNamespaces),
		fmt.Sprintf("crpie's own: capabilities %#x, bounding set %#x, no_new_privs %t, label %q, descriptors up to %d, "+
			"policy %d, nice %d",
			h.Caps, h.Bounds, h.NoNewPrivs, h.LSM(), h.MaxFiles, h.SchedPolicy, h.Nice),
		"cgroups: " + strings.Join(cgroups, "; "),
	}
}

// DescribeImages tells what the images say of themselves.
func DescribeImages(dir *images.Dir, dumped time.Time) string {
	threads := 0
	for _, t := range dir.Tasks {
		threads += len(t.Threads)
	}
	inv := dir.Inventory
	return fmt.Sprintf("images: version %d, dumped %s by CRIU run %q, network lock %v, LSM %v, root task %d, "+
		"%d tasks, %d threads",
		inv.GetImgVersion(), dumped.UTC().Format(time.RFC3339), inv.GetDumpCriuRunId(),
		inv.GetNetworkLockMethod(),
		inv.GetLsmtype(), dir.Tasks[0].Pid, len(dir.Tasks), threads)
}
