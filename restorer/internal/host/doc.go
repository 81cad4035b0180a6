// Package host gathers facts about this host that decide whether and how something can be restored. The planner asks a
// Host, which tests replace; nothing here changes the host.
package host
