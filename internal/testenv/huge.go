//go:build linux

package testenv

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// hugePages is how many the victim and one restored copy of it need.
const hugePages = 40

// reserveHugePages adds to the machine's pool of huge pages until the end of the test. Others may do so, too, at the
// same time.
func reserveHugePages(tb testing.TB) {
	tb.Helper()
	NeedRoot(tb)
	if err := addHugePages(hugePages); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := addHugePages(-hugePages); err != nil {
			tb.Error(err)
		}
	})
}

// addHugePages changes the size of the pool by n. It locks the file, because other test binaries read and write the
// size as well. The kernel accepts a size that it cannot reach, hugetlbpage.rst, so the size is read again.
func addHugePages(n int) error {
	const pool = "/proc/sys/vm/nr_hugepages"
	lock, err := os.Open(pool)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	size := func() (int, error) {
		text, err := os.ReadFile(pool)
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(string(text)))
	}
	before, err := size()
	if err != nil {
		return err
	}
	if err := os.WriteFile(pool, []byte(strconv.Itoa(before+n)), 0); err != nil {
		return err
	}
	if after, err := size(); err != nil || after != before+n {
		return fmt.Errorf("%s: %d huge pages, asked for %d: %w", pool, after, before+n, err)
	}
	return nil
}
