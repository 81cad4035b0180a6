// Package plan is the contract between the planner and the runner: everything that a restore will do, decided before
// any process exists. A Plan holds programs of operations, laid out in memory as the core reads them
// (restorer/core/src/contract.h), and prints itself for people. It makes no system call and decides nothing.
package plan
