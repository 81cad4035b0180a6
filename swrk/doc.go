// Package swrk stands in front of criu when a container runtime starts crpie as criu: it speaks criu's RPC, protobuf
// messages on a socket of type SOCK_SEQPACKET.
//
//	runtime ── request ── peek ──► RESTORE with plugins ──► crpie's own restorer, if its plan allows ──────── answer
//	                       │                          └──► graft in front of criu, hooks supervised ───────── answer
//	                       ├─────► DUMP with hooks around it ► hooks ► criu ► hooks of what goes on ───────── answer
//	                       └─────► anything else ─────────► criu itself, on the same descriptor, nothing read
//
// What lives here: which requests are ours, the settings that say how a container is restored, the relay between the
// runtime and criu, the watch over hooks, and the undoing of a restore whose hook failed. What never does: how images
// are grafted (package graft), or the command line.
//
// Settings and rules are pure; the rest works on Linux on x86-64.
package swrk
