package sys

import (
	"errors"
	"io"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Waiting ends with the process that is to send the message, also while another holds its end: somebody has killed it
// between the two. A message that it sent is read.
func TestAwaitOfEnded(t *testing.T) {
	for _, sent := range []bool{false, true} {
		own, its, err := NewChannel()
		if err != nil {
			t.Fatal(err)
		}
		defer own.Close()
		defer its.Close()
		starter := exec.Command("true")
		if err := starter.Start(); err != nil {
			t.Fatal(err)
		}
		defer starter.Wait()
		if _, err := AwaitEnd(PID(starter.Process.Pid), false); err != nil {
			t.Fatal(err)
		}
		if sent {
			err = its.Send([]byte("1234"))
		}
		done := make(chan struct{})
		go func() {
			own.awaitOf(PID(starter.Process.Pid))
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(time.Minute):
			_ = unix.Shutdown(its.fd, unix.SHUT_RDWR)
			t.Fatal("it waits for a process that has ended")
		}
		n, _, end := own.Receive(make([]byte, 4))
		if sent && (err != nil || end != nil || n != 4) || !sent && !errors.Is(end, io.EOF) {
			t.Errorf("sent %v, %v: %d bytes, %v", sent, err, n, end)
		}
	}
}
