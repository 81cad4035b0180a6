//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// settings reads flags from files and arguments. A file is written to $HOME/.criu/default.conf, to what
// CRIU_CONFIG_FILE names, or to c.conf in the working directory.
func settings(t *testing.T, home, env, named, args string) (*restoreFlags, error) {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("home/.criu/default.conf", home)
	write("env.conf", env)
	write("c.conf", named)
	t.Setenv("HOME", "home")
	t.Setenv("CRIU_CONFIG_FILE", "")
	if env != "" {
		t.Setenv("CRIU_CONFIG_FILE", "env.conf")
	}
	var r restoreFlags
	return &r, r.read(r.usualFlags(), strings.Fields(args))
}

// What is read later holds: the user's file, CRIU_CONFIG_FILE, --config, the command line. Lists grow.
func TestConfigurationFiles(t *testing.T) {
	home := "# mine\npidfile home\nlog-file home\nwork-dir \"my \\\"work\\\"\"\nimages-dir home\npie-plugin h.o,a=b\ntcp-established\n"
	env := "pidfile env\nlog-file env\nimages-dir env\n#crpie: pie-plugin e.o\n#crpie: pie-timeout 3s\n#crpie: restore-with graft\n# pie-timeout 4s\n"
	named := "pidfile named\nlog-file named\nno-tcp-established\nshell-job\n"
	for _, tc := range []struct{ args, want string }{
		{"", `env env my "work" env [h.o,a=b e.o] 3s tcp=true job=false`},
		{"-o line --pie-plugin l.o --no-tcp-established",
			`env line my "work" env [h.o,a=b e.o l.o] 3s tcp=false job=false`},
		{"--no-default-config", `env env  env [e.o] 3s tcp=false job=false`},
		{"--config c.conf", `named named  env [e.o] 3s tcp=false job=true`},
		{"--config=c.conf -o line --no-shell-job", `named line  env [e.o] 3s tcp=false job=false`},
	} {
		r, err := settings(t, home, env, named, tc.args)
		if got := fmt.Sprintf("%s %s %s %s %s %v tcp=%v job=%v", r.pidfile, r.logFile, r.workDir, r.images,
			r.plugins, r.timeout,
			r.tcpEstablished, r.shellJob); err != nil || got != tc.want {
			t.Errorf("%s: %v\n got %s\nwant %s", tc.args, err, got, tc.want)
		}
	}
}

// What is wrong is said with file and line, all of it; what criu would ignore in silence is warned of.
func TestConfigurationProblems(t *testing.T) {
	_, err := settings(t, "nonsense\n--tcp-close\npie-timeout soon\nhelp\nversion\nwork-dir \"x\nverbosity=9x\n",
		"", "", "")
	for _, want := range []string{
		"home/.criu/default.conf:1: unknown flag: --nonsense",
		`home/.criu/default.conf:2: "--tcp-close": options are written without dashes here: tcp-close`,
		`home/.criu/default.conf:3: invalid argument "soon" for "--pie-timeout" flag`,
		"home/.criu/default.conf:4: --help: only on the command line",
		"home/.criu/default.conf:5: --version: only on the command line",
		`home/.criu/default.conf:6: no closing quote after "x"`,
		`home/.criu/default.conf:7: invalid argument "9x"`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got\n%v\nwithout %s", err, want)
		}
	}
	r, err := settings(t, "manage-cgroups ignore\n", "", "", "")
	want := `home/.criu/default.conf:1: "ignore" is ignored, as by criu: write an argument that may be left away as manage-cgroups=ignore`
	if err != nil || len(r.warnings) != 1 || r.warnings[0] != want || r.cgroups != "soft" {
		t.Errorf("%v, %q, %s", err, r.warnings, r.cgroups)
	}
	large := filepath.Join(t.TempDir(), "large.conf")
	must(t, os.WriteFile(large, make([]byte, 1<<20+1), 0o644))
	for args, want := range map[string]string{
		"--config " + large:  "large.conf: larger than 1048576 bytes",
		"--config none.conf": "configuration: open none.conf: no such file",
		"--config /":         "configuration: open /: it is a directory",
		"--config /dev/zero": "configuration: open /dev/zero: it is a device",
	} {
		if _, err := settings(t, "", "", "", args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// The files are for everything that criu does: what is about containers stands in no restore's way there.
func TestConfigurationForContainers(t *testing.T) {
	r, err := settings(t, "external mnt[]\next-mount-map auto\nghost-limit 10M\nexternal dev[a]:b\n", "join-ns user:1\n", "",
		"-r /y --external dev[c]:d")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"home/.criu/default.conf:1: external=mnt[] has no effect: crpie does not guess what was mounted",
		"home/.criu/default.conf:2: ext-mount-map=auto has no effect: crpie does not guess what was mounted",
		"home/.criu/default.conf:3: ghost-limit=10M has no effect: it is for criu dump",
		"home/.criu/default.conf:4: external=dev[a]:b has no effect: crpie mounts no block devices",
	}
	if got := strings.Join(r.criuOnly.warnings(), "\n"); got != strings.Join(want, "\n") {
		t.Errorf("warnings:\n%s", got)
	}
	refusals := r.criuOnly.refusals()
	if len(refusals) != 2 || !strings.HasPrefix(refusals[0], "env.conf:1: join-ns=user:1: not supported") ||
		!strings.HasPrefix(refusals[1], "--external=dev[c]:d: ") {
		t.Errorf("refusals %q", refusals)
	}
	if r.root != "/y" {
		t.Errorf("root %q", r.root)
	}
}

// A program that has more rights than its caller (AT_SECURE) reads no file that the caller's environment names.
func TestSecureExecutionIgnoresTheEnvironment(t *testing.T) {
	testenv.NeedRoot(t)
	dir := t.TempDir()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	file, conf := filepath.Join(dir, "crpie"), filepath.Join(dir, ".criu", "default.conf")
	const daemon, nobody = 1, 65534 // any two
	for _, err := range []error{
		os.WriteFile(file, self, 0o755), os.Chown(file, 0, daemon), os.Chmod(dir, 0o755),
		os.Chmod(filepath.Dir(dir), 0o755),
		os.Mkdir(filepath.Dir(conf), 0o755), os.WriteFile(conf, []byte("nonsense\n"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for mode, want := range map[os.FileMode]string{
		0o755:                 "crpie: " + conf + ":1: unknown flag: --nonsense\n",
		0o755 | os.ModeSetgid: "crpie: images: ",
	} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		for _, env := range []string{"HOME=" + dir, "CRIU_CONFIG_FILE=" + conf} {
			cmd := exec.Command(file, "restore", "-D", "/nonexistent")
			cmd.Dir, cmd.Env = "/", []string{asTool + "=1", env}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody,
				Gid: nobody}}
			if out, _ := cmd.CombinedOutput(); !strings.HasPrefix(string(out), want) {
				t.Errorf("%v, %s: %s", mode, env, out)
			}
		}
	}
}
