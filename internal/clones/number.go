package clones

import (
	"strconv"
	"strings"
)

// Numbered puts a clone's number in the place of each %n; %% is a %. Any other % stays.
func Numbered(text string, number int) string {
	return strings.NewReplacer("%%", "%", "%n", strconv.Itoa(number)).Replace(text)
}

// HasNumber reports whether Numbered gives each clone another text.
func HasNumber(text string) bool { return Numbered(text, 1) != Numbered(text, 2) }
