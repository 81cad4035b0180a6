package planner

import (
	"errors"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/loader"
	"github.com/crpie/crpie/restorer/core"
	"github.com/crpie/crpie/restorer/internal/namespaces"
	"github.com/crpie/crpie/stage"
)

// LayBlob loads the restorer core and lays it out with the plugins. It also gives the code of the zygote's ELF file.
func LayBlob(plugins []blob.Input) (layout *blob.Layout, stub []byte, err error) {
	c, err := loader.Parse(core.Object, "core_amd64.o", loader.Options{Core: true})
	if err != nil {
		return nil, nil, err
	}
	if stub, err = codeOf(core.Stub, "stub_amd64.o"); err != nil {
		return nil, nil, err
	}
	layout, err = blob.NewLayout(c, plugins)
	return layout, stub, err
}

// FirstProcess gives the code of a pid namespace's first process, nil if the tasks need none.
func FirstProcess(own *namespaces.Plan) ([]byte, error) {
	if !own.First {
		return nil, nil
	}
	return codeOf(core.Init, "init_amd64.o")
}

// codeOf takes the code out of an object that has nothing else.
func codeOf(object []byte, name string) ([]byte, error) {
	o, err := loader.Parse(object, name, loader.Options{Core: true})
	if err != nil {
		return nil, err
	}
	for _, section := range o.Sections {
		if section.Segment() == loader.Text && section.Size > 0 {
			return section.Data, nil
		}
	}
	return nil, errors.New(name + " has no code")
}

// Hooked says at which stages and in which tasks something of one plugin runs.
type Hooked struct {
	Name   string
	Stages []stage.Stage
	Tasks  []blob.Selector // empty: every task

	Imports []loader.Import
}

// HooksOf lists the plugins in their order.
func HooksOf(plugins []blob.Input) []Hooked {
	var all []Hooked
	for i, label := range blob.Labels(plugins) {
		in := plugins[i]
		h := Hooked{Name: label, Tasks: in.Tasks, Imports: in.Plugin.Imports}
		for _, hook := range in.Plugin.Hooks {
			h.Stages = append(h.Stages, hook.ID)
		}
		if in.Plugin.Init.Exists() {
			h.Stages = append(h.Stages, stage.TaskCreated)
		}
		if in.Plugin.Exit.Exists() {
			h.Stages = append(h.Stages, stage.PreSigreturn)
		}
		all = append(all, h)
	}
	return all
}

// lateCalls counts the calls into plugins that come after the change of privileges: of one thread, and of the task's
// last.
func lateCalls(hooked []Hooked) (n int) {
	for _, h := range hooked {
		for _, at := range h.Stages {
			if at >= stage.PreSigreturnThread {
				n++
			}
		}
	}
	return n
}
