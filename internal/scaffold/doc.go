// Package scaffold writes the SDK that crpie carries into a directory, and new plugins out of templates.
// It knows files and names only; nothing is built here.
package scaffold
