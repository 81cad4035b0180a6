package swrk_test

import (
	"fmt"

	"github.com/crpie/crpie/swrk"
)

// A configuration file of criu has options for both: crpie restore skips those that are about runtimes.
func ExampleOnlyForRuntimes() {
	for _, option := range []string{"restore-with", "pie-timeout"} {
		fmt.Println(option, swrk.OnlyForRuntimes(option))
	}
	// Output:
	// restore-with true
	// pie-timeout false
}
