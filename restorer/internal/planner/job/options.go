package job

import (
	"fmt"
	"os"
	"time"

	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/restorer/internal/namespaces"
)

// Options are the choices of whoever restores.
type Options struct {
	ShellJob bool       // --shell-job: stay in this session and on this terminal
	Detached bool       // --restore-detached: this process ends when the tasks go on
	Sibling  bool       // --restore-sibling: the root task becomes a child of this process's parent
	Become   int        // pid of a process that becomes the root task; 0: a new one does
	Cgroups  CgroupMode // --manage-cgroups
	// CgroupRoots says where the topmost cgroups of the dump are to be, by controller (--cgroup-root); see
	// AllControllers.
	CgroupRoots map[string]string
	Readers     int             // extra page readers at the most; -1: as many as there are other CPUs
	LogLevel    report.LogLevel // least important level that plugins' lines are kept for

	PauseHook, PausePlugin uint32 // before whose hooks threads stop, struct crpie_plan
	// TCPEstablished restores TCP connections (--tcp-established), TCPClose leaves closed sockets of them
	// (--tcp-close).
	TCPEstablished, TCPClose bool
	NoLocks                  bool // leave file locks away (--no-file-locks)
	// Resident says which hooks that the tasks carry themselves run (--resident-hooks): resident.Auto, Require, or
	// those of one library; empty: none.
	Resident string
	// LSMProfile is the security label of all tasks, instead of those of the dump (--lsm-profile).
	LSMProfile string
	// ExtUnix connects unix sockets to peers that were not dumped (--ext-unix-sk).
	ExtUnix bool
	// Freebind restores IPv4 sockets whose address this host lacks, too (--freebind).
	Freebind bool
	// Inherit are descriptors that take the place of files (--inherit-fd), External names files that must have one
	// (--external).
	Inherit  []Inherited
	External []string
	Spare    bool // Inherit may have more than is needed, as runtimes do
	// FileValidation says how files are compared with what they were (--file-validation; "" is the default,
	// ByBuildID); SkipFileRWX leaves out their permissions (--skip-file-rwx-check).
	FileValidation FileValidation
	SkipFileRWX    bool
	// KeepVgetrandom and KeepWipeOnFork bring random state back as it was dumped (--keep-vgetrandom,
	// --keep-wipeonfork).
	KeepVgetrandom, KeepWipeOnFork bool
	// Clones says that other restores of these images run beside this one; nil: there are none.
	Clones *Clones
	// OpenImage opens a file of the image directory (level 0) or one of its parents, for page contents.
	OpenImage func(level int, name string) (*os.File, error)
	// Orphans are terminals, /dev/pts/N, whose masters the restorer's caller gets.
	Orphans []string
	// Namespaces are those that the tasks get.
	Namespaces *namespaces.Plan
	// DumpTime and RestoreTime are the times of which plugins are told.
	DumpTime, RestoreTime time.Time
}

// Clones says what the options set apart.
type Clones struct {
	Nets, Roots bool // each has another network namespace, another root directory
}

// CgroupMode says what becomes of the cgroups that the tasks were in, as criu(8) --manage-cgroups does.
type CgroupMode string

// The modes; empty is soft.
const (
	CgroupsIgnore CgroupMode = "ignore" // the tasks stay in those of the restorer
	CgroupsNone   CgroupMode = "none"   // they exist
	CgroupsProps  CgroupMode = "props"  // they exist, and get their properties
	CgroupsSoft   CgroupMode = "soft"   // those that do not exist are made, and get their properties
	CgroupsFull   CgroupMode = "full"   // as soft, and all get their properties
	CgroupsStrict CgroupMode = "strict" // none exists
)

// Inherited is a descriptor of this process that takes the place of a file of the images, --inherit-fd of criu(8).
type Inherited struct {
	FD       int
	Resource string // "path/of/a/file", "file[MNT_ID:INODE]", "pipe:[INODE]", "socket:[INODE]", "tty[RDEV:DEV]"
	Open     func() (*os.File, error)
}

func (in *Inherited) String() string {
	return fmt.Sprintf("--inherit-fd fd[%d]:%s", in.FD, in.Resource)
}

// FileValidation says how files are compared with what they were at the dump, --file-validation of criu(8).
type FileValidation string

// The methods, the default first.
const (
	ByBuildID  FileValidation = "buildid"
	ByFileSize FileValidation = "filesize"
)
