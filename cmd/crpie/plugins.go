package main

import (
	"fmt"
	"strings"

	"debug/elf"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/loader"
)

const (
	pluginFlagHelp = "Run the hooks of `FILE.o[,KEY=VALUE]...` with these parameters; may be given several times. A comma in a value " +
		"is written \\,. select=root, select=pid:N or select=comm:NAME: only in such tasks."
	timeoutFlagHelp = "One call of a hook may take `TIME` at most; 0 is no limit."
)

// selectKey is the one parameter that is crpie's and not the plugin's.
const selectKey = "select"

// parsePlugin reads hook.o,key=value,... ; the plugin itself is yet to be loaded.
func parsePlugin(spec string) (path string, in blob.Input, err error) {
	fields := splitFields(spec)
	for _, f := range fields[1:] {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "":
			return "", in, fmt.Errorf("--pie-plugin %s: a parameter has no name; write key=value", withoutValues(spec))
		case selectKey:
			s, err := blob.ParseSelector(value)
			if err != nil {
				return "", in, fmt.Errorf("--pie-plugin %s: %w", withoutValues(spec), err)
			}
			in.Tasks = append(in.Tasks, s)
		default:
			in.Params = append(in.Params, blob.Param{Key: key, Value: value})
		}
	}
	if fields[0] == "" {
		return "", in, fmt.Errorf("--pie-plugin %q: give the object file first", withoutValues(spec))
	}
	return fields[0], in, nil
}

// splitFields splits at commas; a backslash takes the next character as it is.
func splitFields(spec string) (fields []string) {
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
	return append(fields, field.String())
}

// withoutValues leaves the names of a plugin's parameters: the values may be secrets.
func withoutValues(spec string) string {
	fields := splitFields(spec)
	for i, f := range fields[1:] {
		if key, _, found := strings.Cut(f, "="); found && key != selectKey {
			fields[i+1] = key + "=..."
		}
	}
	return strings.Join(fields, ",")
}

// loadPlugins loads what --pie-plugin named, for restoring on this machine. All problems of all plugins come together.
func loadPlugins(specs []string) ([]blob.Input, error) {
	var inputs []blob.Input
	var errs []error
	for _, spec := range specs {
		path, in, err := parsePlugin(spec)
		if err == nil {
			in.Plugin, err = loadFile(path, loader.Options{Machine: elf.EM_X86_64})
			if err == nil {
				err = in.CheckParams()
			}
			inputs = append(inputs, in)
		}
		errs = append(errs, err)
	}
	return inputs, several.Join(errs...)
}
