// Package cgroups makes the cgroups of a restore, and takes away those of one that has failed. It decides nothing: the
// planner says which are missing.
package cgroups
