package report

import "fmt"

// LogLevel says how important a line is; the numbers are CRPIE_LOG_* of plugin-sdk/include/crpie/abi.h. As a
// limit it keeps the lines of its own level and of those before it: LogOff keeps none.
type LogLevel uint32

// The levels, the most important first.
const (
	LogOff LogLevel = iota
	LogError
	LogWarning
	LogInfo
	LogDebug
)

var levels = [...]string{"off", "error", "warning", "info", "debug"}

// Known reports whether l is LogOff or a level from LogError to LogDebug.
func (l LogLevel) Known() bool { return l <= LogDebug }

// String gives "off", "error", "warning", "info" or "debug", or "level N" for an unknown number.
func (l LogLevel) String() string {
	if !l.Known() {
		return fmt.Sprintf("level %d", uint32(l))
	}
	return levels[l]
}
