// Package hosttest makes up hosts for tests of the planner: one that suits a dump, of which a test changes what it is
// about.
//
// What lives here: a host.Host without a machine behind it, and files for it. What never does: a look at this host.
package hosttest
