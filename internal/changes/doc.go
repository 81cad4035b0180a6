// Package changes tells what hooks have changed in a process: it compares, and gives memory the names that people
// know.
//
// What lives here: comparing, names of memory, and what /proc says of a process. What never does: stopping a process,
// or deciding when to look; inject and restorer/internal/run do.
package changes
