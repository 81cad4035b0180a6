// Package pluginspec reads what --pie-plugin and its like in configuration files say, and loads the objects that
// they name.
package pluginspec

import (
	"debug/elf"
	"fmt"
	"slices"
	"strings"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/clones"
	"github.com/crpie/crpie/internal/files"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/trust"
	"github.com/crpie/crpie/loader"
)

// selectKey is the one parameter that is crpie's and not the plugin's.
const selectKey = "select"

// Parse reads hook.o,key=value,... ; the plugin itself is yet to be loaded.
func Parse(spec string) (path string, in blob.Input, err error) {
	fields := splitFields(spec)
	for _, f := range fields[1:] {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "":
			return "", in, fmt.Errorf("--pie-plugin %s: a parameter has no name; write key=value",
				WithoutValues(spec))
		case selectKey:
			s, err := blob.ParseSelector(value)
			if err != nil {
				return "", in, fmt.Errorf("--pie-plugin %s: %w", WithoutValues(spec), err)
			}
			in.Tasks = append(in.Tasks, s)
		default:
			in.Params = append(in.Params, blob.Param{Key: key, Value: value})
		}
	}
	if fields[0] == "" {
		return "", in, fmt.Errorf("--pie-plugin %q: give the object file first", WithoutValues(spec))
	}
	return fields[0], in, nil
}

// WithoutDescriptors refuses @fd:N where crpie is handed no descriptors: runtimes start it with their own.
func WithoutDescriptors(in blob.Input) error {
	var problems []error
	for _, kv := range in.Params {
		if strings.HasPrefix(kv.Value, "@fd:") {
			problems = append(problems, fmt.Errorf("parameter %s=%s: a runtime starts crpie with descriptors of its own: give @FILE or @env:NAME",
				kv.Key, kv.Value))
		}
	}
	return several.Join(problems...)
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

// WithoutValues leaves the names of a plugin's parameters: the values may be secrets.
func WithoutValues(spec string) string {
	fields := splitFields(spec)
	for i, f := range fields[1:] {
		if key, _, found := strings.Cut(f, "="); found && key != selectKey {
			fields[i+1] = key + "=..."
		}
	}
	return strings.Join(fields, ",")
}

// Load loads what --pie-plugin named, for restoring on this machine, if the rule accepts it. All problems of all
// plugins come together.
func Load(specs []string, rule trust.Rule) ([]blob.Input, error) {
	s := set{specs: specs, rule: rule}
	return s.load(func(value string) string { return value })
}

// LoadClones loads them for clones 1 to n. In a value %n is the clone's number, clones.Numbered; what files and
// descriptors hold is taken as it is. An error is of the first clone that has one.
func LoadClones(specs []string, n int, rule trust.Rule) (all [][]blob.Input, err error) {
	s := set{specs: specs, rule: rule}
	numbered := slices.ContainsFunc(specs, func(spec string) bool { return strings.Contains(spec, "%") })
	for k := 1; k <= n; k++ {
		if k > 1 && !numbered {
			all = append(all, all[0])
			continue
		}
		inputs, err := s.load(func(value string) string { return clones.Numbered(value, k) })
		if err != nil {
			return nil, ofClone(k, numbered, err)
		}
		all = append(all, inputs)
	}
	return all, nil
}

// ofClone says which clone's an error is, if it may be of that one alone.
func ofClone(k int, numbered bool, err error) error {
	if !numbered {
		return err
	}
	return fmt.Errorf("clone %d: %w", k, err)
}

// set is what --pie-plugin named, whose objects and descriptors are read once.
type set struct {
	specs   []string
	rule    trust.Rule
	plugins map[int]*loader.Plugin // by their place in specs
	values  values
}

// load takes each value that was given through a function.
func (s *set) load(value func(string) string) ([]blob.Input, error) {
	var inputs []blob.Input
	var errs []error
	for at, spec := range s.specs {
		path, in, err := Parse(spec)
		if err == nil {
			for i := range in.Params {
				in.Params[i].Value = value(in.Params[i].Value)
			}
			in.Plugin, err = s.plugin(at, path)
			if err == nil {
				err = s.values.check(&in)
			}
			inputs = append(inputs, in)
		}
		errs = append(errs, err)
	}
	return inputs, several.Join(errs...)
}

// plugin loads an object the first time that it is asked for.
func (s *set) plugin(at int, path string) (p *loader.Plugin, err error) {
	if s.plugins[at] != nil {
		return s.plugins[at], nil
	}
	if p, err = loadFile(path, s.rule); err != nil {
		return nil, err
	}
	if s.plugins == nil {
		s.plugins = map[int]*loader.Plugin{}
	}
	s.plugins[at] = p
	return p, nil
}

// Object loads the object of a specification and no value: descriptors can be read only once.
func Object(spec string, rule trust.Rule) (*loader.Plugin, error) {
	path, _, err := Parse(spec)
	if err != nil {
		return nil, err
	}
	return loadFile(path, rule)
}

// Check says everything that is wrong with the parameters of a plugin that is loaded.
func Check(in blob.Input) error {
	var v values
	return v.check(&in)
}

// loadFile checks and reads what it has opened, once: nothing can take its place in between.
func loadFile(name string, rule trust.Rule) (*loader.Plugin, error) {
	f, info, err := files.OpenRegular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := rule.CheckNamed(name, info); err != nil {
		return nil, err
	}
	return loader.Load(f, info.Size(), name, loader.Options{Machine: elf.EM_X86_64})
}
