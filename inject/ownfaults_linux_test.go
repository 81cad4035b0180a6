//go:build linux && amd64

package inject

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// faulting has four threads that read a page which the first takes away again and again, as runtimes do to stop theirs.
const faulting = `
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static char *page;

static void give(int sig, siginfo_t *info, void *context)
{
	if (info->si_addr != page)
		_exit(1);
	mprotect(page, 4096, PROT_READ);
}

static void *read_on(void *none)
{
	for (;;)
		(void)*(volatile char *)page;
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = give, .sa_flags = SA_SIGINFO };
	pthread_t thread;

	sigaction(SIGSEGV, &action, NULL);
	page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 4; i++)
		pthread_create(&thread, NULL, read_on, NULL);
	printf("READY %d\n", getpid());
	fflush(stdout);
	for (;;)
		mprotect(page, 4096, PROT_NONE);
}
`

// A fault that a thread was about to handle when it was asked to stop is the program's, and no hook's.
func TestFaultsOfItsOwn(t *testing.T) {
	gcc := testenv.NeedTool(t, "gcc")
	dir := t.TempDir()
	source, program := filepath.Join(dir, "faulting.c"), filepath.Join(dir, "faulting")
	if err := os.WriteFile(source, []byte(faulting), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(gcc, "-O1", "-pthread", "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	attach(t, testenv.StartCommand(t, "faulting", program).Pid, order{Times: 100})
}
