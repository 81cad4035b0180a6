//go:build amd64

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/crpie/crpie/restorer"
)

// What restore and try say of flags that both have.
const (
	diffFlagHelp  = "Report what the hooks change: memory, descriptors, mappings and more."
	traceFlagHelp = "Report the system calls that the hooks make."
)

// watches reports whether the calls into plugins are noted.
func (r *restoreFlags) watches() bool { return r.diff || r.trace }

// reportCalls writes what the hooks did. A report that cannot be written does not end the restored processes.
func (a *attempt) reportCalls(prepared *restorer.Prepared, failure error) {
	if !a.watches() {
		return
	}
	if err := a.writeCalls(prepared, failure); err != nil {
		complain(a.std, err)
	}
}

// writeCalls writes the report where it belongs. Standard output has one document: that of a failure, if there is one.
func (a *attempt) writeCalls(prepared *restorer.Prepared, failure error) error {
	var text bytes.Buffer
	doc, to := newTryReport(prepared.Calls(), failure), io.Writer(a.std.err)
	err := error(nil)
	if a.format == "json" {
		to, err = a.std.out, writeJSON(&text, doc)
	} else {
		err = writeTried(&text, doc.Processes)
	}
	if len(doc.Processes) == 0 && a.format != "json" && failure == nil {
		fmt.Fprintln(&text, "no hook ran")
	}
	switch {
	case err != nil:
		return err
	case a.report != "":
		return a.writeReport(text.Bytes())
	case a.format == "json" && failure != nil:
		return nil
	}
	_, err = to.Write(text.Bytes())
	return err
}

// writeReport writes a file that has memory of the processes: a new one is readable by its user alone.
func (a *attempt) writeReport(text []byte) error {
	f, err := os.OpenFile(a.report, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
