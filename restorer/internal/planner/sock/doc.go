// Package sock plans sockets, a file for each family, and what the controller does to wake TCP connections.
package sock
