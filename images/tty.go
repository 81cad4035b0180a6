package images

import "github.com/crpie/crpie/images/pb"

// IsMaster tells the ends of a pseudoterminal apart as the kernel does, Documentation/admin-guide/devices.txt:
// /dev/ptmx is 5:2, masters have the majors 128 to 135.
func IsMaster(info *pb.TtyInfoEntry) bool {
	const ptmx, firstMaster, lastMaster = 5<<8 | 2, 128, 135
	major := info.GetRdev() >> 8 & 0xfff
	return info.GetRdev() == ptmx || major >= firstMaster && major <= lastMaster
}
