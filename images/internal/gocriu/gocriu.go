// Package gocriu has all image types of go-criu, for the generator of package pb and for tests: nothing that crpie runs
// may depend on it.
package gocriu

import (
	"reflect"

	_ "github.com/checkpoint-restore/go-criu/v7/rpc"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/apparmor"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/autofs"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/binfmt-misc"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/bpfmap-data"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/bpfmap-file"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/cgroup"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/core-aarch64"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/core-arm"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/core-loongarch64"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/core-mips"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/core-ppc64"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/core-riscv64"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/core-s390"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/core-x86"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/cpuinfo"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/creds"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-sa"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/eventfd"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/eventpoll"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/ext-file"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/fh"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/fifo"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/file-lock"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/fown"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/fs"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/fsnotify"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/ghost-file"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/img-streamer"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/inventory"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-desc"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-msg"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-sem"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-shm"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-var"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/macvlan"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/memfd"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/mm"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/mnt"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/netdev"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/ns"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/opts"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/packet-sock"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/pagemap"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/pidfd"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/pidns"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/pipe"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/pipe-data"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/pstree"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/regfile"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/remap-file-path"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/rlimit"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/rseq"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/seccomp"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/siginfo"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/signalfd"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/sit"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-inet"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-netlink"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-opts"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-packet"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-unix"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/stats"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/sysctl"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/tcp-stream"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/time"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/timens"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/timer"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/timerfd"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/tty"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/tun"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/userns"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/utsns"
	_ "github.com/checkpoint-restore/go-criu/v8/crit/images/vma"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// New makes the message of a type by its name in Go, nil if there is none.
func New(name string) (m proto.Message) {
	protoregistry.GlobalTypes.RangeMessages(func(t protoreflect.MessageType) bool {
		if one := t.Zero().Interface(); t.Descriptor().ParentFile().Package() == "" &&
			reflect.TypeOf(one).Elem().Name() == name {
			m = t.New().Interface()
		}
		return m == nil
	})
	return m
}
