package restorer

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/restorer/internal/namespaces"
	"github.com/crpie/crpie/restorer/internal/namespaces/net"
	"github.com/crpie/crpie/restorer/internal/planner"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// PlanOptions say what is restored, and how it may differ from what was dumped. The zero value restores as criu(8) does
// without options; the options of criu that a member is like stand beside it.
type PlanOptions struct {
	ShellJob bool // --shell-job: stay in this session and on this terminal
	Detached bool // --restore-detached: this process ends when the tasks go on
	Sibling  bool // --restore-sibling: the root task becomes a child of this process's parent

	// NewPids has the tasks keep their numbers in a new pid namespace (--new-pids), whatever processes have them
	// outside: one checkpoint can be restored several times at once. Run gives the root task's number outside. Images
	// that have a pid namespace of their own are restored as always.
	NewPids bool

	// Clones says that other restores of the same images run beside this one: what only one of them can have is
	// refused, and Warnings names what they change together. It implies NewPids; nil: there are none.
	Clones *Clones

	Cgroups CgroupMode // --manage-cgroups; empty: CgroupsSoft
	// CgroupRoots says where the topmost cgroups of the dump are to be (--cgroup-root), by controller, as
	// ParseCgroupRoot gives them.
	CgroupRoots map[string]string

	Readers  int             // at most so many extra page readers for a task, up to 7; -1: one for each further CPU
	LogLevel report.LogLevel // least important level that plugins' lines are kept for; 0: none are kept

	TCPEstablished bool // --tcp-established: restore TCP connections
	TCPClose       bool // --tcp-close: leave closed sockets of them
	ExtUnix        bool // --ext-unix-sk: connect unix sockets to peers that were not dumped
	Freebind       bool // --freebind: restore IPv4 sockets whose address this host lacks
	NoLocks        bool // --no-file-locks: leave file locks away

	// ResidentHooks has hooks run that the tasks carry themselves (--resident-hooks): "auto", "require" at least
	// one, or the SONAME of a library; empty: none.
	ResidentHooks string

	LSMProfile string // --lsm-profile: the security label of all tasks; empty: those of the dump
	// MountContext is the SELinux label of mounts that had a context (--lsm-mount-context); empty: those of the
	// dump.
	MountContext string

	Root   string            // --root: the directory that becomes the root of a mount namespace
	Mounts map[string]string // --external mnt[KEY]:PATH: what is mounted from the host, by KEY

	Inherit []Inherited // --inherit-fd: descriptors that take the place of files
	// --external: files that must have one, "file[MNT_ID:INODE]", "tty[RDEV:DEV]"; and, of network namespaces,
	// "net[KEY]:PATH", "veth[NAME]:NAME[@BRIDGE]", "macvlan[NAME]:NAME"
	External []string

	// Spare says that Root, Mounts, Inherit and External may name more than the images have, as container runtimes
	// do. Without it, what takes the place of nothing is refused.
	Spare bool

	// Join has the namespaces that all tasks enter (--join-ns KIND:PID or KIND:PATH), by their kinds, see
	// JoinKinds.
	Join     map[string]string
	EmptyNet bool // --empty-ns net: leave their own network namespace empty

	FileValidation FileValidation // --file-validation; empty: ByBuildID
	SkipFileRWX    bool           // --skip-file-rwx-check: files may have other permissions

	KeepVgetrandom bool // keep the random state of the vDSO's getrandom, which all clones then share
	KeepWipeOnFork bool // keep what is marked with MADV_WIPEONFORK, madvise(2)
}

// Clones says what else than their pids sets several restores of the same images apart.
type Clones struct {
	Nets  bool // the options have another network namespace for each (Join, External)
	Roots bool // the options have another root directory for each
}

// Inherited is a descriptor of this process that takes the place of a file of the images.
type Inherited struct {
	FD int // its number; it is open while Prepare runs
	// "path/of/a/file", "file[MNT_ID:INODE]", "pipe:[INODE]", "socket:[INODE]", "tty[RDEV:DEV]"
	Resource string
	Open     func() (*os.File, error) // called by Run, which closes what it gives
}

// JoinKinds lists the kinds of namespaces that all tasks can enter.
func JoinKinds() []string { return []string{"net", "uts", "ipc", "time"} }

// CgroupMode says what becomes of the cgroups that the tasks were in.
type CgroupMode string

// The modes.
const (
	CgroupsIgnore = CgroupMode(job.CgroupsIgnore) // the tasks stay in those of the restorer
	CgroupsNone   = CgroupMode(job.CgroupsNone)   // they exist
	CgroupsProps  = CgroupMode(job.CgroupsProps)  // they exist, and get their properties
	CgroupsSoft   = CgroupMode(job.CgroupsSoft)   // those that do not exist are made, and get their properties
	CgroupsFull   = CgroupMode(job.CgroupsFull)   // as CgroupsSoft, and all get their properties
	CgroupsStrict = CgroupMode(job.CgroupsStrict) // none exists
)

// CgroupModes lists the modes.
func CgroupModes() []CgroupMode {
	return []CgroupMode{CgroupsIgnore, CgroupsNone, CgroupsProps, CgroupsSoft, CgroupsFull, CgroupsStrict}
}

// FileValidation says how files are compared with what they were at the dump.
type FileValidation string

// The methods.
const (
	ByBuildID  = FileValidation(job.ByBuildID)  // by their build ids, where there are any, and by size
	ByFileSize = FileValidation(job.ByFileSize) // by size alone
)

// FileValidations lists the methods, the default first.
func FileValidations() []FileValidation { return []FileValidation{ByBuildID, ByFileSize} }

// ParseCgroupRoot reads [CONTROLLER:]/PATH, as --cgroup-root of criu(8).
func ParseCgroupRoot(s string) (controller, root string, err error) {
	return planner.ParseCgroupRoot(s)
}

// check finds values out of range.
func (o *PlanOptions) check() error {
	var errs []error
	if o.Cgroups != "" && !slices.Contains(CgroupModes(), o.Cgroups) {
		errs = append(errs, fmt.Errorf("options: Cgroups is %q, want one of %q", o.Cgroups, CgroupModes()))
	}
	if o.FileValidation != "" && !slices.Contains(FileValidations(), o.FileValidation) {
		errs = append(errs, fmt.Errorf("options: FileValidation is %q, want one of %q", o.FileValidation,
			FileValidations()))
	}
	for _, kind := range slices.Sorted(maps.Keys(o.Join)) {
		if !slices.Contains(JoinKinds(), kind) {
			errs = append(errs, fmt.Errorf("options: Join has %q, want some of %q", kind, JoinKinds()))
		}
	}
	if o.Readers < -1 {
		errs = append(errs, fmt.Errorf("options: Readers is %d, want -1 or more", o.Readers))
	}
	for i, in := range o.Inherit {
		if in.FD < 0 || in.Open == nil {
			errs = append(errs, fmt.Errorf(
				"options: Inherit[%d] needs a descriptor, which is %d, and Open", i, in.FD))
		}
	}
	if !o.LogLevel.Known() {
		errs = append(errs, fmt.Errorf("options: LogLevel is %v, want %v to %v", o.LogLevel, report.LogOff,
			report.LogDebug))
	}
	return several.Join(errs...)
}

// namespaces splits off what concerns namespaces.
func (o *PlanOptions) namespaces() *namespaces.Options {
	n := net.Options{External: map[string]string{}, Inherit: map[string]func() (*os.File, error){},
		Join: o.Join["net"], Empty: o.EmptyNet}
	for _, resource := range o.External {
		if key, value, ok := ofNetwork(resource); ok {
			n.External[key] = value
		}
	}
	for _, in := range o.Inherit {
		n.Inherit[in.Resource] = in.Open
	}
	return &namespaces.Options{Root: o.Root, Mounts: o.Mounts, CgroupRoots: o.CgroupRoots,
		LeaveCgroups: o.Cgroups == CgroupsIgnore, Spare: o.Spare, Net: n, Join: o.Join,
		NewPIDs: o.NewPids || o.Clones != nil, MountContext: o.MountContext}
}

// ofNetwork splits KIND[KEY]:VALUE, if it is of a kind that network namespaces have.
func ofNetwork(resource string) (key, value string, ok bool) {
	kind, _, _ := strings.Cut(resource, "[")
	key, value, found := strings.Cut(resource, "]:")
	return key + "]", value, found && slices.Contains([]string{"net", "veth", "macvlan"}, kind)
}

// job splits off what concerns tasks. External resources of network namespaces go to namespaces.
func (o *PlanOptions) job() *job.Options {
	j := &job.Options{
		ShellJob: o.ShellJob, Detached: o.Detached, Sibling: o.Sibling,
		Cgroups: job.CgroupMode(o.Cgroups), CgroupRoots: o.CgroupRoots,
		Readers: o.Readers, LogLevel: o.LogLevel,
		TCPEstablished: o.TCPEstablished, TCPClose: o.TCPClose, ExtUnix: o.ExtUnix, Freebind: o.Freebind,
		NoLocks: o.NoLocks, Resident: o.ResidentHooks,
		LSMProfile:     o.LSMProfile,
		FileValidation: job.FileValidation(o.FileValidation), SkipFileRWX: o.SkipFileRWX,
		KeepVgetrandom: o.KeepVgetrandom, KeepWipeOnFork: o.KeepWipeOnFork,
		Spare: o.Spare,
	}
	if o.Clones != nil {
		j.Clones = &job.Clones{Nets: o.Clones.Nets, Roots: o.Clones.Roots}
	}
	for _, resource := range o.External {
		if _, _, net := ofNetwork(resource); !net {
			j.External = append(j.External, resource)
		}
	}
	for _, in := range o.Inherit {
		j.Inherit = append(j.Inherit, job.Inherited(in))
	}
	return j
}
