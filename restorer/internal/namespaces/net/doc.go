// Package net makes the network namespace of the restored tasks: one that somebody gives, by descriptor or path, or one
// of its own that is filled from the images, before any process of the restore exists.
//
//	netns-ID.img        sysctls, numbers of other namespaces, or the key of an external one
//	netdev-ID.img       links
//	ifaddr-ID.img …     addresses, routes, rules: netlink messages as ip(8) saves them
//	nftables-ID.img …   text for nft(8) and iptables-restore(8)
//	netns-ct-ID.img …   conntrack's netlink messages
//
// New decides everything and touches nothing; Enter carries it out on an OS thread, which then is in the namespace.
// Whatever the images say is done inside of that namespace alone, except the other ends of veth pairs and what macvlans
// lie on, which the caller names.
package net
