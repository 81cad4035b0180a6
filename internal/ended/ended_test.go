package ended_test

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/crpie/crpie/internal/ended"
)

func TestUntil(t *testing.T) {
	err := ended.Until(func(ctx context.Context) error {
		self, err := os.FindProcess(os.Getpid())
		if err != nil || self.Signal(syscall.SIGTERM) != nil {
			t.Fatal("no signal")
		}
		<-ctx.Done()
		return context.Cause(ctx)
	})
	if status := ended.Status(err, 1); status != 128+int(syscall.SIGTERM) || err.Error() != "ended by SIGTERM" {
		t.Errorf("%v, status %d", err, status)
	}
	other := errors.New("other")
	if err := ended.Until(func(context.Context) error { return other }); err != other || ended.Status(err, 1) != 1 {
		t.Errorf("got %v", err)
	}
}
