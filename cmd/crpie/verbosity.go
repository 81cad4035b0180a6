package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

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

// attached splits -v4 and -x12, also behind letters that take no argument: what follows one that does is its argument.
func attached(arg string) (letters, option, argument string, ok bool) {
	options := strings.TrimRight(arg, digits+",")
	argument = arg[len(options):]
	if len(options) < 2 || options[0] != '-' || argument == "" || argument[0] == ',' {
		return "", "", "", false
	}
	letters, option = options[1:len(options)-1], options[len(options)-1:]
	return letters, option, argument, consists(letters, "dhjlRsSVx") && consists(option, "vx")
}

const digits = "0123456789"

// consists reports whether s has no other characters.
func consists(s, characters string) bool { return strings.Trim(s, characters) == "" }

// spellLevels writes the options that may have an argument out, -v4 as --verbosity=4: pflag would read it as -v -4.
func spellLevels(args []string) (spelled []string) {
	for i, a := range args {
		letters, option, argument, ok := attached(a)
		switch {
		case a == "--":
			return append(spelled, args[i:]...)
		case !ok:
			spelled = append(spelled, a)
			continue
		case letters != "":
			spelled = append(spelled, "-"+letters)
		}
		long := map[string]string{"v": "--verbosity=", "x": "--ext-unix-sk="}[option]
		spelled = append(spelled, long+argument)
	}
	return spelled
}
