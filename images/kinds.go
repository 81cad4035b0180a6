package images

import (
	"github.com/checkpoint-restore/go-criu/v8/crit/images/apparmor"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/autofs"
	binfmt_misc "github.com/checkpoint-restore/go-criu/v8/crit/images/binfmt-misc"
	bpfmap_data "github.com/checkpoint-restore/go-criu/v8/crit/images/bpfmap-data"
	bpfmap_file "github.com/checkpoint-restore/go-criu/v8/crit/images/bpfmap-file"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/cgroup"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/cpuinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/creds"
	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	criu_sa "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-sa"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/eventfd"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/eventpoll"
	ext_file "github.com/checkpoint-restore/go-criu/v8/crit/images/ext-file"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fh"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fifo"
	file_lock "github.com/checkpoint-restore/go-criu/v8/crit/images/file-lock"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fs"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fsnotify"
	ghost_file "github.com/checkpoint-restore/go-criu/v8/crit/images/ghost-file"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/inventory"
	ipc_msg "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-msg"
	ipc_sem "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-sem"
	ipc_shm "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-shm"
	ipc_var "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-var"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/memfd"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/mnt"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/netdev"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/ns"
	packet_sock "github.com/checkpoint-restore/go-criu/v8/crit/images/packet-sock"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pagemap"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pidns"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pipe"
	pipe_data "github.com/checkpoint-restore/go-criu/v8/crit/images/pipe-data"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/regfile"
	remap_file_path "github.com/checkpoint-restore/go-criu/v8/crit/images/remap-file-path"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/rlimit"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/seccomp"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/signalfd"
	sk_inet "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-inet"
	sk_netlink "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-netlink"
	sk_packet "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-packet"
	sk_unix "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-unix"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/stats"
	tcp_stream "github.com/checkpoint-restore/go-criu/v8/crit/images/tcp-stream"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/timens"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/timer"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/timerfd"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/tty"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/tun"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/userns"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/utsns"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/vma"

	"google.golang.org/protobuf/proto"
)

// Kind is a type of image, by its magic number.
type Kind struct {
	Name  string // as crit prints it
	Magic uint32
	new   func() proto.Message
}

// The words in front of the type magic, and before they existed.
const (
	magicCommon  = 0x54564319
	magicService = 0x55105940
)

// kinds lists the images whose messages go-criu has types for, with CRIU's numbers (criu/include/magic.h: most are
// the geographical coordinates of a town).
var kinds = []Kind{
	{"APPARMOR", 0x59423047, func() proto.Message { return &apparmor.ApparmorEntry{} }},
	{"AUTOFS", 0x49353943, func() proto.Message { return &autofs.AutofsEntry{} }},
	{"BINFMT_MISC", 0x67343323, func() proto.Message { return &binfmt_misc.BinfmtMiscEntry{} }},
	{"BPFMAP_DATA", 0x64324033, func() proto.Message { return &bpfmap_data.BpfmapDataEntry{} }},
	{"BPFMAP_FILE", 0x57506142, func() proto.Message { return &bpfmap_file.BpfmapFileEntry{} }},
	{"CGROUP", 0x59383330, func() proto.Message { return &cgroup.CgroupEntry{} }},
	{"CORE", 0x55053847, func() proto.Message { return &criu_core.CoreEntry{} }},
	{"CPUINFO", 0x61404013, func() proto.Message { return &cpuinfo.CpuinfoEntry{} }},
	{"CREDS", 0x54023547, func() proto.Message { return &creds.CredsEntry{} }},
	{"EVENTFD_FILE", 0x44523722, func() proto.Message { return &eventfd.EventfdFileEntry{} }},
	{"EVENTPOLL_FILE", 0x45023858, func() proto.Message { return &eventpoll.EventpollFileEntry{} }},
	{"EVENTPOLL_TFD", 0x44433746, func() proto.Message { return &eventpoll.EventpollTfdEntry{} }},
	{"EXT_FILES", 0x59255641, func() proto.Message { return &ext_file.ExtFileEntry{} }},
	{"FANOTIFY_FILE", 0x55096122, func() proto.Message { return &fsnotify.FanotifyFileEntry{} }},
	{"FANOTIFY_MARK", 0x56506035, func() proto.Message { return &fsnotify.FanotifyMarkEntry{} }},
	{"FDINFO", 0x56213732, func() proto.Message { return &fdinfo.FdinfoEntry{} }},
	{"FIFO", 0x58364939, func() proto.Message { return &fifo.FifoEntry{} }},
	{"FIFO_DATA", 0x59333054, func() proto.Message { return &pipe_data.PipeDataEntry{} }},
	{"FILES", 0x56303138, func() proto.Message { return &fdinfo.FileEntry{} }},
	{"FILE_LOCKS", 0x54323616, func() proto.Message { return &file_lock.FileLockEntry{} }},
	{"FS", 0x51403912, func() proto.Message { return &fs.FsEntry{} }},
	{"GHOST_FILE", 0x52583605, func() proto.Message { return &ghost_file.GhostFileEntry{} }},
	{"IDS", 0x54432030, func() proto.Message { return &criu_core.TaskKobjIdsEntry{} }},
	{"INETSK", 0x56443851, func() proto.Message { return &sk_inet.InetSkEntry{} }},
	{"INOTIFY_FILE", 0x48424431, func() proto.Message { return &fsnotify.InotifyFileEntry{} }},
	{"INOTIFY_WD", 0x54562009, func() proto.Message { return &fsnotify.InotifyWdEntry{} }},
	{"INVENTORY", 0x58313116, func() proto.Message { return &inventory.InventoryEntry{} }},
	{"IPCNS_MSG", 0x55453737, func() proto.Message { return &ipc_msg.IpcMsgEntry{} }},
	{"IPCNS_SEM", 0x59573019, func() proto.Message { return &ipc_sem.IpcSemEntry{} }},
	{"IPCNS_SHM", 0x46283044, func() proto.Message { return &ipc_shm.IpcShmEntry{} }},
	{"IPC_VAR", 0x53115007, func() proto.Message { return &ipc_var.IpcVarEntry{} }},
	{"IRMAP_CACHE", 0x57004059, func() proto.Message { return &fh.IrmapCacheEntry{} }},
	{"ITIMERS", 0x57464056, func() proto.Message { return &timer.ItimerEntry{} }},
	{"MEMFD_INODE", 0x48453499, func() proto.Message { return &memfd.MemfdInodeEntry{} }},
	{"MM", 0x57492820, func() proto.Message { return &mm.MmEntry{} }},
	{"MNTS", 0x55563928, func() proto.Message { return &mnt.MntEntry{} }},
	{"NETDEV", 0x57373951, func() proto.Message { return &netdev.NetDeviceEntry{} }},
	{"NETLINK_SK", 0x58005614, func() proto.Message { return &sk_netlink.NetlinkSkEntry{} }},
	{"NETNS", 0x55933752, func() proto.Message { return &netdev.NetnsEntry{} }},
	{"NS_FILES", 0x61394011, func() proto.Message { return &ns.NsFileEntry{} }},
	{"PACKETSK", 0x60454618, func() proto.Message { return &packet_sock.PacketSockEntry{} }},
	{"PAGEMAP", 0x56084025, func() proto.Message { return &pagemap.PagemapHead{} }},
	{"PIDNS", 0x61157326, func() proto.Message { return &pidns.PidnsEntry{} }},
	{"PIPES", 0x56513555, func() proto.Message { return &pipe.PipeEntry{} }},
	{"PIPES_DATA", 0x56453709, func() proto.Message { return &pipe_data.PipeDataEntry{} }},
	{"POSIX_TIMERS", 0x52603957, func() proto.Message { return &timer.PosixTimerEntry{} }},
	{"PSTREE", 0x50273030, func() proto.Message { return &pstree.PstreeEntry{} }},
	{"REG_FILES", 0x50363636, func() proto.Message { return &regfile.RegFileEntry{} }},
	{"REMAP_FPATH", 0x59133954, func() proto.Message { return &remap_file_path.RemapFilePathEntry{} }},
	{"RLIMIT", 0x57113925, func() proto.Message { return &rlimit.RlimitEntry{} }},
	{"SECCOMP", 0x64413049, func() proto.Message { return &seccomp.SeccompEntry{} }},
	{"SIGACT", 0x55344201, func() proto.Message { return &criu_sa.SaEntry{} }},
	{"SIGNALFD", 0x57323820, func() proto.Message { return &signalfd.SignalfdEntry{} }},
	{"SK_QUEUES", 0x56264026, func() proto.Message { return &sk_packet.SkPacketEntry{} }},
	{"STATS", 0x57093306, func() proto.Message { return &stats.StatsEntry{} }},
	{"TCP_STREAM", 0x51465506, func() proto.Message { return &tcp_stream.TcpStreamEntry{} }},
	{"TIMENS", 0x43114433, func() proto.Message { return &timens.TimensEntry{} }},
	{"TIMERFD", 0x50493712, func() proto.Message { return &timerfd.TimerfdEntry{} }},
	{"TTY_DATA", 0x59413026, func() proto.Message { return &tty.TtyDataEntry{} }},
	{"TTY_FILES", 0x59433025, func() proto.Message { return &tty.TtyFileEntry{} }},
	{"TTY_INFO", 0x59453036, func() proto.Message { return &tty.TtyInfoEntry{} }},
	{"TUNFILE", 0x57143751, func() proto.Message { return &tun.TunfileEntry{} }},
	{"UNIXSK", 0x54373943, func() proto.Message { return &sk_unix.UnixSkEntry{} }},
	{"USERNS", 0x55474906, func() proto.Message { return &userns.UsernsEntry{} }},
	{"UTSNS", 0x54473203, func() proto.Message { return &utsns.UtsnsEntry{} }},
	{"VMAS", 0x54123737, func() proto.Message { return &vma.VmaEntry{} }},
}
