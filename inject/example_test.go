//go:build linux && amd64

package inject_test

import (
	"fmt"

	"github.com/crpie/crpie/inject"
)

// A moment is what --at takes.
func ExampleParseMoment() {
	at, err := inject.ParseMoment("signal:usr1")
	fmt.Println(at, err)
	_, err = inject.ParseMoment("signal:KILL")
	fmt.Println(err)
	// Output:
	// signal:SIGUSR1 <nil>
	// signal:KILL: no process can be stopped before SIGKILL, signal(7)
}
