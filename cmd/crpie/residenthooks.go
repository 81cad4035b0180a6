package main

import (
	"errors"
	"strings"

	"github.com/spf13/pflag"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/exports"
	"github.com/crpie/crpie/internal/files"
	"github.com/crpie/crpie/internal/imagemem"
	"github.com/crpie/crpie/internal/resident"
)

// addResidentHooks adds the flag that has hooks run which the program carries itself.
func addResidentHooks(f *pflag.FlagSet, which *string) {
	f.Func("resident-hooks", "Run the hooks that the program or its libraries carry (criu_hooks) of `WHICH`: auto, the "+
		"default behind the flag, all there are; require, at least one; or those of the library of that SONAME.",
		func(value string) error {
			if value == "" {
				return errors.New("give auto, require or a SONAME")
			}
			*which = value
			return nil
		})
	f.Lookup("resident-hooks").NoOptDefVal = resident.Auto
}

// residentView is a hook that a task carries itself.
type residentView struct {
	File     string    `json:"file"`
	Hook     string    `json:"hook"`
	Priority int32     `json:"priority"`
	Address  blob.Addr `json:"address"`
	Function string    `json:"function,omitempty"`
}

// viewResident looks for resident hooks in files that are here and are those of the dump; others have none to show.
func viewResident(d *images.Dir, t *images.Task, mapped *exports.Files) (views []residentView, damaged []string) {
	space := imagemem.Space(d, t, mapped, files.OpenBelow("/"))
	found := (&resident.Process{Space: space, Read: imagemem.Reader(d, t, space)}).Find(resident.Auto)
	for _, f := range found.Files {
		name := strings.TrimPrefix(f.Name, resident.Prefix)
		for _, h := range f.Hooks {
			views = append(views, residentView{name, h.ID.String(), h.Priority, h.Fn, h.Symbol})
		}
	}
	for _, err := range found.Damaged {
		damaged = append(damaged, err.Error())
	}
	return views, damaged
}
