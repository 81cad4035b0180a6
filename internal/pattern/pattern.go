// Package pattern has regular expressions that are compiled when they are used: a variable of package regexp would
// cost every start of crpie its time, and few starts match anything.
package pattern

import "regexp"

// Pattern is a regular expression as package regexp understands it.
type Pattern string

// MatchString reports whether there is a match in s.
func (p Pattern) MatchString(s string) bool { return regexp.MustCompile(string(p)).MatchString(s) }

// FindStringSubmatch returns the first match in s and what its groups matched, nil if there is none.
func (p Pattern) FindStringSubmatch(s string) []string {
	return regexp.MustCompile(string(p)).FindStringSubmatch(s)
}

// FindString returns the first match in s, "" if there is none.
func (p Pattern) FindString(s string) string { return regexp.MustCompile(string(p)).FindString(s) }
