//go:build amd64

package host

import (
	"strings"

	"github.com/crpie/crpie/internal/sys"
)

// livingUnixName reports whether a living unix socket has a name: abstract ones begin with NUL. Every NUL is an @ in
// that table; a newline is itself.
func livingUnixName(name string) bool {
	if !strings.HasPrefix(name, "\x00") {
		return sys.UnixAlive(name)
	}
	table, name := ReadProc(threadNet+"unix"), strings.ReplaceAll(name, "\x00", "@")+"\n"
	for {
		before, after, found := strings.Cut(table, name)
		if !found || beforeName(before) {
			return found
		}
		table = after
	}
}

// beforeName reports whether a text ends as lines of /proc/net/unix begin in front of a name, proc_pid_net(5): seven
// words, the first an address and the last an inode number.
func beforeName(text string) bool {
	line := text[strings.LastIndexByte(text, '\n')+1:]
	words := strings.Fields(line)
	return strings.HasSuffix(line, " ") && len(words) == 7 && strings.Trim(words[0], "0123456789abcdef") == ":" &&
		strings.Trim(words[6], "0123456789") == ""
}
