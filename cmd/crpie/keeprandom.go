package main

import (
	"github.com/spf13/pflag"

	"github.com/crpie/crpie/internal/renew"
)

// addKeepRandom adds the flags that bring random state back as it was dumped.
func addKeepRandom(f *pflag.FlagSet, keep *renew.Keep) {
	f.BoolVar(&keep.VGetrandom, "keep-vgetrandom", false,
		"Leave the state of the vDSO's getrandom as it was dumped: clones draw the same bytes.")
	f.BoolVar(&keep.WipeOnFork, "keep-wipeonfork", false,
		"Leave memory marked with MADV_WIPEONFORK as it was dumped.")
}
