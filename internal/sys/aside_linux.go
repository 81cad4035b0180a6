package sys

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Aside is an OS thread apart from all others, whose namespaces, root and working directory change for nobody else. It
// is never given back to the Go runtime: it ends.
type Aside struct {
	Tid  int
	work chan func()
}

// NewAside starts one.
func NewAside() (*Aside, error) {
	if err := fault("unshare CLONE_FS"); err != nil {
		return nil, fmt.Errorf("unshare CLONE_FS: %w", err)
	}
	a, ready := &Aside{work: make(chan func())}, make(chan error)
	go Apart(func() { a.serve(ready) })
	if err := <-ready; err != nil {
		return nil, err
	}
	return a, nil
}

// Apart carries f out on an OS thread that ends with it. The process's first thread does not end with its goroutine,
// and /proc/self shows its namespaces and root: another one serves then.
func Apart(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() != os.Getpid() {
			f()
			return
		}
		Apart(f)
		runtime.UnlockOSThread()
	}()
	<-done
}

// serve works until End.
func (a *Aside) serve(ready chan<- error) {
	a.Tid = unix.Gettid()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		ready <- fmt.Errorf("unshare CLONE_FS: %w", err)
		return
	}
	ready <- nil
	for f := range a.work {
		f()
	}
}

// Do carries f out on the thread.
func (a *Aside) Do(f func() error) error {
	result := make(chan error)
	a.work <- func() { result <- f() }
	return <-result
}

// End ends the thread, and with it namespaces that nothing else is in.
func (a *Aside) End() { close(a.work) }

// Unshare gives the calling thread, which must be one apart, namespaces of its own.
func Unshare(flags uint64) error {
	if err := fault("unshare"); err != nil {
		return fmt.Errorf("unshare %#x: %w", flags, err)
	}
	if err := unix.Unshare(int(flags)); err != nil {
		return fmt.Errorf("unshare %#x: %w", flags, err)
	}
	return nil
}

// namespaceFiles are the names in /proc/PID/ns, namespaces(7).
func namespaceFiles() map[uint64]string {
	return map[uint64]string{
		unix.CLONE_NEWUTS: "uts", unix.CLONE_NEWIPC: "ipc", unix.CLONE_NEWNET: "net", unix.CLONE_NEWNS: "mnt",
	}
}

// NamespaceKind gives the flag of a namespace's kind, NS_GET_NSTYPE of ioctl_nsfs(2).
func NamespaceKind(f *os.File) (flag uint64, err error) {
	kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	return uint64(kind), err
}

// ThreadNamespace opens a namespace that the calling thread is in.
func ThreadNamespace(flag uint64) (*os.File, error) {
	path := "/proc/thread-self/ns/" + namespaceFiles()[flag]
	if err := fault("open of a namespace"); err != nil {
		return nil, fmt.Errorf("open of %s: %w", path, err)
	}
	return os.Open(path)
}

// SetNames gives the calling thread's UTS namespace its names, uts_namespaces(7).
func SetNames(node, domain string) error {
	if err := fault("sethostname"); err != nil {
		return fmt.Errorf("sethostname: %w", err)
	}
	if err := unix.Sethostname([]byte(node)); err != nil {
		return fmt.Errorf("sethostname %q: %w", node, err)
	}
	if err := unix.Setdomainname([]byte(domain)); err != nil {
		return fmt.Errorf("setdomainname %q: %w", domain, err)
	}
	return nil
}

// Duplicate gives another descriptor of an open file.
func Duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("fcntl F_DUPFD_CLOEXEC of %s: %w", f.Name(), err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
