//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/testenv"
)

// rewrite changes the entries of an image.
func rewrite[M pb.Message](t *testing.T, im *testenv.Images, pattern string, change func(all []M) []M) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(im.Dir, pattern))
	if err != nil || len(names) != 1 {
		t.Fatalf("%s: %v, %v", pattern, names, err)
	}
	name := filepath.Base(names[0])
	image, err := images.Read(os.DirFS(im.Dir), name)
	if err != nil {
		t.Fatal(err)
	}
	var all []M
	for _, e := range image.Entries {
		all = append(all, e.Message.(M))
	}
	f, err := os.Create(names[0])
	if err == nil {
		err = images.WriteImage(f, name, image.Kind.Name, change(all)...)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// moreMounts puts mounts before the others of an image, which are behind them in mountinfo.
func moreMounts(points ...string) func(all []*pb.MntEntry) []*pb.MntEntry {
	return func(all []*pb.MntEntry) []*pb.MntEntry {
		root := all[len(all)-1].GetMntId()
		for i, point := range points {
			kind, id := pb.Fstype_SYSFS, uint32(1<<20+i)
			if strings.HasPrefix(point, "/auto") {
				kind = pb.Fstype_AUTOFS
			}
			all = slices.Insert(all, 0, &pb.MntEntry{
				Fstype: pb.Uint32(uint32(kind)), MntId: &id, RootDev: &id, ParentMntId: &root, Flags: pb.Uint32(0), Root: pb.String("/"), Mountpoint: &point,
				Source: pb.String("none"), Options: pb.String("")})
		}
		return all
	}
}

// What cannot be had of a container is said in one run, in the order of its images: what they show by themselves, what
// the kernel says of its network and its mounts, and what there is in its tasks. Once it is mended nothing is left.
func TestRefusalsOfAllNamespaces(t *testing.T) {
	im := testenv.StartIn(t, syscall.CLONE_NEWNET, "mounts").Dump(t)
	words := []string{"restore", "-d", "-D", im.Dir, "--root", "/"}
	rewrite(t, im, "netns-*.img", func(all []*pb.NetnsEntry) []*pb.NetnsEntry {
		for _, e := range append(all[0].GetUnixConf(), all[0].GetIpv4Sysctl()...) {
			*e = pb.SysctlEntry{Type: pb.SysctlType_CTL_STR.Enum(), Sarg: pb.String("none")}
		}
		return all
	})
	rewrite(t, im, "mountpoints-*.img", moreMounts("/auto", "/no/where", "/nor/here"))
	cores, err := filepath.Glob(filepath.Join(im.Dir, "core-*.img"))
	if err != nil {
		t.Fatal(err)
	}
	for _, core := range cores {
		rewrite(t, im, filepath.Base(core), func(all []*pb.CoreEntry) []*pb.CoreEntry {
			if all[0].GetThreadInfo() != nil {
				all[0].ThreadInfo.Gpregs.Mode = pb.UserX86RegsMode_COMPAT.Enum()
			}
			return all
		})
	}
	for _, more := range [][]string{nil, {"--dry-run"}} {
		status, output := tool(t, im, append(words, more...)...)
		at := 0
		for _, want := range []string{
			"network namespace: sysctl net/unix/max_dgram_qlen = none: write /proc/sys/net/unix/max_dgram_qlen: invalid argument",
			"network namespace: sysctl net/ipv4/ping_group_range = none: write /proc/sys/net/ipv4/ping_group_range: invalid argument",
			"mount 1048576 at /auto: file system autofs of none: not supported",
			"mount 1048576 at /auto: its mount point is missing in mount ",
			"mount 1048577 at /no/where: its mount point is missing in mount ",
			"mount 1048578 at /nor/here: its mount point is missing in mount ",
			" (and 1 more): 32-bit (compat) task: not supported",
		} {
			i := strings.Index(output[at:], want)
			if status != exitFailed || i < 0 || strings.Count(output, want) != 1 {
				t.Fatalf("status %d, not %q once behind the others:\n%s", status, want, output)
			}
			at += i
		}
		if n := strings.Count(output, "\n"); n > 14 || !strings.Contains(output, "for 7 reasons") {
			t.Errorf("%d lines:\n%s", n, output)
		}
	}
}

// A tree of thousands of mounts is refused with a line for each that is wrong, or with one for all where the limit of
// open files cannot be raised as far.
func TestRefusalsOfManyMounts(t *testing.T) {
	im := testenv.Start(t, "mounts").Dump(t)
	var points []string
	for i := range 15000 {
		points = append(points, fmt.Sprintf("/nowhere/%d", i))
	}
	rewrite(t, im, "mountpoints-*.img", moreMounts(points...))
	status, output := tool(t, im, "restore", "-d", "-D", im.Dir, "--root", "/")
	n := strings.Count(output, "its mount point is missing")
	limited := n == 0 && strings.Count(output, "this host: raise RLIMIT_NOFILE from ") == 1
	if status != exitFailed || n != len(points) && !limited || strings.Contains(output, "too many open files") {
		t.Errorf("status %d, %d mount points are missing, want %d\n%.2000s", status, n, len(points), output)
	}
}
