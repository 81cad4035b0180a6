package net

import (
	"testing"
	"time"

	"github.com/mdlayher/netlink"
)

// A link of which nobody answers is not waited for longer than its time.
func TestStateOfLinkIsNotAwaitedForEver(t *testing.T) {
	asked := 0
	err := untilKnown(10*time.Millisecond, func() ([]netlink.Message, error) {
		if asked++; asked > 10000 {
			t.Fatal("it is asked for ever")
		}
		return nil, nil
	})
	if err != nil || asked == 0 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}
