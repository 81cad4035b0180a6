package seccomp

import "fmt"

// Answer is what a filter returns: an action, and 16 bits of data.
type Answer uint32

// The actions, from the one that wins over all others to the one that wins over none; seccomp(2).
const (
	KillProcess Answer = 0x80000000
	KillThread  Answer = 0x00000000
	Trap        Answer = 0x00030000
	Errno       Answer = 0x00050000
	UserNotif   Answer = 0x7fc00000
	Trace       Answer = 0x7ff00000
	Log         Answer = 0x7ffc0000
	Allow       Answer = 0x7fff0000
)

const actionMask = 0xffff0000 // SECCOMP_RET_ACTION_FULL

func actionNames() map[Answer]string {
	return map[Answer]string{
		KillProcess: "SECCOMP_RET_KILL_PROCESS", KillThread: "SECCOMP_RET_KILL_THREAD", Trap: "SECCOMP_RET_TRAP",
		UserNotif: "SECCOMP_RET_USER_NOTIF", Trace: "SECCOMP_RET_TRACE", Log: "SECCOMP_RET_LOG",
		Allow: "SECCOMP_RET_ALLOW",
	}
}

func (a Answer) action() Answer { return a & actionMask }

// Wins reports whether a is what happens when one filter returns a and another one b: the lower action as a signed
// number, kernel/seccomp.c.
func (a Answer) Wins(b Answer) bool { return int32(a.action()) < int32(b.action()) }

// Permits reports whether the call is made.
func (a Answer) Permits() bool { return a.action() == Allow || a.action() == Log }

// Fails reports whether the call returns an error and nothing else happens. Tracers and supervisors are not dumped, so
// asking them gives ENOSYS, seccomp(2).
func (a Answer) Fails() bool {
	return a.action() == Errno || a.action() == Trace || a.action() == UserNotif
}

// String names the action as seccomp(2) does.
func (a Answer) String() string {
	if a.action() == Errno {
		return fmt.Sprintf("SECCOMP_RET_ERRNO (%d)", a&^actionMask)
	}
	if name := actionNames()[a.action()]; name != "" {
		return name
	}
	return fmt.Sprintf("0x%x, which kills", uint32(a))
}
