//go:build linux && amd64

package main

import (
	"regexp"
	"testing"
)

// TestWords: what is decided character by character is what a regular expression would decide, of words that are
// right and of all that differ from them in one character.
func TestWords(t *testing.T) {
	isAttached := func(s string) bool { _, _, _, ok := attached(s); return ok }
	for _, tc := range []struct {
		is      func(string) bool
		pattern string
		words   []string
	}{
		{isAttached, `^-([dhjlRsSVx]*)([vx])([0-9][0-9,]*)$`, []string{"-v4", "-x12,13", "-dSv4", "-xv0"}},
		{anFD, `^[0-9]+$`, []string{"7", "10"}},
		{aNumber, `^[1-9][0-9]*$`, []string{"7", "10"}},
		{cpuCaps, `^\^*(fpu|all|none|cpu|ins)(,\^*(fpu|all|none|cpu|ins))*$`,
			[]string{"fpu", "^ins,all", "none,^cpu,^^fpu"}},
		{comparesCPUs, `^(.*,)?(cpu|ins|all)?(,.*)?$`, []string{"", "fpu", "^ins,all", "none,^cpu", "cpu,fpu"}},
		{isExternalFile, `^(file|tty)\[[0-9a-f]+:[0-9a-f]+\]$`, []string{"file[1f:2]", "tty[8800:f]"}},
		{isExternalNetwork, `^(net|veth|macvlan)\[[^]]+\]:.+$`, []string{"net[a:b]:/x", "veth[e]:f@g", "macvlan[h]:i"}},
	} {
		want := regexp.MustCompile(tc.pattern)
		for _, word := range tc.words {
			for _, s := range neighbours(word) {
				if got := tc.is(s); got != want.MatchString(s) {
					t.Errorf("%q is accepted: %v, by %s: %v", s, got, tc.pattern, !got)
				}
			}
		}
	}
}

// neighbours are a word and those with a character more, less, or another one.
func neighbours(word string) []string {
	all := []string{word}
	for i := range len(word) + 1 {
		for _, c := range "v-,^:[]@/0a9xi" {
			all = append(all, word[:i]+string(c)+word[i:])
			if i < len(word) {
				all = append(all, word[:i]+string(c)+word[i+1:], word[:i]+word[i+1:])
			}
		}
	}
	return all
}
