package plan

import (
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/crpie/crpie/internal/escape"
)

// Print writes the plan for people: crpie restore --dry-run.
func (p *Plan) Print(w io.Writer) { p.Document().Print(w) }

// WriteJSON writes the document as JSON.
func (d *Document) WriteJSON(w io.Writer) error { return escape.WriteJSON(w, d) }

// Print writes the document as text: a summary, and then what happens in its order.
func (d *Document) Print(w io.Writer) {
	d.summary(w)
	fmt.Fprintf(w, "region %s-%s: blob %d bytes, plan %d bytes\n", d.Region.Start, d.Region.End, d.Region.BlobBytes,
		d.Region.PlanBytes)
	for _, warning := range d.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
	for _, f := range d.Files {
		fmt.Fprintf(w, "pass %s as fd %d\n", escape.Name(f.Name), f.FD)
	}
	for _, note := range d.Notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}
	for _, line := range d.Mounts {
		fmt.Fprintf(w, "%s\n", line)
	}
	for _, line := range d.Network {
		fmt.Fprintf(w, "%s\n", line)
	}
	for i := range d.Cgroups {
		d.Cgroups[i].Print(w)
	}
	for i := range d.Programs {
		d.Programs[i].print(w, d.comm(d.Programs[i].Task))
	}
	d.PrintConnections(w)
}

// PrintConnections writes what the controller does to TCP connections in the end.
func (d *Document) PrintConnections(w io.Writer) {
	for i := range d.Connections {
		d.Connections[i].print(w)
	}
	for _, lock := range d.NetworkLock {
		fmt.Fprintf(w, "delete %s if it is there\n", lock)
	}
}

// summary says what there is: tasks, what each has, and the hooks that run in it.
func (d *Document) summary(w io.Writer) {
	threads := 0
	for _, t := range d.Tasks {
		threads += len(t.Threads)
	}
	fmt.Fprintf(w, "%s, %s\n", count(len(d.Tasks), "task"), count(threads, "thread"))
	same := d.sameHooks()
	for i := range d.Tasks {
		d.Tasks[i].print(w, !same)
	}
	if same {
		printHooks(w, d.alive()[0].Hooks)
	}
	if d.NewPids {
		fmt.Fprintln(w, "pid namespace: a new one, whose first process, crpie-init, ends when it is alone there")
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (d *Document) alive() (all []*TaskInfo) {
	for i := range d.Tasks {
		if !d.Tasks[i].Ends {
			all = append(all, &d.Tasks[i])
		}
	}
	return all
}

// sameHooks reports whether the same hooks run in all tasks.
func (d *Document) sameHooks() bool {
	all := d.alive()
	for _, t := range all {
		if !reflect.DeepEqual(t.Hooks, all[0].Hooks) {
			return false
		}
	}
	return len(all) > 0
}

// print writes a line about a task, and its hooks unless all tasks have the same.
func (t *TaskInfo) print(w io.Writer, hooks bool) {
	fmt.Fprintf(w, "task %d %q: ", t.Pid, t.Comm)
	if t.Ends {
		fmt.Fprintln(w, "ends at once")
		return
	}
	fmt.Fprintf(w, "%s, %s, %s, of which %s\n", count(len(t.Threads), "thread"), count(t.Mappings, "mapping"),
		count(t.Descriptors, "descriptor"),
		count(t.Sockets, "socket"))
	if hooks {
		printHooks(w, t.Hooks)
	}
}

func printHooks(w io.Writer, hooks []HooksInfo) {
	for _, h := range hooks {
		fmt.Fprintf(w, "hooks %s: %s\n", h.Stage, strings.Join(h.Plugins, ", "))
	}
}

// Print writes a line.
func (c *CgroupInfo) Print(w io.Writer) {
	what := "set"
	if c.Make {
		what = "make"
	}
	fmt.Fprintf(w, "%s cgroup %s", what, escape.Name(c.Name))
	for _, p := range c.Properties {
		fmt.Fprintf(w, " %s=%q", escape.Name(p.Name), p.Value)
	}
	fmt.Fprintln(w)
}

// comm names the task with a pid.
func (d *Document) comm(pid int) string {
	for _, t := range d.Tasks {
		if t.Pid == pid {
			return t.Comm
		}
	}
	return ""
}

// print writes a thread's operations with their numbers, which errors name, marks where a phase begins and ends, and
// ends with what happens to the thread afterwards.
func (l *Listing) print(w io.Writer, comm string) {
	who := "zygote"
	if l.Task != 0 {
		who = fmt.Sprintf("task %d %q thread %d", l.Task, comm, l.Thread)
	}
	fmt.Fprintf(w, "%s: %s\n", who, count(len(l.Operations), "operation"))
	phase := ""
	for i, op := range l.Operations {
		if op.Phase != phase {
			mark(w, "end of phase", phase)
			mark(w, "phase", op.Phase)
			phase = op.Phase
		}
		fmt.Fprintf(w, "%5d  %s\n", i, op.text())
	}
	for _, call := range l.Afterwards {
		fmt.Fprintf(w, " then  %s\n", call)
	}
}

// mark shows where a phase begins or ends.
func mark(w io.Writer, what, phase string) {
	if phase != "" {
		fmt.Fprintf(w, "       -- %s %s\n", what, phase)
	}
}

func (c *WakingInfo) print(w io.Writer) {
	fmt.Fprintf(w, "%s, task %d fd %d:\n", c.What, c.Task, c.FD)
	for _, s := range c.Steps {
		fmt.Fprintf(w, "%9s  %s\n", s.Phase, s.Call)
	}
}

// text reads like a line of strace(1), and says what for.
func (o *OperationInfo) text() string {
	s := o.Call + "(" + strings.Join(o.Args, ", ") + ")"
	if o.Result != "" {
		s += " = " + o.Result
	}
	if o.For != "" {
		s += "  # " + o.For
	}
	return escape.Name(s)
}
