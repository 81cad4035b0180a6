// Package tmpfs fills a file system in memory with the archive of its contents that CRIU has made: a tar file in the
// format of GNU, compressed by gzip.
//
// The archive is not trusted: nothing is written outside of the directory, and what it takes in time and memory is
// bounded.
package tmpfs
