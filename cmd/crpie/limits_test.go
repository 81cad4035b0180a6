package main

import (
	"testing"

	"github.com/crpie/crpie/graft"
)

func TestArchiveLimits(t *testing.T) {
	var a archiveLimits
	for _, s := range []string{"size=3G", "entries=7", "headers=12K"} {
		if err := a.Set(s); err != nil {
			t.Error(err)
		}
	}
	if want := (graft.Limits{Size: 3 << 30, Entries: 7, Headers: 12 << 10}); a.Limits != want {
		t.Errorf("got %+v, want %+v", a.Limits, want)
	}
	for _, s := range []string{"", "size", "size=", "size=0", "size=-1", "size=1X", "size=K",
		"size=9999999999999T", "files=3", "entries=1e3"} {
		if a.Set(s) == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}
