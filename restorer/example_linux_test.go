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

// Several restores of one checkpoint run beside each other, each in a pid namespace of its own.
func ExampleCheckpoint_Prepare() {
	clone := func(dir string, times int) error {
		checkpoint, err := restorer.Open(dir)
		if err != nil {
			return err
		}
		defer checkpoint.Close()
		for range times {
			prepared, err := checkpoint.Prepare(&restorer.Options{
				Plan: restorer.PlanOptions{Detached: true, Clones: &restorer.Clones{}},
			})
			if err != nil {
				return err
			}
			pid, err := prepared.Run(context.Background())
			prepared.Close()
			if err != nil {
				return err
			}
			fmt.Println("restored as process", pid)
		}
		return nil
	}
	if err := clone("core", 3); err != nil {
		fmt.Println(err)
	}
	// Output:
	// images inventory.img: the image is missing
}
