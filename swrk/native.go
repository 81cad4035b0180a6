package swrk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/pluginspec"
	"github.com/crpie/crpie/internal/several"
)

// NativeRequest is a restore by crpie's own restorer.
type NativeRequest struct {
	Flags      []string // of crpie restore, from the request
	ConfigName string   // the request's config_file, whose lines go before the request; "": none
	ConfigText string
	Plugins    []string  // flags that go before both
	Log        string    // name of the log file, which is begun anew; "": standard error
	First      string    // line that the log begins with
	Start      time.Time // of the request, from which the log counts
	// Notify tells the runtime of an action, with the root task's pid or 0.
	Notify func(ctx context.Context, script string, pid int) error
	// Master gives the runtime the master of a container's terminal; nil: it has not asked for it.
	Master func(ctx context.Context, master *os.File) error
}

// NotPlanned is why crpie's own restorer does not take a request. Nothing has been done.
type NotPlanned struct{ Err error }

func (e *NotPlanned) Error() string { return e.Err.Error() }
func (e *NotPlanned) Unwrap() error { return e.Err }

// nativeFlags spells a request as flags of crpie restore. What crpie's own restorer does not do for a runtime is refused
// by name, all of it.
func nativeFlags(o *pb.CriuOpts) (flags []string, err error) {
	n := &spelling{}
	n.flag(true, "--restore-detached")
	n.flag(o.GetRstSibling(), "--restore-sibling")
	n.flag(o.GetLeaveStopped(), "--leave-stopped")
	n.flag(o.GetShellJob(), "--shell-job")
	n.flag(o.GetExtUnixSk(), "--ext-unix-sk")
	n.flag(o.GetTcpEstablished(), "--tcp-established")
	n.flag(o.GetTcpClose(), "--tcp-close")
	n.flag(o.GetSkipFileRwxCheck(), "--skip-file-rwx-check")
	n.flag(o.LogLevel != nil, "--verbosity="+strconv.Itoa(int(max(0, o.GetLogLevel()))))
	n.flag(o.LsmProfile != nil, "--lsm-profile="+o.GetLsmProfile())
	n.flag(o.LsmMountContext != nil, "--lsm-mount-context="+o.GetLsmMountContext())
	for _, fd := range o.InheritFd {
		n.flag(true, fmt.Sprintf("--inherit-fd=fd[%d]:%s", fd.GetFd(), fd.GetKey()))
	}
	for _, e := range o.External {
		n.flag(true, "--external="+e)
	}
	n.flag(o.Root != nil, "--root="+o.GetRoot())
	for _, m := range o.ExtMnt {
		// runtimes mask files by /dev/null, and have criu take this machine's for the container's
		const mask = "/dev/null"
		n.flag(m.GetKey() != mask || m.GetVal() != mask, fmt.Sprintf("--external=mnt[%s]:%s", m.GetKey(), m.GetVal()))
	}
	n.network(o)
	n.cgroups(o)
	n.refuse(o)
	return n.flags, several.Join(n.errs...)
}

type spelling struct {
	flags []string
	errs  []error
}

func (n *spelling) flag(given bool, flag string) {
	if given {
		n.flags = append(n.flags, flag)
	}
}

func (n *spelling) no(given bool, field, why string) {
	if given {
		n.errs = append(n.errs, fmt.Errorf("%s: not supported by crpie's own restorer: %s", field, why))
	}
}

const newNet = 0x40000000 // CLONE_NEWNET of clone(2)

// network is about namespaces that exist, or are filled by somebody else. runc asks for an empty network namespace
// always, also where the container is in another one.
func (n *spelling) network(o *pb.CriuOpts) {
	n.flag(o.GetEmptyNs()&newNet != 0, "--empty-ns=net")
	for _, v := range o.Veths {
		n.flag(true, fmt.Sprintf("--veth-pair=%s=%s", v.GetIfIn(), v.GetIfOut()))
	}
	for _, j := range o.JoinNs {
		joins := slices.Contains([]string{"net", "uts", "ipc", "time"}, j.GetNs()) && j.ExtraOpt == nil
		n.flag(joins, "--join-ns="+j.GetNs()+":"+j.GetNsFile())
		n.no(!joins, "join_ns "+escape.Name(j.GetNs()),
			"it joins network, UTS, IPC and time namespaces, without further options")
	}
}

// cgroupModes are the words of --manage-cgroups.
func cgroupModes() map[pb.CriuCgMode]string {
	return map[pb.CriuCgMode]string{
		pb.CriuCgMode_IGNORE: "ignore", pb.CriuCgMode_CG_NONE: "none", pb.CriuCgMode_PROPS: "props",
		pb.CriuCgMode_SOFT: "soft",
		pb.CriuCgMode_FULL: "full", pb.CriuCgMode_STRICT: "strict", pb.CriuCgMode_DEFAULT: "soft",
	}
}

// cgroups: manage_cgroups is older than the mode, whose word holds.
func (n *spelling) cgroups(o *pb.CriuOpts) {
	mode := ""
	switch {
	case o.ManageCgroupsMode != nil:
		mode = cgroupModes()[o.GetManageCgroupsMode()]
		n.no(mode == "", "manage_cgroups_mode", fmt.Sprintf("there is no mode %d", o.GetManageCgroupsMode()))
	case o.ManageCgroups != nil:
		mode = map[bool]string{false: "ignore", true: "soft"}[o.GetManageCgroups()]
	}
	n.flag(mode != "", "--manage-cgroups="+mode)
	for _, root := range o.CgRoot {
		value := root.GetPath()
		if root.Ctrl != nil {
			value = root.GetCtrl() + ":" + value
		}
		n.flag(true, "--cgroup-root="+value)
	}
}

// refuse lists what a request asks for and crpie's own restorer does not do.
func (n *spelling) refuse(o *pb.CriuOpts) {
	n.no(o.GetEmptyNs()&^newNet != 0, "empty_ns", "only network namespaces can be left empty")
	n.no(o.GetLazyPages(), "lazy_pages", "it writes all memory before a process runs")
	n.no(o.Ps != nil, "ps", "it reads image directories")
	n.no(len(o.ExecCmd) > 0, "exec_cmd", "it would run in crpie's place")
	n.no(o.CpuCap != nil, "cpu_cap", "it checks what the threads' registers need")
	if number, size := binary.Uvarint(o.Unknown); size > 0 {
		n.no(true, fmt.Sprintf("field %d", number>>3), "this crpie does not know it")
	}
}

// flagsOf spells settings as flags of crpie restore.
func (s *Settings) flagsOf() (flags []string, err error) {
	for _, p := range s.Plugins {
		flags = append(flags, "--pie-plugin="+p)
	}
	if len(s.Tasks) > 0 {
		err = errors.New("pie-task: only for grafts; write select= behind the plugin")
	}
	if s.Resident != "" {
		flags = append(flags, "--resident-hooks="+s.Resident)
	}
	return append(flags, "--pie-timeout="+s.HookTimeout.String(),
		fmt.Sprintf("--keep-vgetrandom=%v", s.KeepVgetrandom),
		fmt.Sprintf("--keep-wipeonfork=%v", s.KeepWipeOnFork),
		fmt.Sprintf("--allow-untrusted=%v", s.AllowUntrusted)), err
}

// describePlugins hides the values of plugins' parameters.
func (s *Settings) describePlugins() string {
	var all []string
	for _, p := range s.Plugins {
		all = append(all, pluginspec.WithoutValues(p))
	}
	return escape.Name(strings.Join(all, " "))
}
