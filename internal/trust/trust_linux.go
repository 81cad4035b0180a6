package trust

import (
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"github.com/crpie/crpie/internal/sys"
)

func ownerOf(info fs.FileInfo) (owner, bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return owner{}, false
	}
	return owner{stat.Uid, stat.Gid}, true
}

// users are root, who runs crpie, and who had root run it by sudo(8) or pkexec(1). They set the variables themselves,
// and nobody else's count with AT_SECURE.
func users() []uint32 {
	all := []uint32{0, uint32(os.Getuid()), uint32(os.Geteuid())}
	if os.Geteuid() != 0 || sys.Secure() {
		return all
	}
	for _, name := range []string{"SUDO_UID", "PKEXEC_UID"} {
		if uid, err := strconv.ParseUint(os.Getenv(name), 10, 32); err == nil {
			all = append(all, uint32(uid))
		}
	}
	return all
}
