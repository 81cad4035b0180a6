package sys

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// FSContext is a file system that is being made, fsopen(2).
type FSContext struct {
	fd   int
	name string
}

// OpenFS begins a file system of a type.
func OpenFS(name string) (*FSContext, error) {
	fd, err := -1, fault("fsopen "+name)
	if err == nil {
		fd, err = unix.Fsopen(name, unix.FSOPEN_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("fsopen %s: %w", name, err)
	}
	return &FSContext{fd, name}, nil
}

// PickFS takes up the file system of a mount, to change its options, fspick(2).
func PickFS(mount *os.File) (*FSContext, error) {
	fd, err := -1, fault("fspick "+mount.Name())
	if err == nil {
		fd, err = unix.Fspick(int(mount.Fd()), "", unix.FSPICK_CLOEXEC|unix.FSPICK_EMPTY_PATH)
	}
	if err != nil {
		return nil, fmt.Errorf("fspick %s: %w", mount.Name(), err)
	}
	return &FSContext{fd, mount.Name()}, nil
}

// Close drops the context; mounts that were made of it stay.
func (c *FSContext) Close() { unix.Close(c.fd) }

// Set gives a parameter a value.
func (c *FSContext) Set(key, value string) error {
	return c.config(fmt.Sprintf("%s=%s", key, value), func() error {
		return unix.FsconfigSetString(c.fd, key, value)
	})
}

// SetFlag sets a parameter that has no value.
func (c *FSContext) SetFlag(key string) error {
	return c.config(key, func() error { return unix.FsconfigSetFlag(c.fd, key) })
}

// Create makes the superblock, or finds the one that such parameters give.
func (c *FSContext) Create() error {
	return c.config("create", func() error { return unix.FsconfigCreate(c.fd) })
}

// Reconfigure changes the parameters of a superblock that exists.
func (c *FSContext) Reconfigure() error {
	return c.config("reconfigure", func() error { return unix.FsconfigReconfigure(c.fd) })
}

// Mount makes a mount of the superblock, which is attached nowhere. The name is for messages.
func (c *FSContext) Mount(name string) (*os.File, error) {
	fd := -1
	err := c.config("fsmount", func() (err error) {
		fd, err = unix.Fsmount(c.fd, unix.FSMOUNT_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// config does one step of a context and adds the kernel's messages to its error: errno does not tell which parameter is
// wrong.
func (c *FSContext) config(what string, do func() error) error {
	err := fault("fsconfig " + c.name + " " + what)
	if err == nil {
		err = do()
	}
	if err == nil {
		return nil
	}
	if said := c.messages(); said != "" {
		return fmt.Errorf("%s: %s: %w (%s)", c.name, what, err, said)
	}
	return fmt.Errorf("%s: %s: %w", c.name, what, err)
}

// messages reads what the kernel says about the parameters: lines that begin with a letter for their level,
// Documentation/filesystems/mount_api.rst.
func (c *FSContext) messages() string {
	var all []string
	buf := make([]byte, 1024)
	for {
		n, err := unix.Read(c.fd, buf)
		if err != nil || n <= 0 {
			return strings.Join(all, "; ")
		}
		line := strings.TrimSpace(string(buf[:n]))
		if len(line) > 2 && line[1] == ' ' {
			line = line[2:]
		}
		all = append(all, line)
	}
}

// CloneMount makes another mount of what an O_PATH descriptor is open for, attached nowhere; recursive takes the
// mounts below it as well, open_tree(2).
func CloneMount(of *os.File, recursive bool, name string) (*os.File, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	fd, err := -1, fault("open_tree "+name)
	if err == nil {
		fd, err = unix.OpenTree(int(of.Fd()), "", flags)
	}
	if err != nil {
		return nil, fmt.Errorf("open_tree %s: %w", of.Name(), err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// AttachMount moves a mount to where an O_PATH descriptor is open, move_mount(2).
func AttachMount(mount, at *os.File) error {
	err := fault("move_mount " + mount.Name())
	if err == nil {
		err = unix.MoveMount(int(mount.Fd()), "", int(at.Fd()), "",
			unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	}
	if err != nil {
		return fmt.Errorf("move_mount: %w", err)
	}
	return nil
}

// CopySharing puts a private mount into the groups of another one, between which mounts propagate, move_mount(2);
// Linux 5.15.
func CopySharing(from, to *os.File) error {
	err := fault("move_mount " + to.Name())
	if err == nil {
		err = unix.MoveMount(int(from.Fd()), "", int(to.Fd()), "",
			unix.MOVE_MOUNT_SET_GROUP|unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	}
	if err != nil {
		return fmt.Errorf("move_mount MOVE_MOUNT_SET_GROUP: %w", err)
	}
	return nil
}

// SetMount changes the attributes of a mount, mount_setattr(2).
func SetMount(mount *os.File, set, clear, propagation uint64, recursive bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	err := fault("mount_setattr " + mount.Name())
	if err == nil {
		err = unix.MountSetattr(int(mount.Fd()), "", flags,
			&unix.MountAttr{Attr_set: set, Attr_clr: clear, Propagation: propagation})
	}
	if err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	return nil
}

// OpenIn opens a path below a directory; resolve are flags of openat2(2).
func OpenIn(dir *os.File, path string, flags, resolve uint64) (*os.File, error) {
	fd, err := -1, fault("openat2 "+path)
	for err == nil { // EAGAIN: something was renamed at the same time
		fd, err = unix.Openat2(int(dir.Fd()), path,
			&unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolve})
		if err != unix.EAGAIN && err != unix.EINTR {
			break
		}
		err = nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// OwnMounts gives this OS thread, which must be locked, a copy of the mount namespace, from which nothing propagates,
// and a root and a working directory of its own.
func OwnMounts() error {
	err := fault("unshare")
	if err == nil {
		err = unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
	}
	if err != nil {
		return fmt.Errorf("unshare CLONE_NEWNS: %w", err)
	}
	return nil
}

// KeepMountsPrivate ends all propagation to and from the mounts of this thread's namespace, mount_namespaces(7).
func KeepMountsPrivate() error {
	err := fault("mount MS_PRIVATE")
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if err != nil {
		return fmt.Errorf("mount MS_REC|MS_PRIVATE: %w", err)
	}
	return nil
}

// EnterRoot makes an attached mount the root of this thread and its mount namespace, and drops the old root, a mount
// that covers that, and all that is mounted below either; pivot_root(2).
func EnterRoot(root *os.File) error {
	err := fault("pivot_root")
	if err == nil {
		err = unix.Fchdir(int(root.Fd()))
	}
	if err == nil {
		err = unix.PivotRoot(".", ".")
	}
	for range 2 {
		if err == nil {
			err = unix.Unmount(".", unix.MNT_DETACH)
		}
	}
	if err == nil {
		err = unix.Chdir("/")
	}
	if err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	return nil
}

// CanCopySharing reports whether this kernel has all that mounts are restored with, Linux 5.15: an unknown flag is
// EINVAL before a bad descriptor is EBADF.
func CanCopySharing() bool {
	const none = -1
	err := unix.MoveMount(none, "", none, "",
		unix.MOVE_MOUNT_SET_GROUP|unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	return err == unix.EBADF
}

// IsMount reports whether a path leads to the root of a mount, statx(2). A kernel before Linux 5.8 does not say: there
// everything is taken for one.
func IsMount(path string) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, 0, 0, &st)
	said := err == nil && st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0
	return !said || st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}
