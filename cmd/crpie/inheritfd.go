//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/restorer"
)

// inheritFDs understands --inherit-fd as criu(8) spells it; wrong names the others.
func inheritFDs(specs []string) (inherited []restorer.Inherited, wrong string) {
	for _, spec := range specs {
		rest, isFD := strings.CutPrefix(spec, "fd[")
		number, resource, _ := strings.Cut(rest, "]:")
		n, err := strconv.ParseUint(number, 10, 31)
		if !isFD || err != nil || resource == "" {
			return nil, fmt.Sprintf("--inherit-fd %s: want fd[N]:RESOURCE", spec)
		}
		fd := int(n)
		if !sys.Inherited(fd) {
			return nil, fmt.Sprintf("--inherit-fd %s: crpie was started without descriptor %d", spec, fd)
		}
		open := func() (*os.File, error) { return duplicate(fd, spec) }
		inherited = append(inherited, restorer.Inherited{FD: fd, Resource: resource, Open: open})
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
