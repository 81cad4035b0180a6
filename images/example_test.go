package images_test

import (
	"errors"
	"fmt"
	"testing/fstest"

	"github.com/hashicorp/go-multierror"

	"github.com/crpie/crpie/images"
)

// A directory is opened as a whole; everything that is wrong with it comes as one error.
func ExampleOpen() {
	_, err := images.Open(fstest.MapFS{"inventory.img": {Data: []byte("not an image")}})
	var (
		first *images.Error
		all   *multierror.Error
	)
	if errors.As(err, &first) && errors.As(err, &all) {
		fmt.Printf("%d problem, in %s: %v\n", len(all.WrappedErrors()), first.File, first.Cause)
	}
	// Output:
	// 1 problem, in inventory.img: magic 0x20746f6e is not a known image type
}
