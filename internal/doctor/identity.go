//go:build linux && amd64

package doctor

import (
	"bytes"
	"slices"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/imagemem"
)

// mostEnvironment is how much of a task's environment is read, in bytes; the kernel takes 128 KiB for one string and a
// quarter of the stack's limit, 2 MiB, for all, execve(2).
const mostEnvironment = 2 << 20

// environment names variables that tell who or where the program is. Values may be secrets: they are not shown.
func (c *clones) environment() {
	for _, t := range c.Tasks {
		if t.Dead() {
			continue
		}
		start, end := t.Mm.GetMmEnvStart(), t.Mm.GetMmEnvEnd()
		if end < start || end-start > mostEnvironment {
			c.add("environment", Note, "", "task %d: it has moved its environment, or has none that can be read", t.Pid)
			continue
		}
		block := make([]byte, end-start)
		space := imagemem.Space(c.Dir, t, c.symbols, c.open)
		if err := imagemem.Reader(c.Dir, t, space)(start, block); err != nil {
			c.add("environment", Note, "", "task %d: its environment cannot be read: %v", t.Pid, err)
			continue
		}
		if names := identities(block); len(names) > 0 {
			c.add("environment", Note, "a hook that sets them, with <crpie/setenv.h>",
				"task %d: %s: equal in all clones", t.Pid, strings.Join(names, ", "))
		}
	}
}

// identities lists the names in an environment that identify a process, its host, its session or its rights.
func identities(block []byte) (names []string) {
	known := []string{"HOSTNAME", "INVOCATION_ID", "JOURNAL_STREAM", "NOTIFY_SOCKET", "MAINPID", "LISTEN_PID",
		"WATCHDOG_PID", "SSH_AUTH_SOCK", "SSH_CONNECTION", "XDG_SESSION_ID", "DBUS_SESSION_BUS_ADDRESS", "POD_NAME",
		"POD_IP", "NODE_NAME"}
	ends := []string{"_ID", "_UUID", "_UID", "_TOKEN", "_SECRET", "_SEED", "_KEY", "_PASSWORD"}
	for variable := range bytes.SplitSeq(block, []byte{0}) {
		name, _, ok := strings.Cut(string(variable), "=")
		ending := slices.ContainsFunc(ends, func(end string) bool { return strings.HasSuffix(name, end) })
		if ok && (ending || slices.Contains(known, name)) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// generator is a source of random numbers whose state is in the program's memory, known by a function of its library.
type generator struct {
	symbol, name string
	renew        string // what renews it; empty: nothing that a hook can call
}

// generators are what has been compared in two restores of real programs.
var generators = [...]generator{
	{"RAND_poll", "OpenSSL", "RAND_poll()"},
	{"gnutls_rnd_refresh", "GnuTLS", "gnutls_rnd_refresh(), at PIE_RST_PRE_SIGRETURN_THREAD in each thread"},
	{"gcry_create_nonce", "nonces of libgcrypt", ""},
	{"PK11_RandomUpdate", "NSS", ""},
	{"sqlite3_randomness", "SQLite", "sqlite3_randomness(0, NULL)"},
	{"srandom", "random() of libc", "srandom() and srand48()"},
	{"Py_AddPendingCall", "module random of Python", "Py_AddPendingCall(PyRun_SimpleString, \"import random; random.seed()\")"},
	{"rb_reset_random_seed", "rand of Ruby", "rb_reset_random_seed()"},
	{"php_mt_srand", "mt_rand of PHP", "php_mt_srand()"},
	{"Perl_seed", "rand of Perl", "srand of the program"},
	{"JNI_CreateJavaVM", "java.util.Random and others of the JVM", "an agent that is loaded after the restore"},
	{"runtime.allm", "math/rand of Go", ""},
}

// random names the generators that a task has, each file of it once.
func (c *clones) random() {
	seen := map[string]bool{}
	for _, t := range c.Tasks {
		if t.Dead() {
			continue
		}
		space := imagemem.Space(c.Dir, t, c.symbols, c.open)
		for _, file := range space.Names() {
			if seen[file] {
				continue
			}
			seen[file] = true
			o, err := space.ObjectOf(file)
			if err != nil {
				c.add("random", Note, "", "task %d: %s: it is not known whether a generator is in it: %v", t.Pid, file, err)
				continue
			}
			for _, g := range generators {
				if _, err := o.File.Lookup(g.symbol, ""); err == nil {
					c.generator(t, file, &g)
				}
			}
		}
	}
}

func (c *clones) generator(t *images.Task, file string, g *generator) {
	if g.renew == "" {
		c.add("random", Problem, "the program has to renew it, or to be dumped before it draws from it",
			"task %d, %s: %s: equal in all clones, and no function that a hook can call renews it", t.Pid, file, g.name)
		return
	}
	c.add("random", Note, "the plugin reseed, or a hook of PIE_RST_PRE_SIGRETURN that calls "+g.renew,
		"task %d, %s: %s: equal in all clones", t.Pid, file, g.name)
}
