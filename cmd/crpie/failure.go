//go:build linux && amd64

package main

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/ended"
	"github.com/crpie/crpie/restorer"
)

// jsonFailure is the document of crpie restore --format json; schema_version changes when a member changes its
// meaning or goes.
type jsonFailure struct {
	SchemaVersion int `json:"schema_version"`
	ExitStatus    int `json:"exit_status"`
	restorer.Failure
	Signal string `json:"signal,omitempty"` // that ended the restore
}

// Kinds of failures that a library does not have.
const (
	kindUsage  = "usage"  // wrong arguments or configuration
	kindSignal = "signal" // crpie was told to end
)

// fail reports a failed restore in the format of --format, and returns the exit status.
func (r *restoreFlags) fail(std streams, err error) int {
	status := ended.Status(err, exitFailed)
	if r.format != "json" {
		complain(std, err)
		return status
	}
	doc := jsonFailure{SchemaVersion: 1, ExitStatus: status, Failure: restorer.Describe(err)}
	var by ended.By
	if errors.As(err, &by) {
		doc.Kind, doc.Signal = kindSignal, unix.SignalName(by.Signal)
	}
	return doc.write(std)
}

// misuse reports problems of the arguments.
func (r *restoreFlags) misuse(std streams, text string) int {
	if r.format != "json" {
		return misuse(std, restoreUsage, "%s", text)
	}
	doc := jsonFailure{SchemaVersion: 1, ExitStatus: exitUsage,
		Failure: restorer.Failure{Kind: kindUsage, Message: text}}
	return doc.write(std)
}

func (d *jsonFailure) write(std streams) int {
	if err := writeJSON(std.out, d); err != nil {
		fmt.Fprintf(std.err, "crpie: %s\ncrpie: %v\n", d.Message, err)
	}
	return d.ExitStatus
}
