// Package benchrestore measures whole restores, crpie's beside CRIU's. Nothing but a benchmark lives here.
package benchrestore
