//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/crpie/crpie/internal/pattern"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/restorer"
)

var (
	inheritSpec  = pattern.Pattern(`^fd\[(\d{1,9})\]:(.+)$`)
	externalSpec = pattern.Pattern(`^(file|tty)\[[0-9a-f]+:[0-9a-f]+\]$`)
	networkSpec  = pattern.Pattern(`^(net|veth|macvlan)\[[^]]+\]:.+$`)
)

// inheritFDs understands --inherit-fd as criu(8) spells it; wrong names the others.
func inheritFDs(specs []string) (inherited []restorer.Inherited, wrong string) {
	for _, spec := range specs {
		m := inheritSpec.FindStringSubmatch(spec)
		if m == nil {
			return nil, fmt.Sprintf("--inherit-fd %s: want fd[N]:RESOURCE", spec)
		}
		n, _ := strconv.Atoi(m[1])
		if !sys.Inherited(n) {
			return nil, fmt.Sprintf("--inherit-fd %s: crpie was started without descriptor %d", spec, n)
		}
		inherited = append(inherited, restorer.Inherited{FD: n, Resource: m[2], Open: func() (*os.File, error) {
			return duplicate(n, spec)
		}})
	}
	return inherited, ""
}

func duplicate(fd int, name string) (*os.File, error) {
	copied, err := syscall.Dup(fd)
	if err != nil {
		return nil, err
	}
	syscall.CloseOnExec(copied)
	return os.NewFile(uintptr(copied), name), nil
}
