//go:build linux && amd64

package doctor

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/exports"
	"github.com/crpie/crpie/internal/imagemem"
)

// mostEnvironment is how much of a task's environment is read, in bytes; the kernel takes 128 KiB for one string and a
// quarter of the stack's limit, 2 MiB, for all, execve(2).
const mostEnvironment = 2 << 20

// identity looks at each task's environment and at the generators in the files that it maps.
func (c *clones) identity() {
	seen := map[string]bool{}
	for _, t := range c.Tasks {
		if t.Dead() {
			continue
		}
		space := imagemem.Space(c.Dir, t, c.symbols, c.open)
		c.environment(t, space)
		for _, file := range space.Names() {
			if !seen[file] {
				seen[file] = true
				c.random(t, space, file)
			}
		}
	}
}

// environment names variables that tell who or where the program is. Values may be secrets: they are not shown.
func (c *clones) environment(t *images.Task, space *exports.Space) {
	start, end := t.Mm.GetMmEnvStart(), t.Mm.GetMmEnvEnd()
	if end < start || end-start > mostEnvironment {
		c.add("environment", Note, "", "task %d: it has moved its environment, or has none that can be read", t.Pid)
		return
	}
	block := make([]byte, end-start)
	if err := imagemem.Reader(c.Dir, t, space)(start, block); err != nil {
		c.add("environment", Note, "", "task %d: its environment cannot be read: %v", t.Pid, err)
		return
	}
	names := identities(block)
	if more := len(names) - mostNames; more > 0 {
		names = append(names[:mostNames], fmt.Sprintf("and %d more", more))
	}
	if len(names) > 0 {
		c.add("environment", Note, "a hook that sets them, with <crpie/setenv.h>",
			"task %d: %s: equal in all clones", t.Pid, strings.Join(names, ", "))
	}
}

// mostNames is how many variables of a task are named.
const mostNames = 32

// identities lists the names in an environment that identify a process, its host, its session or its rights, once each.
func identities(block []byte) (names []string) {
	known := []string{"HOSTNAME", "INVOCATION_ID", "JOURNAL_STREAM", "NOTIFY_SOCKET", "MAINPID", "LISTEN_PID",
		"WATCHDOG_PID", "SSH_AUTH_SOCK", "SSH_CONNECTION", "XDG_SESSION_ID", "DBUS_SESSION_BUS_ADDRESS", "POD_NAME",
		"POD_IP", "NODE_NAME"}
	ends := []string{"_ID", "_UUID", "_UID", "_TOKEN", "_SECRET", "_SEED", "_KEY", "_PASSWORD"}
	seen := map[string]bool{}
	for variable := range bytes.SplitSeq(block, []byte{0}) {
		name, _, ok := strings.Cut(string(variable), "=")
		ending := slices.ContainsFunc(ends, func(end string) bool { return strings.HasSuffix(name, end) })
		if ok && (ending || slices.Contains(known, name)) && !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

// generator is a source of random numbers whose state is in the program's memory, known by a function of its library.
type generator struct {
	symbol, name string
	cure         string // what sets clones apart; empty: nothing outside the program
}

// generators are what has been compared in two restores of real programs.
func generators() []generator {
	const reseed = "the plugin reseed; it calls "
	return []generator{
		{"RAND_poll", "OpenSSL", reseed + "RAND_poll()"},
		{"gnutls_rnd_refresh", "GnuTLS", reseed + "gnutls_rnd_refresh() in each thread"},
		{"gcry_create_nonce", "nonces of libgcrypt", ""},
		{"PK11_RandomUpdate", "NSS", ""},
		{"sqlite3_randomness", "SQLite", reseed + "sqlite3_randomness(0, NULL)"},
		{"srandom", "random() of libc", reseed + "srandom() and srand48()"},
		{"Py_AddPendingCall", "module random of Python", reseed + "Py_AddPendingCall()"},
		{"rb_reset_random_seed", "rand of Ruby", "a hook that calls rb_reset_random_seed()"},
		{"php_mt_srand", "mt_rand of PHP", "a hook that calls php_mt_srand()"},
		{"Perl_seed", "rand of Perl", "srand, called by the program after the restore"},
		{"JNI_CreateJavaVM", "java.util.Random and others of the JVM", "an agent that is loaded after the restore"},
		{"runtime.allm", "math/rand of Go", ""},
	}
}

// random names the generators that a file of a task has.
func (c *clones) random(t *images.Task, space *exports.Space, file string) {
	o, err := space.ObjectOf(file)
	if err != nil {
		c.add("random", Note, "", "task %d: %s: it is not known whether a generator is in it: %v", t.Pid, file, err)
		return
	}
	for _, g := range generators() {
		switch _, err := o.File.Lookup(g.symbol, ""); {
		case err != nil:
		case g.cure == "":
			c.add("random", Problem, "the program has to renew it, or to be dumped before it draws from it",
				"task %d, %s: %s: equal in all clones, and no function that a hook can call renews it", t.Pid, file, g.name)
		default:
			c.add("random", Note, g.cure, "task %d, %s: %s: equal in all clones", t.Pid, file, g.name)
		}
	}
}
