//go:build amd64

package restorer_test

import (
	"context"
	"fmt"

	"github.com/crpie/crpie/restorer"
)

// A restore is planned and looked at before a process exists; Describe tells programs why one failed.
func ExamplePrepare() {
	restore := func(dir string) error {
		prepared, err := restorer.Prepare(&restorer.Options{Images: dir})
		if err != nil {
			return err
		}
		defer prepared.Close()
		_, err = prepared.Run(context.Background())
		return err
	}
	if err := restore("core"); err != nil {
		failure := restorer.Describe(err)
		fmt.Println(failure.Kind, failure.Message)
	}
	// Output:
	// images images inventory.img: the image is missing
}
