package restorer

import (
	"errors"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/loader"
	"github.com/crpie/crpie/restorer/core"
)

// layBlob loads the restorer core and lays it out with the plugins. stub is the code of the zygote's ELF file.
func layBlob(plugins []blob.Input) (layout *blob.Layout, stub []byte, err error) {
	c, err := loader.Parse(core.Object, "core_amd64.o", loader.Options{Core: true})
	if err != nil {
		return nil, nil, err
	}
	s, err := loader.Parse(core.Stub, "stub_amd64.o", loader.Options{Core: true})
	if err != nil {
		return nil, nil, err
	}
	for _, section := range s.Sections {
		if section.Segment() == loader.Text && section.Size > 0 {
			stub = section.Data
		}
	}
	if stub == nil {
		return nil, nil, errors.New("stub_amd64.o has no code")
	}
	layout, err = blob.NewLayout(c, plugins)
	return layout, stub, err
}

// stages lists every stage at which something of the plugins runs.
func stages(plugins []blob.Input) []abi.Hook {
	var all []abi.Hook
	for _, in := range plugins {
		for _, h := range in.Plugin.Hooks {
			all = append(all, h.ID)
		}
		if in.Plugin.Init.Exists() {
			all = append(all, abi.TaskCreated)
		}
		if in.Plugin.Exit.Exists() {
			all = append(all, abi.PreSigreturn)
		}
	}
	return all
}
