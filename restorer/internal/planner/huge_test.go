package planner

import (
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
	"github.com/crpie/crpie/restorer/internal/planner/mem"
)

// Whether there are enough huge pages is known before a process exists.
func TestHugePageRefusals(t *testing.T) {
	const gigantic = 30 << mem.HugeShift
	for name, tc := range map[string]struct {
		status, flags uint32
		want          string
	}{
		"private": {images.VmaAnonPrivate, uapi.MapPrivate | uapi.MapAnonymous | uapi.MapHugetlb,
			"this host: the tasks need 3 huge pages of 2048 KiB, of which 1 are free\n" +
				"  hint: raise /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages by 2"},
		"gigantic": {images.VmaAnonPrivate, uapi.MapPrivate | uapi.MapAnonymous | uapi.MapHugetlb | gigantic,
			"this host: the tasks need 4 huge pages of 1048576 KiB, of which 1 are free\n" +
				"  hint: raise /sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages by 3"},
		"memfd": {images.VmaFileShared | images.VmaMemfd, uapi.MapShared | uapi.MapHugetlb,
			"this host: the tasks need 5 huge pages of 2048 KiB, of which 1 are free\n" +
				"  hint: raise /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages by 4"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "files"))
			var id uint32
			for file, e := range dir.Files {
				if e.GetMemfd() != nil {
					id = file
				}
			}
			inode := dir.Memfds[dir.Files[id].GetMemfd().GetInodeId()]
			if tc.status&images.VmaMemfd != 0 {
				*inode = pb.MemfdInodeEntry{InodeId: inode.InodeId, Name: pb.String("x"),
					Size:        pb.Uint64(5 * 2 << 20),
					HugetlbFlag: pb.Uint32(uapi.MfdHugetlb), Shmid: pb.Uint32(77)}
			}
			v := dir.Tasks[0].Mm.Vmas[0]
			v.Status, v.Flags, v.Shmid = &tc.status, &tc.flags, pb.Uint64(uint64(id))
			huge := mem.HugeSize(tc.flags)
			v.End = pb.Uint64(v.GetStart() + 3*huge)
			if tc.flags&gigantic == gigantic {
				v.End = pb.Uint64(v.GetStart() + 4*huge)
			}
			host := hosttest.New(dir)
			host.HugePages = func(uint64) uint64 { return 1 }
			_, err := buildSample(t, dir, host, &job.Options{})
			wantRefusal(t, err, tc.want)
		})
	}
}

// Without a reservation only the pages that have contents count; two pieces of one huge page are one.
func TestContentPages(t *testing.T) {
	const huge = 2 << 20
	pieces := []images.Piece{{Vaddr: 0, Pages: 256}, {Vaddr: 1 << 20, Pages: 256}, {Vaddr: 3 * huge, Pages: 1024},
		{Vaddr: 5*huge + 4096, Pages: 512}}
	if n := mem.ContentPages(pieces, huge); n != 5 {
		t.Errorf("%d huge pages, want 5", n)
	}
}
