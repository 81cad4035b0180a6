package uapi

// Masks and flags of inotify(7), fanotify_init(2) and fanotify_mark(2).
const (
	InAllEvents  = 0xfff
	InExclUnlink = 1 << 26
	InOneshot    = 1 << 31

	FanMarkAdd         = 0x1
	FanMarkMount       = 0x10
	FanMarkIgnoredMask = 0x20
	FanMarkSurvModify  = 0x40
	FanMarkIgnore      = 0x400 // Linux 6.0: in place of FAN_MARK_IGNORED_MASK
	FanPermissions     = 0x10000 | 0x20000 | 0x40000
)
