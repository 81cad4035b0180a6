package main

import (
	"fmt"
	"regexp"
	"strconv"
)

// verbosity counts -v, and takes a level.
type verbosity int

func (v *verbosity) String() string { return strconv.Itoa(int(*v)) }
func (v *verbosity) Type() string   { return "level" }
func (v *verbosity) Set(s string) error {
	if s == "+" {
		*v++
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 4 {
		return fmt.Errorf("%q is not a level from 0 to 4", s)
	}
	*v = verbosity(n)
	return nil
}

var shortLevel = regexp.MustCompile(`^-v([0-4])$`)

// level is what the flags ask for: nothing given means warnings, as in criu.
func (v *verbosity) level(given bool) uint32 {
	if !given {
		return 2
	}
	return uint32(*v)
}

// printable makes text from images or plugins safe to print.
func printable(s string) string {
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

// spellLevels writes -v4 out as --verbosity=4: pflag would read it as -v -4.
func spellLevels(args []string) []string {
	spelled := make([]string, len(args))
	for i, a := range args {
		spelled[i] = shortLevel.ReplaceAllString(a, "--verbosity=$1")
	}
	return spelled
}
