// Package refuse collects everything because of which something cannot be done, so that all of it is said at once and
// before anything has been touched. It also holds what restores and grafts refuse alike.
//
// It makes no system call and imports no plan.
package refuse
