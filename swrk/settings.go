package swrk

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crpie/crpie/internal/criuconf"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/pluginspec"
	"github.com/crpie/crpie/internal/resident"
	"github.com/crpie/crpie/internal/trust"
)

// Way is how a container is restored.
type Way string

// The ways, values of restore-with.
const (
	Auto   Way = "auto"  // where plugins are configured as crpie or else graft, without any as criu
	Native Way = "crpie" // by crpie's own restorer
	Graft  Way = "graft" // by criu, from images onto which the plugins have been grafted
	CRIU   Way = "criu"  // by criu, untouched
)

// Settings say how containers are restored, and by whom.
type Settings struct {
	Way          Way
	RealCRIU     string   // path of the criu that does everything else
	Plugins      []string // as for --pie-plugin
	Tasks        []string // as for --task of crpie graft
	HookTimeout  time.Duration
	AllowSeccomp bool
	AllowSkipped bool
	// AllowUntrusted takes plugins, and files of criu that name them, from anybody.
	AllowUntrusted bool
	Resident       string // as for --resident-hooks; empty: none
	// KeepVgetrandom and KeepWipeOnFork bring random state back as it was dumped.
	KeepVgetrandom, KeepWipeOnFork bool
}

// trust says whose plugins and files are taken.
func (s *Settings) trust() trust.Rule {
	return trust.Rule{Untrusted: s.AllowUntrusted, Option: "pie-allow-untrusted in a file of containers.d"}
}

// hooks reports whether any are to run.
func (s *Settings) hooks() bool { return len(s.Plugins) > 0 || s.Resident != "" }

// defaults are what holds when nothing is configured.
func defaults() Settings { return Settings{Way: Auto, HookTimeout: 10 * time.Second} }

// option is a line of a configuration file that is crpie's.
type option struct {
	name string
	set  func(s *Settings, value string) error
}

// options are the lines that are taken out before criu sees a file. Lists grow, of others the last one holds.
func options() []option {
	return []option{
		{"pie-plugin", func(s *Settings, v string) error {
			_, in, err := pluginspec.Parse(v)
			if err == nil {
				err = pluginspec.WithoutDescriptors(in)
			}
			s.Plugins = append(s.Plugins, v)
			return err
		}},
		{"pie-timeout", func(s *Settings, v string) (err error) {
			if s.HookTimeout, err = time.ParseDuration(v); err != nil || s.HookTimeout < 0 {
				err = fmt.Errorf("%s: want a time such as 500ms or 10s", escape.Name(v))
			}
			return err
		}},
		{"pie-task", func(s *Settings, v string) error {
			s.Tasks = append(s.Tasks, v)
			return nil
		}},
		{"pie-resident-hooks", func(s *Settings, v string) error {
			s.Resident = v
			return nil
		}},
		{"pie-allow-seccomp", flag(func(s *Settings) *bool { return &s.AllowSeccomp })},
		{"pie-allow-skipped-stages", flag(func(s *Settings) *bool { return &s.AllowSkipped })},
		{"pie-allow-untrusted", flag(func(s *Settings) *bool { return &s.AllowUntrusted })},
		{"pie-keep-vgetrandom", flag(func(s *Settings) *bool { return &s.KeepVgetrandom })},
		{"pie-keep-wipeonfork", flag(func(s *Settings) *bool { return &s.KeepWipeOnFork })},
		{"restore-with", func(s *Settings, v string) error {
			if s.Way = Way(v); !slices.Contains([]Way{Auto, Native, Graft, CRIU}, s.Way) {
				return fmt.Errorf("%s: want auto, crpie, graft or criu", escape.Name(v))
			}
			return nil
		}},
		{"real-criu", func(s *Settings, v string) error {
			if s.RealCRIU = v; !strings.HasPrefix(v, "/") {
				return fmt.Errorf("%s: want an absolute path", escape.Name(v))
			}
			return nil
		}},
	}
}

// OnlyForRuntimes reports whether an option of criu's configuration files is about what runtimes restore, and not
// for crpie restore.
func OnlyForRuntimes(name string) bool {
	return name != "pie-plugin" && name != "pie-timeout" && slices.ContainsFunc(options(),
		func(o option) bool { return o.name == name })
}

// flag sets a setting that is there or not.
func flag(of func(*Settings) *bool) func(*Settings, string) error {
	return func(s *Settings, v string) (err error) {
		if *of(s), err = strconv.ParseBool(v); err != nil {
			err = fmt.Errorf("%s: want true, false, or nothing", escape.Name(v))
		}
		return err
	}
}

// ours finds the option of a statement, nil if it is not crpie's.
func ours(st *criuconf.Statement) *option {
	name, _, _ := st.Option()
	for _, o := range options() {
		if o.name == name {
			return &o
		}
	}
	return nil
}

// prefix is what the names of crpie's options begin with, those apart that are about all of a restore.
const prefix = "pie-"

// apply takes in a statement that is crpie's.
func (s *Settings) apply(o *option, st *criuconf.Statement) error {
	_, value, given := st.Option()
	if !given {
		value = ""
		switch {
		case strings.HasPrefix(o.name, "pie-allow"), strings.HasPrefix(o.name, "pie-keep"):
			value = "true"
		case o.name == "pie-resident-hooks":
			value = resident.Auto
		}
	}
	if value == "" {
		return fmt.Errorf("%s: %s: give a value", st.Source, o.name)
	}
	if rest := len(st.Words) - 1; rest > 1 || rest == 1 && strings.Contains(st.Words[0], "=") {
		return fmt.Errorf("%s: %s: unexpected %q; put values with spaces in double quotes", st.Source, o.name,
			st.Words[rest])
	}
	if err := o.set(s, value); err != nil {
		return fmt.Errorf("%s: %s: %w", st.Source, o.name, err)
	}
	return nil
}

// unknown is the error of a statement that can only be meant for crpie.
func unknown(st *criuconf.Statement) error {
	name, _, _ := st.Option()
	var names []string
	for _, o := range options() {
		names = append(names, o.name)
	}
	return fmt.Errorf("%s: unknown option %s; there are %s", st.Source, escape.Name(name),
		strings.Join(names, ", "))
}
