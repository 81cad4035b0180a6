// Package pause has what a restore and inject have in common where a hook waits for a debugger: where it waits, what
// gdb has to be told, and how it goes on.
//
// What lives here: values. What never does: gdb's protocol, and processes. It works on every system; tasks wait on Linux
// on x86-64.
package pause

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/stage"
)

// Point is where tasks wait: before hooks of a stage.
type Point struct {
	Stage  stage.Stage
	Plugin string // as blob.Labels names it; empty: every plugin's
}

// Parse reads STAGE or STAGE:PLUGIN; a stage is PRE_SIGRETURN, pre-sigreturn or the whole name.
func Parse(text string) (Point, error) {
	name, plugin, _ := strings.Cut(text, ":")
	s, err := stage.ParseShort(name)
	return Point{s, plugin}, err
}

// Check reports a point at which no plugin has a hook.
func (p Point) Check(plugins []blob.Input) error {
	labels := blob.Labels(plugins)
	for i, label := range labels {
		for _, h := range plugins[i].Plugin.Hooks {
			if h.ID == p.Stage && (p.Plugin == "" || p.Plugin == label) {
				return nil
			}
		}
	}
	whose := "no plugin"
	if p.Plugin != "" {
		whose = fmt.Sprintf("plugin %q (there are: %s)", p.Plugin, strings.Join(labels, ", "))
	}
	return fmt.Errorf("pause at %s: there is no hook of %s", p.Stage, whose)
}

// Index gives the index of the plugin that is meant, or EveryPlugin.
func (p Point) Index(plugins []blob.Input) uint32 {
	for i, label := range blob.Labels(plugins) {
		if label == p.Plugin {
			return uint32(i)
		}
	}
	return EveryPlugin
}

// EveryPlugin is the index that no plugin has.
const EveryPlugin = abi.MaxPlugins

// Options ask for a pause.
type Options struct {
	At Point
	// Announce is called when a hook waits, and over when it has returned; may be nil.
	Announce func(*Waiting) (over func())
	GoOn     <-chan struct{} // each value lets a hook go on without a debugger, or away from it; may be nil
}

// Tell announces a task that waits; over has to be called when it does no more.
func (o *Options) Tell(w *Waiting) (over func()) {
	if o.Announce == nil {
		return func() {}
	}
	return o.Announce(w)
}

// Waiting is a task that waits for gdb, or to be let go on.
type Waiting struct {
	Pid, Tid int // for ptrace(2)
	Stage    stage.Stage
	Plugin   string
	GDB      []string // the command
}

// Command gives gdb's command line: objects with every section that is in memory, and the socket. Sections that are
// not named gdb would take to be at 0. The files under the sysroot are the debugged process's: gdb must not run the
// scripts and load the libraries that lie beside them.
func Command(image *blob.Image, plugins []blob.Input, pid int, socket string) []string {
	words := []string{"gdb", "-iex", "set confirm off", "-iex", "set architecture i386:x86-64",
		"-iex", "set auto-load off", "-iex", fmt.Sprintf("set sysroot /proc/%d/root", pid)}
	for i := range plugins {
		words = append(words, "-ex", addSymbols(image, i, plugins[i].Plugin.File))
	}
	return append(words, "-ex", "target remote "+socket)
}

// addSymbols is gdb's command add-symbol-file.
func addSymbols(image *blob.Image, plugin int, file string) string {
	if path, err := filepath.Abs(file); err == nil {
		file = path
	}
	var b strings.Builder
	fmt.Fprintf(&b, "add-symbol-file %s", quoted(file))
	for _, s := range image.PluginSections(plugin) {
		fmt.Fprintf(&b, " -s %s %#x", quoted(s.Name), uint64(s.Addr))
	}
	return b.String()
}

// quoted writes a word as gdb reads it: with quotes, and a backslash before each that is in it.
func quoted(word string) string {
	if !strings.ContainsAny(word, " \t\"'\\$") {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}
