// Package report has what a restore reports of its tasks: lines that plugins log, the call of a hook that failed, and
// the step of a task that failed.
//
// What lives here: values and errors that package restorer hands out. What never does: reading them out of a process.
// It works on every system.
package report
