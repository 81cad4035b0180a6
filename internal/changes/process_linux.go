//go:build amd64

package changes

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"strings"

	"github.com/crpie/crpie/internal/elffile"
	"github.com/crpie/crpie/internal/procmaps"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/taskview"
)

// MappingsOf lists the mappings of a process.
func MappingsOf(pid sys.PID) ([]taskview.VMA, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, err
	}
	return procmaps.Parse(string(text))
}

// DescriptorsOf tells what each descriptor of a process is.
func DescriptorsOf(pid sys.PID) (map[string]string, error) {
	all := map[string]string{}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		name, err := os.Readlink(dir + "/" + e.Name())
		if err != nil {
			continue
		}
		info, _ := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, e.Name()))
		s := procmaps.Fields(string(info))
		all[e.Name()] = fmt.Sprintf("%s, position %s, flags %s", name, s["pos"], s["flags"])
	}
	return all, err
}

// WithoutPositions gives descriptors as they were before, but for positions, which are as they are after: a restorer
// has descriptors that several tasks use.
func WithoutPositions(before, after map[string]string) map[string]string {
	all := maps.Clone(before)
	rest := func(is string) [2]string {
		name, more, _ := cutLast(is, ", position ")
		_, flags, _ := cutLast(more, ", flags ")
		return [2]string{name, flags}
	}
	for number, was := range before {
		if is, has := after[number]; has && rest(was) == rest(is) {
			all[number] = is
		}
	}
	return all
}

func cutLast(text, at string) (before, after string, found bool) {
	i := strings.LastIndex(text, at)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(at):], true
}

// LimitsOf reads /proc/PID/limits, proc_pid_limits(5): a name of 26 characters, and two values.
func LimitsOf(pid sys.PID) map[string]string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	all := map[string]string{}
	const name = 26
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line[min(name, len(line)):]); len(fields) >= 2 {
			all[strings.TrimSpace(line[:name])] = fields[0] + ", at most " + fields[1]
		}
	}
	return all
}

// AttributesOf reads what a process, or one of its threads, has only one of.
func AttributesOf(tid sys.PID) map[string]string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	s, all := procmaps.Fields(string(text)), map[string]string{}
	for _, key := range []string{"Name", "Umask", "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd",
		"CapAmb", "NoNewPrivs", "CoreDumping", "THP_enabled", "NSpgid", "NSsid"} {
		all[key] = strings.Join(strings.Fields(s[key]), " ")
	}
	for _, name := range []string{"cwd", "root"} {
		all[name], _ = os.Readlink(fmt.Sprintf("/proc/%d/%s", tid, name))
	}
	personality, _ := os.ReadFile(fmt.Sprintf("/proc/%d/personality", tid))
	all["personality"] = strings.TrimSpace(string(personality))
	return all
}

// EnvironmentOf reads the variables of a process: where libc has them, or else where the kernel has laid them out. read
// reads its memory, as much as there is; environ is where FindEnviron has found it.
func EnvironmentOf(environ uint64, mm *taskview.MM, read func(addr uint64, b []byte) int) map[string]string {
	if all, ok := environAt(environ, read); ok {
		return all
	}
	all := map[string]string{}
	for variable := range bytes.SplitSeq(Block(mm, read), []byte{0}) {
		if name, value, found := strings.Cut(string(variable), "="); found {
			all[name] = value
		}
	}
	return all
}

// environAt follows environ(7).
func environAt(symbol uint64, read func(addr uint64, b []byte) int) (map[string]string, bool) {
	const most = 4096 // variables
	word := make([]byte, wordSize)
	if symbol == NoAddress || read(symbol, word) < len(word) {
		return nil, false
	}
	array := make([]byte, most*wordSize)
	list := Words(array[:read(binary.LittleEndian.Uint64(word), array)])
	all := map[string]string{}
	for _, at := range list {
		if at == 0 {
			return all, true
		}
		text := make([]byte, 32<<10)
		text, _, _ = bytes.Cut(text[:read(at, text)], []byte{0})
		if name, value, found := strings.Cut(string(text), "="); found {
			all[name] = value
		}
	}
	return nil, false
}

// Block reads the variables that the kernel has laid out, execve(2).
func Block(mm *taskview.MM, read func(addr uint64, b []byte) int) []byte {
	if mm.EnvEnd < mm.EnvStart {
		return nil
	}
	block := make([]byte, min(mm.EnvEnd-mm.EnvStart, 1<<20))
	return block[:read(mm.EnvStart, block)]
}

// NoAddress is none of a process.
const NoAddress = ^uint64(0)

// FindEnviron finds the variable environ(7) of libc in a process; NoAddress: it has none.
func FindEnviron(pid sys.PID) uint64 {
	find := func(program *elffile.Program) (uint64, bool, error) {
		addr, found := program.Variable([]string{"environ", "__environ"})
		return addr, found, nil
	}
	if own, err := elffile.OpenOf(int(pid)); err == nil {
		addr, found, _ := find(own)
		own.Close()
		if found {
			return addr
		}
	}
	addr, found, err := elffile.InLibraries(int(pid), find)
	if !found || err != nil {
		return NoAddress
	}
	return addr
}
