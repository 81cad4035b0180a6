package main

import (
	"errors"
	"fmt"
	"strings"

	"debug/elf"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/loader"
)

const pluginFlagHelp = "run the hooks of this `object[,key=value]...`; may be given several times (a comma in a value: \\,)"

// parsePlugin splits hook.o,key=value,... ; a backslash takes the next character as it is.
func parsePlugin(spec string) (path string, params []blob.Param, err error) {
	var fields []string
	var field strings.Builder
	for i := 0; i < len(spec); i++ {
		switch c := spec[i]; {
		case c == '\\' && i+1 < len(spec):
			i++
			field.WriteByte(spec[i])
		case c == ',':
			fields = append(fields, field.String())
			field.Reset()
		default:
			field.WriteByte(c)
		}
	}
	fields = append(fields, field.String())
	for _, f := range fields[1:] {
		key, value, _ := strings.Cut(f, "=")
		if key == "" {
			return "", nil, fmt.Errorf("--pie-plugin %s: parameter %q has no name; write key=value", spec, f)
		}
		params = append(params, blob.Param{Key: key, Value: value})
	}
	if fields[0] == "" {
		return "", nil, fmt.Errorf("--pie-plugin %q: give the object file first", spec)
	}
	return fields[0], params, nil
}

// loadPlugins loads what --pie-plugin named, for restoring on this machine. All problems of all plugins come together.
func loadPlugins(specs []string) ([]blob.Input, error) {
	var inputs []blob.Input
	var errs []error
	for _, spec := range specs {
		path, params, err := parsePlugin(spec)
		if err == nil {
			var p *loader.Plugin
			p, err = loadFile(path, loader.Options{Machine: elf.EM_X86_64})
			inputs = append(inputs, blob.Input{Plugin: p, Params: params})
		}
		errs = append(errs, err)
	}
	return inputs, errors.Join(errs...)
}
