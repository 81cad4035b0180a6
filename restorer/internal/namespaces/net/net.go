package net

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/refuse"
)

// Options say where a network namespace comes from, and how it is tied to the host's.
type Options struct {
	// External has the values of --external by what stands before them: "net[KEY]", "veth[NAME]", "macvlan[NAME]".
	External map[string]string
	Inherit  map[string]func() (*os.File, error) // --inherit-fd by RESOURCE
	Join     string                              // --join-ns net:PID or net:PATH; "" without
	Empty    bool                                // --empty-ns net
}

// Plan is everything that will be done for one network namespace.
type Plan struct {
	id     uint32
	images []string
	takes  []string
	wants  []string
	source string                   // of an existing namespace, for people
	open   func() (*os.File, error) // opens it; nil: one is made
	steps  []step
	locked []connection

	made made
}

// made is what a plan holds once Enter has been called.
type made struct {
	own  *os.File             // the namespace
	host *os.File             // the one that the thread came from
	lock interface{ Close() } // keeps packets out; nil: none does
	undo []func() error       // of what lies outside of the namespace
}

// step is one thing that is done inside of the namespace.
type step interface{ String() string }

// planner reads the images of one namespace.
type planner struct {
	*refuse.Collector
	*Plan
	dir   *images.Dir
	opts  *Options
	links map[uint32]*link // by their numbers
	late  []step           // settings that wait for the links

	dumped []uint32 // links that got an address by being dumped
}

// New plans the namespace that the tasks' net_ns_id names.
func New(c *refuse.Collector, dir *images.Dir, id uint32, o *Options) *Plan {
	p := &planner{Collector: c, Plan: &Plan{id: id}, dir: dir, opts: o, links: map[uint32]*link{}}
	p.locked = p.connections()
	conf := p.netns()
	switch key := conf.GetExtKey(); {
	case o.Join != "":
		p.join(o.Join)
		p.passOver()
	case key != "":
		p.external(key)
	case o.Empty:
		p.passOver()
	default:
		p.own(conf)
	}
	return p.Plan
}

// Images lists the images that the plan has looked into.
func (p *Plan) Images() []string { return p.images }

// Takes lists the resources of --inherit-fd and --external that the plan uses.
func (p *Plan) Takes() []string { return p.takes }

// Empty reports whether a new namespace stays empty: what there was in it is not in the images, or not wanted.
func (p *Plan) Empty() bool { return p.open == nil && len(p.steps) == 0 }

// Entered reports whether the namespace exists already.
func (p *Plan) Entered() bool { return p.open != nil }

// Wants lists the resources of --external that could be given.
func (p *Plan) Wants() []string { return p.wants }

// Describe says in lines what will be done.
func (p *Plan) Describe() []string {
	if p.open != nil {
		return []string{"network namespace: enter " + p.source}
	}
	lines := []string{"network namespace: make one"}
	for _, s := range p.steps {
		lines = append(lines, s.String())
	}
	return lines
}

// netns reads the image that there is of every namespace.
func (p *planner) netns() *pb.NetnsEntry {
	entries := read[*pb.NetnsEntry](p, "netns", "NETNS")
	if len(entries) == 0 {
		return &pb.NetnsEntry{} // there was none before CRIU 2.0
	}
	return entries[0]
}

// own plans a namespace that is filled from the images.
func (p *planner) own(conf *pb.NetnsEntry) {
	p.planConf(conf)
	p.planIDs(conf)
	p.planLinks()
	p.planAddresses()
	p.planRoutes()
	p.planRules()
	p.planLateConf()
	p.planTables()
	p.planConntrack()
}

// join is a namespace of a process, or of a path.
func (p *planner) join(place string) {
	path := place
	if _, err := strconv.ParseUint(place, 10, 31); err == nil {
		path = "/proc/" + place + "/ns/net"
	}
	p.source, p.open = path, func() (*os.File, error) { return os.Open(path) }
}

// external finds out which namespace is to take the place of one that was dumped by its key alone.
func (p *planner) external(key string) {
	resource := "net[" + key + "]"
	p.wants = append(p.wants, resource)
	if open := p.opts.Inherit[key]; open != nil {
		p.takes = append(p.takes, key)
		p.source, p.open = "the descriptor for "+strconv.Quote(key), open
		return
	}
	if path := p.opts.External[resource]; path != "" {
		p.takes = append(p.takes, resource)
		p.join(path)
		return
	}
	p.Refuse(p.image("netns"), fmt.Sprintf("use --external net[%s]:PATH or --inherit-fd fd[N]:%s", key, key),
		"the network namespace was dumped as external, %q, and none is given", key)
}

// image names the image of a kind.
func (p *planner) image(kind string) string { return fmt.Sprintf("%s-%d.img", kind, p.id) }

// has reports whether there is an image, which then counts as looked into.
func (p *planner) has(name string) bool {
	for _, other := range p.dir.Other {
		if other == name {
			p.images = append(p.images, name)
			return true
		}
	}
	return false
}

// kinds are the beginnings of all images of a network namespace, CRIU's image-desc.c.
var kinds = []string{"netns", "netdev", "ifaddr", "route", "route6", "rule", "iptables", "ip6tables", "nftables",
	"netns-ct", "netns-exp"}

// passOver looks into none of the images, because nothing of them is wanted.
func (p *planner) passOver() {
	p.images = nil
	for _, kind := range kinds {
		p.has(p.image(kind))
	}
}

// read decodes an image of messages. One that is not there has none.
func read[M pb.Message](p *planner, kind, want string) (all []M) {
	name := p.image(kind)
	if !p.has(name) {
		return nil
	}
	img, err := images.Read(p.dir.FS, name)
	if err != nil {
		p.Refuse(name, "", "%v", err)
		return nil
	}
	if img.Kind.Name != want {
		p.Refuse(name, "", "it is an image of kind %s, want %s", img.Kind.Name, want)
		return nil
	}
	for _, u := range img.Unknown {
		p.Refuse(name, "", "%s: unknown field: this image is from a newer CRIU", u)
	}
	for _, e := range img.Entries {
		all = append(all, e.Message.(M))
	}
	return all
}

// maxRaw bounds images that are not of messages; a ruleset of a million lines has about 64 MiB.
const maxRaw = 64 << 20

// raw reads an image that a tool has written as it is.
func (p *planner) raw(kind string) (data []byte, name string) {
	name = p.image(kind)
	if !p.has(name) {
		return nil, name
	}
	f, err := p.dir.FS.Open(name)
	if err != nil {
		p.Refuse(name, "", "%v", err)
		return nil, name
	}
	defer f.Close()
	data, err = io.ReadAll(io.LimitReader(f, maxRaw+1))
	switch {
	case err != nil:
		p.Refuse(name, "", "%v", err)
		return nil, name
	case len(data) > maxRaw:
		p.Refuse(name, "", "it has more than %d bytes", maxRaw)
		return nil, name
	}
	return data, name
}

// tool finds a program, or refuses by the name of the package that has it.
func (p *planner) tool(where, name, pkg string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		p.Refuse(where, "install "+pkg, "it is read by %s, which this host lacks", name)
	}
	return path
}

// goodName reports whether the kernel takes a name for an interface, net/core/dev.c dev_valid_name.
func goodName(name string) bool {
	return name != "" && len(name) < 16 && name != "." && name != ".." && !strings.ContainsAny(name, "/: \t\n\v\f\r\x00") &&
		strings.IndexByte(name, 0xa0) < 0
}
