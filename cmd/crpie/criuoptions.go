//go:build linux && amd64

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/crpie/crpie/internal/escape"
)

// fate says what becomes of an option of criu restore that crpie has no use for.
type fate int

const (
	idle fate = iota
	refused
	// containers: it is about what some containers have and crpie does not restore. On the command line it is
	// refused. In a configuration file it is idle, because the file is for everything that criu does on this
	// machine; the images of such trees are refused themselves.
	containers
)

// arguments of an option, getopt_long(3).
type arguments int

const (
	noArgument arguments = iota
	oneArgument
	maybeArgument
)

// criuOption is an option of criu restore that crpie accepts without effect, or refuses.
type criuOption struct {
	names     string // "root,r": long and short
	takes     arguments
	fate      fate
	why       string
	hint      string            // what to do instead, of those that are refused
	values    func(string) bool // whether criu accepts one; nil: any
	refuses   func(string) bool // whether one of an idle option is refused all the same; nil: none
	negatable bool              // there is a --no-NAME as well
}

// name is the long name.
func (o *criuOption) name() string { long, _, _ := strings.Cut(o.names, ","); return long }

func anFD(s string) bool    { return s != "" && consists(s, digits) }
func aNumber(s string) bool { return anFD(s) && s[0] != '0' }

func oneOf(words ...string) func(string) bool {
	return func(s string) bool { return slices.Contains(words, s) }
}

// cpuCaps accepts words with commas between them; ^ takes one away.
func cpuCaps(s string) bool {
	known := oneOf("fpu", "all", "none", "cpu", "ins")
	for word := range strings.SplitSeq(s, ",") {
		if !known(strings.TrimLeft(word, "^")) {
			return false
		}
	}
	return true
}

// comparesCPUs reports whether criu would compare more than what registers need, as it does without words.
func comparesCPUs(s string) bool {
	return slices.ContainsFunc(strings.Split(s, ","), oneOf("", "cpu", "ins", "all"))
}

// Why an option has no effect.
const (
	forDump    = "it is for criu dump"
	forDumpMnt = "it is for criu dump of mount namespaces"
	forServer  = "it is for criu's page server"
	forCheck   = "it is for criu check"
)

// criuOptions are in the order of criu's own table (4.2). The others of criu's options are flags like crpie's own.
func criuOptions() []criuOption {
	return []criuOption{
		{names: "tree,t", takes: oneArgument, values: aNumber, why: "the images say which tasks there are"},
		{names: "evasive-devices", negatable: true, why: forDump},
		{names: "link-remap", negatable: true,
			why: "crpie restores deleted files whether or not they were linked"},
		{names: "page-server", negatable: true, why: forDump},
		{names: "address", takes: oneArgument, why: forServer},
		{names: "port", takes: oneArgument, values: aNumber, why: forServer},
		{names: "prev-images-dir", takes: oneArgument, why: forDump},
		{names: "ms", fate: refused, why: "criu refuses it, too", hint: "leave it away"},
		{names: "track-mem", negatable: true, why: forDump},
		{names: "auto-dedup", negatable: true, why: "crpie leaves the images as they are"},
		{names: "libdir,L", takes: oneArgument,
			why: "crpie runs no plugins of criu's; images that need one are refused"},
		{names: "cpu-cap", takes: maybeArgument, values: cpuCaps,
			why:     "crpie checks what the threads' registers need",
			refuses: comparesCPUs,
			hint:    "run criu cpuinfo check -D DIR first, and leave it away"},
		{names: "force-irmap", negatable: true, why: forDump},
		{names: "feature", takes: oneArgument, why: forCheck},
		{names: "skip-mnt", takes: oneArgument, why: forDumpMnt},
		{names: "enable-fs", takes: oneArgument, why: forDumpMnt},
		{names: "enable-external-sharing", why: forDumpMnt},
		{names: "enable-external-masters", why: forDumpMnt},
		{names: "freeze-cgroup", takes: oneArgument, why: forDump},
		{names: "ghost-limit", takes: oneArgument, why: forDump},
		{names: "irmap-scan-path", takes: oneArgument, why: forDump},
		{names: "timeout", takes: oneArgument, values: aNumber,
			why: "it limits how long criu dump waits for tasks"},
		{names: "lazy-pages", fate: refused, why: "crpie writes all memory before the process runs",
			hint: "leave it away; pages that criu dump --lazy-pages kept to itself have to be fetched into the images first"},
		{names: "extra", negatable: true, why: forCheck},
		{names: "experimental", negatable: true, why: forCheck},
		{names: "all", why: forCheck},
		{names: "cgroup-props", takes: oneArgument, why: forDump},
		{names: "cgroup-props-file", takes: oneArgument, why: forDump},
		{names: "cgroup-dump-controller", takes: oneArgument, why: forDump},
		{names: "skip-in-flight", negatable: true, why: forDump},
		{names: "deprecated", negatable: true, why: "there is nothing deprecated here"},
		{names: "display-stats", negatable: true, why: "crpie keeps no statistics; at -v3 the log has times"},
		{names: "weak-sysctls", negatable: true,
			why: "crpie gives network namespaces all settings that they had"},
		{names: "status-fd", takes: oneArgument, values: anFD, why: forServer},
		{names: "ps-socket", takes: oneArgument, values: anFD, why: forServer},
		{names: "stream", negatable: true, fate: refused, why: "crpie reads image directories",
			hint: "extract the images first: criu-image-streamer --images-dir DIR extract < FILE"},
		{names: "tls-cacert", takes: oneArgument, why: forServer},
		{names: "tls-cacrl", takes: oneArgument, why: forServer},
		{names: "tls-cert", takes: oneArgument, why: forServer},
		{names: "tls-key", takes: oneArgument, why: forServer},
		{names: "tls", negatable: true, why: forServer},
		{names: "tls-no-cn-verify", why: forServer},
		{names: "cgroup-yard", takes: oneArgument,
			why: "crpie mounts no cgroups: it uses the hierarchies that are mounted, such as those in a yard"},
		{names: "pre-dump-mode", takes: oneArgument, values: oneOf("splice", "read"), why: forDump},
		{names: "network-lock", takes: oneArgument, values: oneOf("iptables", "nftables", "skip"),
			why: "the images say how criu dump locked the network"},
		{names: "mntns-compat-mode", negatable: true, why: "crpie makes mounts in one way only"},
		{names: "unprivileged", negatable: true, why: "crpie refuses by name what it lacks a capability for"},
		{names: "ghost-fiemap", negatable: true, why: forDump},
		{names: "allow-uprobes", negatable: true, why: "an uprobes area in the images is refused by name"},
	}
}

// Of external mounts that criu would find by itself.
const (
	whenAuto  = "crpie does not guess what was mounted"
	sayMounts = "say it for each key: --external mnt[KEY]:PATH"
)

const useGraft = "restore such a tree with criu or its runtime; plugins go along in images that crpie graft writes"

// used is a given option that has no effect or is refused.
type used struct {
	option *criuOption
	text   string // as it was given: "--root=/x"
	source string // "FILE:LINE", or nothing: the command line
}

// criuOnly collects the options that are criu's alone.
type criuOnly struct {
	source string // where the flags that are being set come from
	used   []used
	added  bool
}

// add registers the options, once, hidden: they are accepted for the sake of fingers and scripts.
func (c *criuOnly) add(f *pflag.FlagSet) {
	if c.added {
		return
	}
	c.added = true
	for _, o := range criuOptions() {
		long, short, _ := strings.Cut(o.names, ",")
		c.addFlag(f, &foreignValue{c, &o, long}, short)
		if o.negatable {
			c.addFlag(f, &foreignValue{c, &o, "no-" + long}, "")
		}
	}
}

// addFlag adds an option of criu that has no effect here; help does not show it.
func (c *criuOnly) addFlag(f *pflag.FlagSet, v *foreignValue, short string) {
	flag := f.VarPF(v, v.name, short, v.option.why)
	flag.Hidden = true
	switch v.option.takes {
	case noArgument:
		flag.NoOptDefVal = "true"
	case maybeArgument:
		flag.NoOptDefVal = nothing
	}
}

// nothing is the value of an option whose argument was left away.
const nothing = "\x00"

// foreignValue is the value of one spelling of such an option.
type foreignValue struct {
	all    *criuOnly
	option *criuOption
	name   string
}

func (v *foreignValue) String() string { return "" }
func (v *foreignValue) Type() string   { return "string" }

// Set records the option, or refuses a value that criu would refuse.
func (v *foreignValue) Set(s string) error {
	text := "--" + v.name
	if s == nothing {
		s = ""
	} else if v.option.takes != noArgument {
		if v.option.values != nil && !v.option.values(s) {
			return fmt.Errorf("criu does not take it either")
		}
		text += "=" + escape.Name(s)
	}
	if v.name == v.option.name() { // --no-NAME asks for the default
		v.all.use(v.option, text, s)
	}
	return nil
}

// use notes that an option was given. One whose values are refused one by one is judged here.
func (c *criuOnly) use(o *criuOption, text, value string) {
	if o.refuses != nil && o.refuses(value) {
		strict := *o
		strict.fate = refused
		o = &strict
	}
	c.used = append(c.used, used{o, text, c.source})
}

// refused reports whether the option prevents a restore.
func (u *used) refused() bool {
	return u.option.fate == refused || u.option.fate == containers && u.source == ""
}

func (u *used) String() string {
	if u.source != "" {
		return u.source + ": " + strings.TrimPrefix(u.text, "--")
	}
	return u.text
}

// refusals says, of all that are refused, why, and what to do.
func (c *criuOnly) refusals() (lines []string) {
	for _, u := range c.used {
		if u.refused() {
			lines = append(lines, fmt.Sprintf("%s: not supported: %s\n  hint: %s", &u, u.option.why,
				u.option.hint))
		}
	}
	return lines
}

// warnings names the options without effect.
func (c *criuOnly) warnings() (lines []string) {
	for _, u := range c.used {
		if !u.refused() {
			lines = append(lines, fmt.Sprintf("%s has no effect: %s", &u, u.option.why))
		}
	}
	return lines
}
