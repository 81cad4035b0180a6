//go:build amd64

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/clones"
	"github.com/crpie/crpie/internal/ended"
	"github.com/crpie/crpie/internal/pluginspec"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/restorer"
)

// exitSome: some clones have been restored, and others not.
const exitSome = 3

// mostClones bounds --clones: each needs two pids, of which there are 2^22 at most, proc_sys_kernel(5) pid_max.
const mostClones = 1 << 20

// setClones reads the argument of --clones.
func (r *restoreFlags) setClones(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > mostClones {
		return fmt.Errorf("want how many, from 1 to %d", mostClones)
	}
	r.clones = n
	return nil
}

// misusedClones names the first flag that does not go with --clones.
func (r *restoreFlags) misusedClones() string {
	switch {
	case r.clones == 0:
	case r.execCmd:
		return "--clones and --exec-cmd exclude each other: the command would be the parent of one of them"
	case r.pauseAt != "":
		return "--clones and --pie-pause exclude each other: debug a restore of one"
	case r.watches():
		return "--clones and --diff or --trace exclude each other: look at a restore of one"
	case r.clones > 1 && r.pidfile != "" && !clones.HasNumber(r.pidfile):
		return "--pidfile needs %n with --clones: the place of each one's number"
	}
	return ""
}

// ofClone gives the flags of one clone: its number is in its paths.
func (r *restoreFlags) ofClone(number int) *restoreFlags {
	one, its := *r, func(s string) string { return clones.Numbered(s, number) }
	one.pidfile, one.root = its(r.pidfile), its(r.root)
	one.mounts, one.join, one.cgroupRoots = values(r.mounts, its), values(r.join, its), values(r.cgroupRoots, its)
	one.external = nil
	for _, resource := range r.external {
		key, value, found := strings.Cut(resource, "]:")
		if found {
			resource = key + "]:" + its(value)
		}
		one.external = append(one.external, resource)
	}
	return &one
}

// values takes those of a map through a function.
func values(of map[string]string, f func(string) string) map[string]string {
	changed := maps.Clone(of)
	for key, value := range changed {
		changed[key] = f(value)
	}
	return changed
}

// beside says what the flags of all set apart, nil if there is one clone.
func (r *restoreFlags) beside() *restorer.Clones {
	if r.clones < 2 {
		return nil
	}
	isNet := func(resource string) bool {
		kind, path, _ := strings.Cut(resource, "]:")
		return strings.HasPrefix(kind, "net[") && clones.HasNumber(path)
	}
	return &restorer.Clones{
		Nets:  clones.HasNumber(r.join["net"]) || slices.ContainsFunc(r.external, isNet),
		Roots: clones.HasNumber(r.root),
	}
}

// crowd is the restore of several clones, one after the other.
type crowd struct {
	common     *attempt
	inherited  []restorer.Inherited
	plugins    [][]blob.Input // by clone
	checkpoint *restorer.Checkpoint
	all        []*clone // that were begun
	end        error    // why the others were not; nil: there are none
}

// clone is one of them.
type clone struct {
	number   int
	prepared *restorer.Prepared // of one that is waited for
	root     int
	err      error
}

// restoreClones reads the images, refuses what cannot be restored so often, and restores the clones.
func (a *attempt) restoreClones(ctx context.Context, inherited []restorer.Inherited) (status int, err error) {
	c := &crowd{common: a, inherited: inherited}
	if c.plugins, err = pluginspec.LoadClones(a.restoreFlags.plugins, a.clones, a.untrusted.rule()); err != nil {
		return 0, err
	}
	open := restorer.Open
	if a.untrusted {
		open = restorer.OpenUntrusted
	}
	if c.checkpoint, err = open(a.images); err != nil {
		return 0, err
	}
	defer c.checkpoint.Close()
	first := c.attempt(1)
	prepared, err := c.prepare(ctx, first)
	if err != nil {
		return 0, err
	}
	a.tell(prepared)
	if a.dryRun {
		defer prepared.Close()
		return exitOK, a.writePlan(a.std.out, prepared)
	}
	if err := c.check(); err != nil {
		prepared.Close()
		return 0, err
	}
	c.restoreAll(ctx, first, prepared)
	return c.follow()
}

// attempt begins the restore of one clone.
func (c *crowd) attempt(number int) *attempt {
	one := *c.common
	one.number, one.restoreFlags = number, c.common.ofClone(number)
	one.pid, one.plugins = pidfile{name: one.pidfileName()}, c.plugins[number-1]
	return &one
}

func (c *crowd) prepare(ctx context.Context, one *attempt) (*restorer.Prepared, error) {
	opts, err := one.planned(ctx, c.inherited)
	if err != nil {
		return nil, err
	}
	opts.Plan.Clones = c.common.beside()
	return c.checkpoint.Prepare(opts)
}

// check refuses pid files that exist, and makes room for the descriptors by which clones are waited for.
func (c *crowd) check() error {
	for number := range c.common.clones {
		one := c.attempt(number + 1)
		if err := one.pid.check(); err != nil {
			return err
		}
	}
	if c.common.detached {
		return nil
	}
	const each = 2                                     // see sys.First
	_, err := sys.RoomForFiles(each * c.common.clones) // for as long as crpie lives
	return err
}

// restoreAll restores one after the other. One that fails is undone, and keeps none of the others from being restored;
// a signal that ends crpie does.
func (c *crowd) restoreAll(ctx context.Context, first *attempt, prepared *restorer.Prepared) {
	log := c.common.log
	defer log.forAll()
	for number := 1; number <= c.common.clones; number++ {
		if number > 1 && ctx.Err() != nil { // the first closes what is prepared
			c.end = context.Cause(ctx)
			return
		}
		log.forClone(number)
		one, err := first, error(nil)
		if number > 1 {
			one = c.attempt(number)
			prepared, err = c.prepare(ctx, one)
		}
		this := &clone{number: number, err: err}
		if err == nil {
			one.restoreClone(ctx, this, prepared)
		}
		if this.err != nil && log.file != nil {
			log.printf(report.LogError, 0, "%v", this.err)
		}
		c.all = append(c.all, this)
	}
}

// restoreClone carries a plan out.
func (a *attempt) restoreClone(ctx context.Context, this *clone, prepared *restorer.Prepared) {
	this.root, this.err = prepared.Run(ctx)
	if this.err != nil {
		this.err = errors.Join(this.err, a.pid.discard())
	} else {
		a.log.printf(report.LogInfo, this.root, "restored")
	}
	if this.err != nil || a.detached {
		prepared.Close()
		return
	}
	this.prepared = prepared
}

// follow tells which clones were restored, and waits for these in the foreground.
func (c *crowd) follow() (status int, err error) {
	a := c.common
	if a.watched {
		a.log.hint(a.std.err)
	}
	status = c.status()
	if err := c.report(status); err != nil { // the clones are there all the same
		complain(a.std, err)
		status = cmp.Or(status, exitSome)
	}
	if !a.detached {
		of, err := c.wait()
		if err != nil {
			return 0, err
		}
		status = cmp.Or(status, of)
	}
	return status, nil
}

// failures lists the clones that were not restored.
func (c *crowd) failures() (failed []*clone) {
	for _, one := range c.all {
		if one.err != nil {
			failed = append(failed, one)
		}
	}
	return failed
}

// interrupted gives the signal that has ended the restore, if one has.
func (c *crowd) interrupted() (by ended.By, is bool) {
	last := c.all[len(c.all)-1]
	return by, errors.As(cmp.Or(c.end, last.err), &by)
}

// status is crpie's exit status as far as restoring goes.
func (c *crowd) status() int {
	failed := len(c.failures())
	by, interrupted := c.interrupted()
	switch {
	case interrupted:
		return ended.SignalStatus(by.Signal)
	case failed == len(c.all):
		return exitFailed
	case failed > 0:
		return exitSome
	}
	return exitOK
}

// wait waits for the clones, and gives the status of the first, by its number, that did not end with 0.
func (c *crowd) wait() (status int, err error) {
	var roots []int
	for _, one := range c.all {
		if one.err == nil {
			roots = append(roots, one.root)
			defer one.prepared.Close()
		}
	}
	if len(roots) == 0 {
		return 0, nil
	}
	statuses, err := c.common.relay.waitFor(roots...)
	for _, one := range c.all {
		if one.err == nil {
			one.prepared.AwaitPidNamespace()
			status = cmp.Or(status, statuses[one.root])
		}
	}
	return status, err
}

// jsonClones is the document of crpie restore --clones --format json; schema_version changes when a member changes its
// meaning or goes.
type jsonClones struct {
	SchemaVersion int         `json:"schema_version"`
	ExitStatus    int         `json:"exit_status"`      // as far as restoring goes
	Signal        string      `json:"signal,omitempty"` // that ended it
	Clones        []jsonClone `json:"clones"`           // that were begun
}

type jsonClone struct {
	Clone   int               `json:"clone"`
	Pid     int               `json:"pid,omitempty"` // outside
	Failure *restorer.Failure `json:"failure,omitempty"`
}

// report tells what became of the clones, as text only if some were not restored.
func (c *crowd) report(status int) error {
	if c.common.format != "json" {
		c.complain()
		return nil
	}
	doc := jsonClones{SchemaVersion: 1, ExitStatus: status}
	if by, is := c.interrupted(); is {
		doc.Signal = unix.SignalName(by.Signal)
	}
	for _, one := range c.all {
		member := jsonClone{Clone: one.number, Pid: one.root}
		if one.err != nil {
			failure := restorer.Describe(one.err)
			member.Failure = &failure
		}
		doc.Clones = append(doc.Clones, member)
	}
	return writeJSON(c.common.std.out, doc)
}

// complain says once what failed in several clones in the same way.
func (c *crowd) complain() {
	failed := c.failures()
	restored := len(c.all) - len(failed)
	if restored == c.common.clones {
		return
	}
	numbers, errs := map[string][]int{}, []error{}
	for _, one := range failed {
		text := one.err.Error()
		if numbers[text] == nil {
			errs = append(errs, one.err)
		}
		numbers[text] = append(numbers[text], one.number)
	}
	for _, err := range errs {
		complain(c.common.std, fmt.Errorf("%s: %w", numbered(numbers[err.Error()]), err))
	}
	if c.end != nil {
		complain(c.common.std, c.end)
	}
	complain(c.common.std, fmt.Errorf("restored %d of %d clones", restored, c.common.clones))
}

// numbered names clones: "clones 1, 3 to 7".
func numbered(numbers []int) string {
	var parts []string
	for i := 0; i < len(numbers); {
		end := i
		for end+1 < len(numbers) && numbers[end+1] == numbers[end]+1 {
			end++
		}
		part := strconv.Itoa(numbers[i])
		if end > i {
			part += fmt.Sprintf(" to %d", numbers[end])
		}
		parts = append(parts, part)
		i = end + 1
	}
	if len(numbers) == 1 {
		return "clone " + parts[0]
	}
	return "clones " + strings.Join(parts, ", ")
}
