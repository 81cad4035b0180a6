package plan

import (
	"fmt"

	"github.com/crpie/crpie/internal/uapi"
)

// Document is what crpie restore --dry-run prints, as text or JSON: docs/dry-run.md. A member changes its meaning or
// goes only with another SchemaVersion.
type Document struct {
	SchemaVersion int          `json:"schema_version"`
	Tasks         []TaskInfo   `json:"tasks"`    // parents before children
	NewPids       bool         `json:"new_pids"` // they keep their pids in a pid namespace that is made for that
	Region        RegionInfo   `json:"region"`
	Warnings      []string     `json:"warnings"`
	Notes         []string     `json:"notes"`
	Mounts        []string     `json:"mounts"`  // the tree of the tasks' mount namespace
	Network       []string     `json:"network"` // what is done in their network namespace
	Files         []FileInfo   `json:"files"`
	Cgroups       []CgroupInfo `json:"cgroups"`
	Programs      []Listing    `json:"programs"` // the zygote's first
	Connections   []WakingInfo `json:"connections"`
	NetworkLock   []string     `json:"network_lock"` // what is removed
}

// TaskInfo says what a task has.
type TaskInfo struct {
	Pid         int         `json:"pid"`
	Comm        string      `json:"comm"`
	Ends        bool        `json:"ends_at_once"` // a zombie, or a helper that is needed for a moment
	Threads     []int       `json:"threads"`      // ids, the leader first
	Mappings    int         `json:"mappings"`
	Descriptors int         `json:"descriptors"`
	Sockets     int         `json:"sockets"` // among the descriptors
	Hooks       []HooksInfo `json:"hooks"`   // in the order of the stages
}

// HooksInfo says which plugins run at a stage.
type HooksInfo struct {
	Stage   string   `json:"stage"`
	Plugins []string `json:"plugins"`
}

// RegionInfo says where the restorer is in each task.
type RegionInfo struct {
	Start     string `json:"start"` // hexadecimal
	End       string `json:"end"`
	BlobBytes uint64 `json:"blob_bytes"`
	PlanBytes uint64 `json:"plan_bytes"`
}

// FileInfo is a descriptor that the tasks inherit until their own are in place.
type FileInfo struct {
	FD   int    `json:"fd"`
	Name string `json:"name"`
}

// CgroupInfo is a cgroup that is made or set.
type CgroupInfo struct {
	Name       string         `json:"name"`
	Make       bool           `json:"make"`
	Properties []PropertyInfo `json:"properties"`
}

// PropertyInfo is a file of a cgroup.
type PropertyInfo struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Listing is a program.
type Listing struct {
	Task       int             `json:"task"` // its pid; 0: of the zygote
	Thread     int             `json:"thread"`
	Operations []OperationInfo `json:"operations"`
	Afterwards []string        `json:"afterwards"` // what the controller does to it when all are parked
}

// OperationInfo is an operation of a program.
type OperationInfo struct {
	Call   string   `json:"call"`
	Args   []string `json:"args"`             // as strace(1) prints them
	Result string   `json:"result,omitempty"` // the only good one, a descriptor's number, or "?": any
	For    string   `json:"for,omitempty"`
	Phase  string   `json:"phase,omitempty"`
}

// WakingInfo is a TCP connection, and what the controller does to it in the end.
type WakingInfo struct {
	What  string     `json:"what"`
	Task  int        `json:"task"`
	FD    int        `json:"fd"`
	Steps []StepInfo `json:"steps"`
}

// StepInfo is one thing that is done to a connection.
type StepInfo struct {
	Phase string `json:"phase"` // settle, hear, wake, rest: one is over for all connections before the next
	Call  string `json:"call"`
}

// Document describes the plan.
func (p *Plan) Document() *Document {
	r := &p.Region
	d := &Document{
		SchemaVersion: 1, NewPids: p.First, Warnings: list(p.Warnings), Notes: list(p.Notes),
		Mounts: list(p.Mounts), Network: list(p.Network),
		Tasks: []TaskInfo{}, Files: []FileInfo{}, Cgroups: []CgroupInfo{}, Connections: []WakingInfo{},
		Region: RegionInfo{
			Start: fmt.Sprintf("%#x", r.Start), End: fmt.Sprintf("%#x", r.End),
			BlobBytes: r.Shared - r.Start, PlanBytes: r.End - r.Plan,
		},
		Programs:    []Listing{{Operations: operations(p.Zygote), Afterwards: []string{}}},
		NetworkLock: p.Unlock.describe(),
	}
	for _, f := range p.Files {
		d.Files = append(d.Files, FileInfo{f.Number, f.Name})
	}
	for i := range p.Cgroups {
		d.Cgroups = append(d.Cgroups, p.Cgroups[i].describe())
	}
	for _, t := range p.Tasks {
		d.Tasks = append(d.Tasks, t.describe())
		for _, th := range t.Threads {
			d.Programs = append(d.Programs, Listing{t.Pid, th.Tid, operations(th.Ops), th.afterwards()})
		}
	}
	for _, c := range p.Connections {
		d.Connections = append(d.Connections, c.describe())
	}
	return d
}

// list is never null in JSON.
func list(s []string) []string { return append([]string{}, s...) }

// describe makes empty lists where nil ones would be null in JSON.
func (t *Task) describe() TaskInfo {
	info := TaskInfo{
		Pid: t.Pid, Comm: t.Comm, Ends: t.Dead, Threads: []int{}, Hooks: []HooksInfo{},
		Mappings: len(t.VMAs), Descriptors: t.Descriptors, Sockets: t.Sockets,
	}
	for _, th := range t.Threads {
		info.Threads = append(info.Threads, th.Tid)
	}
	for _, h := range t.Hooks {
		info.Hooks = append(info.Hooks, HooksInfo{h.Stage.String(), list(h.Plugins)})
	}
	return info
}

func (d *CgroupDir) describe() CgroupInfo {
	info := CgroupInfo{Name: d.Name, Make: d.Make, Properties: []PropertyInfo{}}
	for _, p := range d.Properties {
		info.Properties = append(info.Properties, PropertyInfo{p.Name, p.Value})
	}
	return info
}

func operations(ops []Op) []OperationInfo {
	all := make([]OperationInfo, len(ops))
	for i := range ops {
		all[i] = ops[i].describe()
	}
	return all
}

// afterwards describes what the controller sets besides registers.
func (t *Thread) afterwards() []string {
	s := t.Scheduling
	if s == nil {
		return []string{}
	}
	return []string{
		fmt.Sprintf("sched_setattr(%d, {sched_policy=%s, sched_nice=%d, sched_priority=%d}, 0)", t.Tid,
			uapi.Policy(uint64(s.Policy)), s.Nice, s.Priority),
		fmt.Sprintf("setpriority(PRIO_PROCESS, %d, %d)", t.Tid, s.Nice),
	}
}

// describe lists the phases in the order in which they run.
func (c *Connection) describe() WakingInfo {
	info := WakingInfo{What: c.What, Task: c.Pid, FD: c.Fd, Steps: []StepInfo{}}
	for _, phase := range []struct {
		name  string
		steps []Step
	}{{"settle", c.Settle}, {"hear", c.Hear}, {"wake", c.Wake}, {"rest", c.Rest}} {
		for _, s := range phase.steps {
			info.Steps = append(info.Steps, StepInfo{phase.name, s.String()})
		}
	}
	return info
}

func (l *NetworkLock) describe() []string {
	all := []string{}
	for _, table := range l.Tables {
		all = append(all, "nftables table inet "+table)
	}
	for _, rule := range l.Rules {
		all = append(all, rule.String())
	}
	return all
}
