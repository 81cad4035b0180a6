// Package mem plans memory: what the zygote makes for several tasks, and the address space of each. It knows files only
// by the paths that package file gives it.
package mem
