//go:build linux && amd64

package inject

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/testenv"
	"github.com/crpie/crpie/stage"
)

// compileText compiles a source text.
func compileText(t *testing.T, source string, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	file, name := filepath.Join(dir, "p.c"), filepath.Join(dir, "program")
	if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	compile(t, append(append([]string{"-O1", "-o", name}, flags...), file)...)
	return name
}

const birthsSource = `#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
__attribute__((noinline)) void moment(void) { __asm__ volatile("" ::: "memory"); }
static void *nothing(void *arg) { return arg; }
int main(void)
{
	int pids[40], status, failed = 0;
	signal(SIGUSR2, SIG_IGN);
	for (int i = 0; i < 40; i++) {
		pthread_t thread;
		pids[i] = i % 2 ? syscall(SYS_clone, i % 4 == 1 ? 0 : SIGUSR2, 0, 0, 0, 0) : fork();
		if (!pids[i]) {
			usleep(1000);
			_exit(i);
		}
		pthread_create(&thread, NULL, nothing, NULL);
		pthread_detach(thread);
	}
	moment();
	for (int i = 0; i < 40; i++)
		if (waitpid(pids[i], &status, __WALL) != pids[i] || status != i << 8)
			failed = 1;
	return failed ? 1 : 42;
}
`

// Each process and thread that is made on the way to a moment is let go, whatever signal is to tell of its end.
func TestBirthsOnTheWay(t *testing.T) {
	path := compileText(t, birthsSource, "-pthread")
	opts := &Options{Plugins: load(t, testenv.Plugin(t, traceSource)), StopTimeout: testenv.Timeout}
	at := Moment{Kind: AtFunction, Name: "moment"}
	program := &Program{Path: path, Args: []string{"births"}, Env: os.Environ(), At: at}
	pid, _, err := Spawn(t.Context(), program, opts)
	if err != nil {
		t.Fatal(err)
	}
	if status := waitFor(t, pid); status != 42 {
		t.Errorf("its status is %d", status)
	}
	s, err := newSession(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	err = asTracer(s.stopTimeout(), func() error {
		p, err := s.start(program)
		if err != nil {
			return err
		}
		defer p.end()
		if err = p.execute(); err == nil {
			err = p.runTo(at)
		}
		for tid, came := range p.born {
			if came {
				t.Errorf("nobody told of the birth of %d", tid)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

const writerSource = `#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	size_t size = 5 << 20;
	char *all = malloc(size);
	memset(all, '.', size);
	memcpy(all + size - 7, "ready", 5);
	struct iovec vec[2] = {{all, size - 5}, {all + size - 5, 5}};
	(void)argc;
	if (!strcmp(argv[1], "write"))
		return write(1, all, size) == (ssize_t)size ? 42 : 1;
	if (!strcmp(argv[1], "pwrite"))
		return pwrite(1, all, size, 0) == (ssize_t)size ? 42 : 1;
	return writev(1, vec, 2) == (ssize_t)size ? 42 : 1;
}
`

// A text is found wherever in a long write it is.
func TestLongOutput(t *testing.T) {
	path := compileText(t, writerSource)
	opts := &Options{Plugins: load(t, testenv.Plugin(t, traceSource)), StopTimeout: testenv.Timeout}
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for _, how := range []string{"write", "pwrite", "writev"} {
		restore := redirected(t, out)
		pid, _, err := Spawn(t.Context(), &Program{Path: path, Args: []string{"writer", how}, Env: os.Environ(),
			At: Moment{Kind: AtOutput, Name: "ready.."}}, opts)
		restore()
		if err != nil {
			t.Errorf("%s: %v", how, err)
			continue
		}
		if status := waitFor(t, pid); status != 42 {
			t.Errorf("%s: its status is %d", how, status)
		}
	}
}

// redirected makes a file standard output until restore is called.
func redirected(t *testing.T, to *os.File) (restore func()) {
	t.Helper()
	saved, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	if err == nil {
		err = unix.Dup3(int(to.Fd()), 1, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = unix.Dup3(saved, 1, 0)
		_ = unix.Close(saved)
	}
}

const threadSignalSource = `#include <pthread.h>
#include <signal.h>
static volatile pthread_t got;
static void handler(int sig) { got = pthread_self(); (void)sig; }
static void *raises(void *arg)
{
	pthread_kill(pthread_self(), SIGUSR1);
	return pthread_equal(got, pthread_self()) ? arg : NULL;
}
int main(void)
{
	pthread_t thread;
	void *done;
	signal(SIGUSR1, handler);
	pthread_create(&thread, NULL, raises, &thread);
	pthread_join(thread, &done);
	return done ? 42 : 1;
}
`

// A signal that stops another thread than the first reaches that thread, also where hooks run in the first one only.
func TestSignalOfAnotherThread(t *testing.T) {
	path := compileText(t, threadSignalSource, "-pthread")
	for _, stages := range [][]stage.Stage{nil, {stage.PreSigreturn}} {
		opts := &Options{Plugins: load(t, testenv.Plugin(t, traceSource)), StopTimeout: testenv.Timeout,
			Stages: stages}
		pid, _, err := Spawn(t.Context(), &Program{Path: path, Args: []string{"signalled"}, Env: os.Environ(),
			At: Moment{Kind: AtSignal, Signal: unix.SIGUSR1}}, opts)
		if err != nil {
			t.Fatal(err)
		}
		if status := waitFor(t, pid); status != 42 {
			t.Errorf("its status is %d", status)
		}
	}
}
