package sys

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Memfd creates an anonymous file of size bytes, close-on-exec, memfd_create(2). exec asks for one that may be
// executed: where vm.memfd_noexec forbids that, the error says so.
func Memfd(name string, size int64, exec bool) (*os.File, error) {
	if err := fault("memfd_create " + name); err != nil {
		return nil, fmt.Errorf("memfd_create %s: %w", name, err)
	}
	fd, err := memfdCreate(name, exec)
	if err != nil {
		return nil, fmt.Errorf("memfd_create %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := unix.Ftruncate(fd, size); err != nil {
		f.Close()
		return nil, fmt.Errorf("memfd %s: ftruncate to %d bytes: %w", name, size, err)
	}
	return f, nil
}

// Program makes an anonymous file of a program's ELF file. The path, by which it can be executed, goes through this
// process: that of its own descriptor a child may have closed.
func Program(name string, elf []byte) (f *os.File, path string, err error) {
	if f, err = Memfd(name, int64(len(elf)), true); err != nil {
		return nil, "", err
	}
	if _, err = f.WriteAt(elf, 0); err != nil {
		f.Close()
		return nil, "", err
	}
	return f, fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()), nil
}

// memfdCreate states whether execution is wanted; kernels before 6.3 do not know those flags and say EINVAL.
func memfdCreate(name string, exec bool) (int, error) {
	const always = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	flag := unix.MFD_NOEXEC_SEAL
	if exec {
		flag = unix.MFD_EXEC
	}
	fd, err := unix.MemfdCreate(name, always|flag)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate(name, always)
	}
	if err == unix.EACCES && exec {
		err = fmt.Errorf("%w: vm.memfd_noexec forbids executable memfds (sysctl -w vm.memfd_noexec=0)", err)
	}
	return fd, err
}

// SealSize keeps a memfd's size as it is, for good, fcntl(2).
func SealSize(f *os.File) error {
	return seal(f, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
}

// SealContents keeps a memfd as it is, for good: only mappings that exist can write it.
func SealContents(f *os.File) error {
	return seal(f, unix.F_SEAL_FUTURE_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
}

func seal(f *os.File, seals int) error {
	err := fault("seal " + f.Name())
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		return fmt.Errorf("memfd %s: F_ADD_SEALS %#x: %w", f.Name(), seals, err)
	}
	return nil
}

// MapShared maps length bytes of f from offset, readable and writable, MAP_SHARED.
func MapShared(f *os.File, offset int64, length int) ([]byte, error) {
	if err := fault("mmap " + f.Name()); err != nil {
		return nil, fmt.Errorf("mmap %d bytes of %s: %w", length, f.Name(), err)
	}
	b, err := unix.Mmap(int(f.Fd()), offset, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap %d bytes of %s: %w", length, f.Name(), err)
	}
	return b, nil
}

// Unmap undoes MapShared.
func Unmap(b []byte) error { return unix.Munmap(b) }
