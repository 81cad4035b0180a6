package pause_test

import (
	"fmt"

	"github.com/crpie/crpie/pause"
)

// What --pie-pause takes.
func ExampleParse() {
	at, err := pause.Parse("pre-sigreturn:hello")
	fmt.Println(at.Stage, at.Plugin, err)
	// Output: PIE_RST_PRE_SIGRETURN hello <nil>
}
