//go:build linux && amd64

package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/doctor"
	"github.com/crpie/crpie/internal/testenv"
)

// sharer has one of each thing that clones would share, and some that they would not.
const sharer = `
import fcntl, mmap, os, signal, socket, sqlite3, ssl
def listen(port, reuse=0):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuse)
    s.bind(("127.0.0.1", port)); s.listen()
    return s
def named(name, kind=socket.SOCK_STREAM):
    s = socket.socket(socket.AF_UNIX, kind); s.bind(name)
    if kind == socket.SOCK_STREAM: s.listen()
    return s
keep = [open("written", "w"), open("appended", "a"), open("/etc/passwd"), open("gone", "w"), open("/dev/null", "w")]
os.unlink("gone")
keep += [listen(7101), listen(7102, 1), named("\0of-two"), named("path"), named("letters", socket.SOCK_DGRAM)]
keep += socket.socketpair()
client = socket.create_connection(("127.0.0.1", 7101)); keep += [client, keep[5].accept()[0]]
with open("mapped", "wb+") as f:
    f.truncate(4096); keep.append(mmap.mmap(f.fileno(), 4096))
lock = open("locked", "w"); fcntl.flock(lock, fcntl.LOCK_EX)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print("READY", os.getpid(), flush=True)
signal.sigwait([signal.SIGUSR1])
print("PASS", flush=True)
`

// crpie doctor --clones names what several restores of the same images would share, and nothing else.
func TestWhatClonesShare(t *testing.T) {
	testenv.NeedTool(t, "python3")
	p := testenv.StartCommand(t, "sharer", "/usr/bin/env", "HOSTNAME=here", "APP_TOKEN=secret", "COLOUR=mauve",
		"/usr/bin/python3", "-c", sharer)
	p.Connected = true
	im := p.Dump(t)
	status, out, errors := crpie(t, "doctor", "--clones", "-D", im.Dir)
	if status != exitFailed || errors != "" {
		t.Errorf("status %d\n%s", status, errors)
	}
	for _, want := range []string{
		`problem  pids: tasks: 1, from pid \d+ on`, `hint: crpie restore --clones N`,
		`problem  file: .*/work/written is open for writing: each overwrites`,
		`note     file: .*/work/appended is open for writing: what they append`,
		`problem  port: .*: 127\.0\.0\.1:7101: it is in use`, `note     port: .*: 127\.0\.0\.1:7102: with SO_REUSEPORT`,
		`problem  socket: .*: @of-two: it is in use`, `problem  socket: .*: path: it is`, `problem  socket: .*: letters: it is`,
		`problem  connection: .*: TCP from 127\.0\.0\.1:\d+ to 127\.0\.0\.1:7101`,
		`problem  connection: .*: TCP from 127\.0\.0\.1:7101 to`,
		`problem  mapping: .*/work/mapped is mapped`, `problem  lock: .*/work/locked is locked`,
		`note     environment: task \d+: HOSTNAME, APP_TOKEN: equal`,
		`note     random: .*libcrypto\.so\S*: OpenSSL: equal`, `note     random: .*libsqlite3\.so\S*: SQLite`,
		`note     random: .*/libc\.so\.6: random\(\) of libc`, `note     random: .*python3\S*: module random of Python`,
	} {
		if !regexp.MustCompile(`(?m)^ *` + want).MatchString(out) {
			t.Errorf("nothing says %s", want)
		}
	}
	for _, word := range []string{"secret", "mauve", "gone", "passwd", "null"} {
		if strings.Contains(out, word) {
			t.Errorf("it tells of %s", word)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
	_, out, _ = crpie(t, "doctor", "--clones", "-D", im.Dir, "--format", "json")
	var report doctorReport
	if err := json.Unmarshal([]byte(out), &report); err != nil || report.OK || len(report.Findings) < 15 {
		t.Errorf("%v, %+v", err, report)
	}
}

// A program that shares nothing, in a pid namespace of its own, has no problem but the file of its output.
func TestClonesOfLittle(t *testing.T) {
	im := testenv.StartIn(t, newPID, "static").Dump(t)
	_, out, _ := crpie(t, "doctor", "--clones", "-D", im.Dir, "--format", "json")
	var report doctorReport
	must(t, json.Unmarshal([]byte(out), &report))
	for _, f := range report.Findings {
		if f.Verdict == doctor.Problem && !strings.Contains(f.Text, "/out is open for writing") {
			t.Errorf("%+v", f)
		}
	}
}

// Where images and machines are looked at is not mixed up.
func TestClonesOfNothing(t *testing.T) {
	dir := t.TempDir()
	for _, args := range []string{"--clones", "-D DIR", "--clones -D DIR --archive x", "--clones --clean -D DIR",
		"--clones -D DIR other", "--archive x"} {
		words := append([]string{"doctor"}, strings.Fields(strings.ReplaceAll(args, "DIR", dir))...)
		if status, out, _ := crpie(t, words...); status != exitUsage || out != "" {
			t.Errorf("%s: status %d, %s", args, status, out)
		}
	}
	status, _, errors := crpie(t, "doctor", "--clones", "-D", dir)
	if status != exitFailed || !strings.Contains(errors, "inventory.img") {
		t.Errorf("status %d, %s", status, errors)
	}
}
