package plan

import (
	"github.com/crpie/crpie/images/pb"
)

// CgroupDir is a cgroup that the controller sees to before a task exists.
type CgroupDir struct {
	Name       string // as in /proc/PID/cgroup: "pids:/a/b"
	Path       string
	Make       bool
	Owner      *pb.CgroupPerms // of one that is made; may be nil
	Properties []CgroupProperty
	IfFound    CgroupFound
}

// CgroupFound says what is done with a cgroup that was to be made, but that another restore has finished before.
type CgroupFound int

const (
	CgroupLeft    CgroupFound = iota // it stays as it is
	CgroupSet                        // it is given the properties
	CgroupRefused                    // the restore fails
)

// CgroupProperty is a file of a cgroup and what is to be in it.
type CgroupProperty struct {
	Name, Value string          // without a value: whose it is is all there is to say
	Owner       *pb.CgroupPerms // may be nil
}
