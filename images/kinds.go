package images

import (
	"github.com/crpie/crpie/images/pb"
)

// Kind is a type of image, by its magic number.
type Kind struct {
	Name  string // as crit prints it
	Magic uint32
	new   func() pb.Message
}

// The words in front of the type magic, and before they existed.
const (
	magicCommon  = 0x54564319
	magicService = 0x55105940
)

// kinds lists the images whose messages package pb has types for, with CRIU's numbers (criu/include/magic.h: most are
// the geographical coordinates of a town).
var kinds = []Kind{
	{"APPARMOR", 0x59423047, func() pb.Message { return &pb.ApparmorEntry{} }},
	{"AUTOFS", 0x49353943, func() pb.Message { return &pb.AutofsEntry{} }},
	{"BINFMT_MISC", 0x67343323, func() pb.Message { return &pb.BinfmtMiscEntry{} }},
	{"BPFMAP_DATA", 0x64324033, func() pb.Message { return &pb.BpfmapDataEntry{} }},
	{"BPFMAP_FILE", 0x57506142, func() pb.Message { return &pb.BpfmapFileEntry{} }},
	{"CGROUP", 0x59383330, func() pb.Message { return &pb.CgroupEntry{} }},
	{"CORE", 0x55053847, func() pb.Message { return &pb.CoreEntry{} }},
	{"CPUINFO", 0x61404013, func() pb.Message { return &pb.CpuinfoEntry{} }},
	{"CREDS", 0x54023547, func() pb.Message { return &pb.CredsEntry{} }},
	{"EVENTFD_FILE", 0x44523722, func() pb.Message { return &pb.EventfdFileEntry{} }},
	{"EVENTPOLL_FILE", 0x45023858, func() pb.Message { return &pb.EventpollFileEntry{} }},
	{"EVENTPOLL_TFD", 0x44433746, func() pb.Message { return &pb.EventpollTfdEntry{} }},
	{"EXT_FILES", 0x59255641, func() pb.Message { return &pb.ExtFileEntry{} }},
	{"FANOTIFY_FILE", 0x55096122, func() pb.Message { return &pb.FanotifyFileEntry{} }},
	{"FANOTIFY_MARK", 0x56506035, func() pb.Message { return &pb.FanotifyMarkEntry{} }},
	{"FDINFO", 0x56213732, func() pb.Message { return &pb.FdinfoEntry{} }},
	{"FIFO", 0x58364939, func() pb.Message { return &pb.FifoEntry{} }},
	{"FIFO_DATA", 0x59333054, func() pb.Message { return &pb.PipeDataEntry{} }},
	{"FILES", 0x56303138, func() pb.Message { return &pb.FileEntry{} }},
	{"FILE_LOCKS", 0x54323616, func() pb.Message { return &pb.FileLockEntry{} }},
	{"FS", 0x51403912, func() pb.Message { return &pb.FsEntry{} }},
	{"GHOST_FILE", 0x52583605, func() pb.Message { return &pb.GhostFileEntry{} }},
	{"IDS", 0x54432030, func() pb.Message { return &pb.TaskKobjIdsEntry{} }},
	{"INETSK", 0x56443851, func() pb.Message { return &pb.InetSkEntry{} }},
	{"INOTIFY_FILE", 0x48424431, func() pb.Message { return &pb.InotifyFileEntry{} }},
	{"INOTIFY_WD", 0x54562009, func() pb.Message { return &pb.InotifyWdEntry{} }},
	{"INVENTORY", 0x58313116, func() pb.Message { return &pb.InventoryEntry{} }},
	{"IPCNS_MSG", 0x55453737, func() pb.Message { return &pb.IpcMsgEntry{} }},
	{"IPCNS_SEM", 0x59573019, func() pb.Message { return &pb.IpcSemEntry{} }},
	{"IPCNS_SHM", 0x46283044, func() pb.Message { return &pb.IpcShmEntry{} }},
	{"IPC_VAR", 0x53115007, func() pb.Message { return &pb.IpcVarEntry{} }},
	{"IRMAP_CACHE", 0x57004059, func() pb.Message { return &pb.IrmapCacheEntry{} }},
	{"ITIMERS", 0x57464056, func() pb.Message { return &pb.ItimerEntry{} }},
	{"MEMFD_INODE", 0x48453499, func() pb.Message { return &pb.MemfdInodeEntry{} }},
	{"MM", 0x57492820, func() pb.Message { return &pb.MmEntry{} }},
	{"MNTS", 0x55563928, func() pb.Message { return &pb.MntEntry{} }},
	{"NETDEV", 0x57373951, func() pb.Message { return &pb.NetDeviceEntry{} }},
	{"NETLINK_SK", 0x58005614, func() pb.Message { return &pb.NetlinkSkEntry{} }},
	{"NETNS", 0x55933752, func() pb.Message { return &pb.NetnsEntry{} }},
	{"NS_FILES", 0x61394011, func() pb.Message { return &pb.NsFileEntry{} }},
	{"PACKETSK", 0x60454618, func() pb.Message { return &pb.PacketSockEntry{} }},
	{"PAGEMAP", 0x56084025, func() pb.Message { return &pb.PagemapHead{} }},
	{"PIDNS", 0x61157326, func() pb.Message { return &pb.PidnsEntry{} }},
	{"PIPES", 0x56513555, func() pb.Message { return &pb.PipeEntry{} }},
	{"PIPES_DATA", 0x56453709, func() pb.Message { return &pb.PipeDataEntry{} }},
	{"POSIX_TIMERS", 0x52603957, func() pb.Message { return &pb.PosixTimerEntry{} }},
	{"PSTREE", 0x50273030, func() pb.Message { return &pb.PstreeEntry{} }},
	{"REG_FILES", 0x50363636, func() pb.Message { return &pb.RegFileEntry{} }},
	{"REMAP_FPATH", 0x59133954, func() pb.Message { return &pb.RemapFilePathEntry{} }},
	{"RLIMIT", 0x57113925, func() pb.Message { return &pb.RlimitEntry{} }},
	{"SECCOMP", 0x64413049, func() pb.Message { return &pb.SeccompEntry{} }},
	{"SIGACT", 0x55344201, func() pb.Message { return &pb.SaEntry{} }},
	{"SIGNALFD", 0x57323820, func() pb.Message { return &pb.SignalfdEntry{} }},
	{"SK_QUEUES", 0x56264026, func() pb.Message { return &pb.SkPacketEntry{} }},
	{"STATS", 0x57093306, func() pb.Message { return &pb.StatsEntry{} }},
	{"TCP_STREAM", 0x51465506, func() pb.Message { return &pb.TcpStreamEntry{} }},
	{"TIMENS", 0x43114433, func() pb.Message { return &pb.TimensEntry{} }},
	{"TIMERFD", 0x50493712, func() pb.Message { return &pb.TimerfdEntry{} }},
	{"TTY_DATA", 0x59413026, func() pb.Message { return &pb.TtyDataEntry{} }},
	{"TTY_FILES", 0x59433025, func() pb.Message { return &pb.TtyFileEntry{} }},
	{"TTY_INFO", 0x59453036, func() pb.Message { return &pb.TtyInfoEntry{} }},
	{"TUNFILE", 0x57143751, func() pb.Message { return &pb.TunfileEntry{} }},
	{"UNIXSK", 0x54373943, func() pb.Message { return &pb.UnixSkEntry{} }},
	{"USERNS", 0x55474906, func() pb.Message { return &pb.UsernsEntry{} }},
	{"UTSNS", 0x54473203, func() pb.Message { return &pb.UtsnsEntry{} }},
	{"VMAS", 0x54123737, func() pb.Message { return &pb.VmaEntry{} }},
}
