package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/crpie/crpie/internal/pattern"
	"github.com/crpie/crpie/report"
)

// verbosity is a level, as criu(8) counts: each -v is one more than the default.
type verbosity int

// Levels.
const (
	defaultLevel = verbosity(report.LogWarning)
	maxLevel     = verbosity(report.LogDebug)
)

func (v *verbosity) String() string { return strconv.Itoa(int(*v)) }
func (v *verbosity) Type() string   { return "level" }

// Set reads the number of -v N; the + comes from a v without one.
func (v *verbosity) Set(s string) error {
	if s == "+" {
		*v++
		return nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return fmt.Errorf("%q is not a level from 0 to %d", s, maxLevel)
	}
	*v = verbosity(n)
	return nil
}

func (v *verbosity) level() report.LogLevel { return report.LogLevel(min(*v, maxLevel)) }

// addVerbosity adds -v.
func addVerbosity(f *pflag.FlagSet, v *verbosity) { addVerbosityFrom(f, v, defaultLevel) }

// addVerbosityFrom adds -v with another default.
func addVerbosityFrom(f *pflag.FlagSet, v *verbosity, level verbosity) {
	*v = level
	names := []string{"0 nothing", "1 errors", "2 warnings", "3 information", "4 everything"}
	names[level] += " (default)"
	f.VarP(v, "verbosity", "v", "Log up to `LEVEL`: "+strings.Join(names, ", ")+
		". Also -v4; each -v is one more than the default.")
	f.Lookup("verbosity").NoOptDefVal = "+"
}

// attached matches -v4 and -x12, also behind letters that take no argument: what follows one that does is its argument.
var attached = pattern.Pattern(`^-([dhjlRsSVx]*)([vx])([0-9][0-9,]*)$`)

// spellLevels writes the options that may have an argument out, -v4 as --verbosity=4: pflag would read it as -v -4.
func spellLevels(args []string) (spelled []string) {
	for i, a := range args {
		var m []string
		if strings.HasPrefix(a, "-") && strings.ContainsAny(a, "0123456789") { // few are, and a pattern is dear
			m = attached.FindStringSubmatch(a)
		}
		switch {
		case a == "--":
			return append(spelled, args[i:]...)
		case m == nil:
			spelled = append(spelled, a)
			continue
		case m[1] != "":
			spelled = append(spelled, "-"+m[1])
		}
		spelled = append(spelled, map[string]string{"v": "--verbosity=", "x": "--ext-unix-sk="}[m[2]]+m[3])
	}
	return spelled
}
