// Command outside uses crpie's packages as an importer does. Its arguments are the top of crpie's source
// tree and a directory that criu dump wrote.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/crpie/crpie/graft"
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/loader"
	"github.com/crpie/crpie/refusal"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/restorer"
	"github.com/crpie/crpie/stage"
)

var names = map[stage.Stage]string{stage.TaskCreated: "first", stage.PreSigreturn: "last"}

func main() {
	top := os.Args[1]
	object, err := os.ReadFile(filepath.Join(top, "loader/testdata/example.o"))
	check(err)
	plugin, err := loader.Parse(object, "example.o", loader.Options{})
	check(err)
	fmt.Println("hook", names[plugin.Hooks[0].ID], plugin.Hooks[0].ID)

	_, err = loader.Parse([]byte("text"), "text.o", loader.Options{})
	tell[loader.Violation]("loader", err)
	_, err = images.Open(os.DirFS(filepath.Join(top, "stage")))
	tell[*images.Error]("images", err)
	_, err = restorer.Prepare(&restorer.Options{Images: filepath.Join(top, "stage")})
	tell[*images.Error]("restorer", err)

	dump := os.Args[2]
	plan := restorer.PlanOptions{External: []string{"file[1:2]"}, Cgroups: restorer.CgroupsIgnore,
		LogLevel: report.LogInfo}
	_, err = restorer.Prepare(&restorer.Options{Images: dump, Plan: plan})
	tell[refusal.Problem]("restorer", err)
	dir, err := images.Open(os.DirFS(dump))
	check(err)
	_, err = graft.New(dir, &graft.Options{})
	tell[refusal.Problem]("graft", err)
	var refused *refusal.Refusal
	fmt.Println(errors.As(err, &refused), refused.Verb, refused.Problems[0].Where)

	wrong := restorer.PlanOptions{Cgroups: "gone", FileValidation: "crc", Readers: -2, LogLevel: 9,
		Inherit: []restorer.Inherited{{FD: -1}}}
	_, err = restorer.Prepare(&restorer.Options{Images: dump, Plan: wrong,
		Run: restorer.RunOptions{HookTimeout: -time.Second, Timeout: -1}})
	fmt.Println(err)
	_, err = graft.New(dir, &graft.Options{DumpTime: time.Now(), HookTimeout: -time.Second,
		LogLevel: report.LogDebug + 1})
	fmt.Println(err)
}

// tell looks for a member of a type in the report of a package.
func tell[member error](from string, err error) {
	var (
		one member
		all *multierror.Error
	)
	fmt.Printf("%s: %v %v, %T\n", from, errors.As(err, &one), errors.As(err, &all), one)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
