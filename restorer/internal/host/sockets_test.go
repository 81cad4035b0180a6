//go:build linux && amd64

package host

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// A name is in use if a socket has just that one, whatever bytes it is made of.
func TestLivingUnixName(t *testing.T) {
	abstract := "@crpie \xff\n" + t.Name()
	path := filepath.Join(t.TempDir(), strings.Repeat("long", 5)+".sock")
	for _, at := range []string{abstract, path} {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: at, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		name := strings.Replace(at, "@", "\x00", 1)
		for of, want := range map[string]bool{name: true, "\x00" + name[1:2]: false, name + "x": false,
			"\x00" + t.Name(): false} {
			if got := livingUnixName(of); got != want {
				t.Errorf("%q while %q lives: %t, want %t", of, at, got, want)
			}
		}
		l.Close()
		if livingUnixName(name) {
			t.Errorf("%q: still there", at)
		}
	}
}
