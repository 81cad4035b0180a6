//go:build linux && amd64

package inject

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/stage"
)

// hookTable is the hook table of an image: hooks in the order in which they run.
type hookTable struct {
	plugins []abi.TablePlugin
	hooks   []abi.TableHook
}

// tableOf reads the table at an address. bytes gives memory from an address on.
func tableOf(bytes func(at blob.Addr, n uint64) []byte, from blob.Addr) hookTable {
	word := func(at uint64) uint64 { return binary.LittleEndian.Uint64(bytes(blob.Addr(at), 8)) }
	half := func(at uint64) uint32 { return binary.LittleEndian.Uint32(bytes(blob.Addr(at), 4)) }
	var t hookTable
	table := uint64(from)
	at := word(table + abi.TablePluginsOff)
	for range word(table + abi.TableNrPluginsOff) {
		t.plugins = append(t.plugins, abi.TablePlugin{
			Name: word(at + abi.TablePluginNameOff), Params: word(at + abi.TablePluginParamsOff),
			NrParams: word(at + abi.TablePluginNrParamsOff), Init: word(at + abi.TablePluginInitOff),
			Exit: word(at + abi.TablePluginExitOff),
		})
		at += abi.TablePluginSize
	}
	at = word(table + abi.TableHooksOff)
	for range word(table + abi.TableNrHooksOff) {
		t.hooks = append(t.hooks, abi.TableHook{
			Hook: half(at + abi.TableHookHookOff), Plugin: half(at + abi.TableHookPluginOff),
			Fn: word(at + abi.TableHookFnOff),
		})
		at += abi.TableHookSize
	}
	return t
}

// functionCall is a call into a plugin that is to be made in a thread.
type functionCall struct {
	stage  stage.Stage
	plugin int
	fn     uint64
	thread int // index
}

// schedule is what runs in one process.
type schedule struct {
	table   hookTable
	threads int
	stages  []stage.Stage         // empty: those of a restore
	runs    func(plugin int) bool // those that may run in this process
}

// run makes the calls of a restore in its order, until one fails. enter gives what the function returned.
func (s *schedule) run(enter func(functionCall) (int32, error)) error {
	out := make([]bool, len(s.table.plugins)) // they sit out
	for i := range out {
		out[i] = !s.runs(i)
	}
	for i, p := range s.table.plugins {
		if p.Init == 0 || out[i] {
			continue
		}
		result, err := enter(functionCall{stage.Init, i, p.Init, 0})
		if err != nil {
			return err
		}
		out[i] = result == -int32(unix.ENOTSUP)
	}
	for _, at := range s.order() {
		if err := s.runStage(at, out, enter); err != nil {
			return err
		}
	}
	for i, p := range s.table.plugins {
		if p.Exit == 0 || out[i] {
			continue
		}
		if _, err := enter(functionCall{stage.Exit, i, p.Exit, 0}); err != nil {
			return err
		}
	}
	return nil
}

// order lists the stages whose hooks run: the chosen ones, or those of a restore.
func (s *schedule) order() (order []stage.Stage) {
	for _, at := range append(stage.All(), stage.Dump()...) {
		if chosen(s.stages, at) {
			order = append(order, at)
		}
	}
	return order
}

// chosen reports whether the hooks of a stage run. Those around a dump only do if they are asked for.
func chosen(stages []stage.Stage, at stage.Stage) bool {
	return slices.Contains(stages, at) || len(stages) == 0 && !at.OfDump()
}

// runStage runs the hooks of a stage in their order, for the stage of threads once in each thread; plugins that are out
// are left out.
func (s *schedule) runStage(at stage.Stage, out []bool, enter func(functionCall) (int32, error)) error {
	threads := 1
	if at == stage.PreSigreturnThread {
		threads = s.threads
	}
	for thread := range threads {
		for _, h := range s.table.hooks {
			if stage.Stage(h.Hook) != at || out[h.Plugin] {
				continue
			}
			if _, err := enter(functionCall{at, int(h.Plugin), h.Fn, thread}); err != nil {
				return err
			}
		}
	}
	return nil
}

// early reports whether a restore has not completed the process when it gets to a stage.
func early(at stage.Stage) bool { return at < stage.PreSigreturnThread && at.Known() }

// failed reports whether the result of a call ends a restore.
func failed(at stage.Stage, result int32) bool {
	return at != stage.Exit && result != 0 && result != -int32(unix.ENOTSUP)
}
