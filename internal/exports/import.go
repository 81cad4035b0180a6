package exports

import (
	"errors"
	"fmt"
)

// Import finds a symbol that a plugin declares. Of an optional one that the process does not have the address is 0, and
// absent says why.
func (s *Space) Import(library, symbol, version string, required bool) (addr uint64, absent *Absent, err error) {
	addr, err = s.Find(library, symbol, version)
	if !required && errors.As(err, &absent) {
		return 0, absent, nil
	}
	return addr, nil, err
}

// NullNote tells that a plugin goes without an optional import.
func NullNote(plugin string, in fmt.Stringer, why *Absent) string {
	return fmt.Sprintf("plugin %s: optional import %s is NULL: %v", plugin, in, why)
}

// Advice says what helps if a required symbol has no address; empty: it is not that the process has none.
func Advice(err error) string {
	if absent := new(Absent); errors.As(err, &absent) {
		return "choose the plugin's tasks with select=, or have it declare the import CRPIE_OPTIONAL"
	}
	return ""
}
