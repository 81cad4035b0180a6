package report_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/stage"
)

// A program finds out which hook failed, however the error is wrapped.
func ExampleHookError() {
	err := fmt.Errorf("job 7: %w", &report.HookError{
		Plugin: "reseed", Hook: stage.PreSigreturn, Pid: 12, Tid: 12,
		Where: "seed+0x10", Cause: "returned -5 (EIO)", Errno: syscall.Errno(5),
	})
	var hook *report.HookError
	if errors.As(err, &hook) {
		fmt.Println(hook.Plugin, hook.Hook, hook.Pid)
	}
	fmt.Println(err)
	// Output:
	// reseed PIE_RST_PRE_SIGRETURN 12
	// job 7: restore task 12: plugin reseed, hook PIE_RST_PRE_SIGRETURN, thread 12: seed+0x10: returned -5 (EIO)
}

// Numbers from plugins have a text, whatever they are.
func TestLogLevels(t *testing.T) {
	for level, want := range map[report.LogLevel]string{
		report.LogOff: "off", report.LogError: "error", report.LogWarning: "warning", report.LogInfo: "info",
		report.LogDebug: "debug", 5: "level 5", 0xffffffff: "level 4294967295",
	} {
		if level.String() != want || level.Known() != (level <= report.LogDebug) {
			t.Errorf("level %d is %q, known %v", uint32(level), level, level.Known())
		}
	}
}
