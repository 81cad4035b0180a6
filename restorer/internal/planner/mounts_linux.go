//go:build amd64

package planner

import (
	"os"

	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// enterMounts has the zygote enter the tasks' mount namespace. What it still needs of the host it has open.
func (p *planner) enterMounts() {
	mounts, s := p.Own.Mounts, p.Shared
	if mounts == nil || p.Own.Problems().Len() > 0 {
		return
	}
	p.Plan.Mounts, p.Plan.Here = mounts.Describe(), mounts.Here
	pass := func(name string, open func() (*os.File, error)) int {
		fd := p.Fds.Scratch()
		p.Plan.Files = append(p.Plan.Files, plan.ExtraFile{Number: fd, Name: name, Open: open})
		return fd
	}
	p.hostRoot = pass("the host's root", func() (*os.File, error) { return os.Open("/") })
	fd := pass("mount namespace", mounts.Namespace)
	s.Sys("mount namespace", uapi.SysSetns, uint64(fd), uapi.CloneNewns)
	s.Sys("", uapi.SysClose, uint64(fd))
	mounts.Operations(s, pass, p.Fds.Scratch)
}
