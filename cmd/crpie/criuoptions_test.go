//go:build linux && amd64

package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/crpie/crpie/report"
)

// criuTable is the table of options of CRIU 4.2 (and 4.1 but for --allow-uprobes). "=" stands behind those that need an
// argument, "=?" behind those that may have one; "[no-]" says that there is a negation.
const criuTable = `
tree,t= leave-stopped,s leave-running,R [no-]restore-detached,d [no-]restore-sibling,S [no-]daemon images-dir,D= work-dir,W=
log-file,o= join-ns,J= root,r= ext-unix-sk,x=? help,h [no-]tcp-established close= [no-]log-pid version,V [no-]evasive-devices
pidfile= veth-pair= action-script= [no-]link-remap [no-]shell-job,j [no-]file-locks,l [no-]page-server address= port=
prev-images-dir= ms [no-]track-mem [no-]auto-dedup libdir,L= cpu-cap=? [no-]force-irmap ext-mount-map,M= exec-cmd
manage-cgroups=? cgroup-root= inherit-fd= feature= skip-mnt= enable-fs= enable-external-sharing enable-external-masters
freeze-cgroup= ghost-limit= irmap-scan-path= lsm-profile= timeout= external= empty-ns= lazy-pages [no-]extra [no-]experimental all
cgroup-props= cgroup-props-file= cgroup-dump-controller= [no-]skip-in-flight [no-]deprecated [no-]display-stats [no-]weak-sysctls
status-fd= [no-]tcp-close verbosity,v=? ps-socket= [no-]stream config= no-default-config tls-cacert= tls-cacrl= tls-cert= tls-key=
[no-]tls tls-no-cn-verify cgroup-yard= pre-dump-mode= file-validation= [no-]skip-file-rwx-check lsm-mount-context= network-lock=
[no-]mntns-compat-mode [no-]unprivileged [no-]ghost-fiemap [no-]allow-uprobes`

type criuSpelling struct {
	long, short string
	takes       string // "", "=", "=?"
	negatable   bool
}

func criuSpellings() (all []criuSpelling) {
	entry := regexp.MustCompile(`^(\[no-\])?([a-z-]+)(?:,([a-zA-Z]))?(=\??)?$`)
	for _, word := range strings.Fields(criuTable) {
		m := entry.FindStringSubmatch(word)
		all = append(all, criuSpelling{m[2], m[3], m[4], m[1] != ""})
	}
	return all
}

// Every spelling of criu restore is accepted, with an argument exactly where criu wants one.
func TestEverySpellingOfCRIUIsKnown(t *testing.T) {
	var r restoreFlags
	f := r.flags()
	spellings := 0
	check := func(name, takes string) {
		t.Helper()
		spellings++
		flag := f.Lookup(name)
		switch {
		case name == "help": // pflag's own
		case flag == nil:
			t.Errorf("--%s is unknown", name)
		case takes == "=" && flag.NoOptDefVal != "" || takes != "=" && flag.NoOptDefVal == "":
			t.Errorf("--%s takes an argument: %v; criu: %q", name, flag.NoOptDefVal == "", takes)
		}
	}
	for _, o := range criuSpellings() {
		check(o.long, o.takes)
		if o.negatable {
			check("no-"+o.long, "")
		}
		if flag := f.ShorthandLookup(o.short); o.short != "" && o.short != "h" &&
			(flag == nil || flag.Name != o.long) {
			t.Errorf("-%s is not --%s", o.short, o.long)
		}
	}
	if spellings != 112 {
		t.Errorf("the table has %d long spellings, criu 4.2 has 112", spellings)
	}
}

// docs/criu.md has each option once, in the order of criu's table, and says of it what the parser does.
func TestCRIUOptionsAreInTheDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/criu.md")
	if err != nil {
		t.Fatal(err)
	}
	fates := map[string]string{}
	for _, o := range criuOptions() {
		fates[o.name()] = map[fate]string{idle: "no effect", refused: "refused", containers: "refused"}[o.fate]
	}
	row := regexp.MustCompile("(?m)^\\| `--(\\[no-\\])?([a-z-]+)(\\S*)`(?:, `-(.)`)? \\| ([^|]+) \\|(?: ([^|]+))? \\|$")
	var got, want []string
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		got = append(got, m[1]+m[2]+","+m[4])
		if fate := fates[m[2]]; fate != "" && !strings.HasPrefix(m[5], fate) ||
			fate == "" && !strings.HasPrefix(m[5], "as criu") {
			t.Errorf("--%s: docs/criu.md says %q, the parser %q", m[2], m[5], fate)
		}
	}
	for _, o := range criuSpellings() {
		negation := map[bool]string{true: "[no-]"}[o.negatable]
		want = append(want, negation+o.long+","+o.short)
	}
	if !slices.Equal(got, want) {
		t.Errorf("docs/criu.md has\n%q\nwant\n%q", got, want)
	}
}

// sample is an argument that criu takes for an option.
func sample(o *criuOption) string {
	for _, s := range []string{"7", "net", "none", "iptables", "splice"} {
		if o.takes != noArgument && (o.values == nil || o.values(s)) {
			return "=" + s
		}
	}
	return ""
}

// What has no effect is said at -v, with the reason; what is refused names reason and remedy, all of it at once.
func TestOptionsThatAreOnlyCRIUs(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	args := []string{"restore", "-D", "/nonexistent"}
	var idles, refusals []string
	for _, o := range criuOptions() {
		spelled := "--" + o.name() + sample(&o)
		if o.fate == idle {
			idles = append(idles, spelled)
		} else {
			refusals = append(refusals, spelled)
		}
	}
	status, _, stderr := crpie(t, append(append(args, "-v"), idles...)...)
	for _, spelled := range idles {
		if !regexp.MustCompile(`(?m)^\(00\.\d+\) Warn: ` + regexp.QuoteMeta(spelled) +
			` has no effect: \S`).MatchString(stderr) {
			t.Errorf("%s: nothing is said at -v", spelled)
		}
	}
	if status != exitFailed || strings.Contains(stderr, "usage") {
		t.Errorf("status %d\n%s", status, stderr)
	}
	if _, _, stderr = crpie(t, append(args, idles...)...); strings.Contains(stderr, "no effect") {
		t.Errorf("it is said without -v, too:\n%s", stderr)
	}
	status, _, stderr = crpie(t, append(args, refusals...)...)
	for _, spelled := range refusals {
		if !regexp.MustCompile(`(?m)(^|^crpie: )` + regexp.QuoteMeta(spelled) +
			`: not supported: \S.*\n  hint: \S`).MatchString(stderr) {
			t.Errorf("%s: not refused with reason and hint", spelled)
		}
	}
	if status != exitUsage {
		t.Errorf("status %d\n%s", status, stderr)
	}
}

func TestArgumentsOfCRIUsOptions(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	for args, want := range map[string]string{
		"-t 0":                        `invalid argument "0" for "-t, --tree" flag`,
		"--network-lock pf":           `invalid argument "pf" for "--network-lock" flag`,
		"--cpu-cap=sse":               `invalid argument "sse" for "--cpu-cap" flag`,
		"--cpu-cap":                   "--cpu-cap: not supported: crpie checks what the threads' registers need\n  hint: run criu cpuinfo check",
		"--cpu-cap=fpu,cpu":           "--cpu-cap=fpu,cpu: not supported",
		"--cpu-cap=none,^cpu -v":      "Warn: --cpu-cap=none,^cpu has no effect",
		"--cpu-cap=fpu -v":            "Warn: --cpu-cap=fpu has no effect",
		"--external mnt[]":            "--external=mnt[]: not supported: crpie does not guess what was mounted\n  hint: ",
		"--external veth[a]:b@c":      "/nonexistent: no such file or directory",
		"--external unix[12] -v":      "Warn: --external=unix[12] has no effect: it is for criu dump",
		"--external foo":              `want file[MNT_ID:INODE], tty[RDEV:DEV], mnt[KEY]:PATH, net[KEY]:PATH, `,
		"-S":                          "--restore-sibling needs --restore-detached",
		"-d -S --no-daemon":           "--restore-sibling needs --restore-detached",
		"-d -S --no-restore-sibling":  "/nonexistent: no such file or directory",
		"--exec-cmd":                  "--exec-cmd needs a command after --",
		"--exec-cmd -d -- true":       "--exec-cmd and --restore-detached exclude each other",
		"true":                        `unexpected argument "true"`,
		"--log-pid":                   "--log-pid needs --log-file",
		"--log-pid --no-log-pid":      "/nonexistent: no such file or directory",
		"-x12,13 -sdlj -vvv -dv1 -v9": "/nonexistent: no such file or directory",
		"--cgroup-root a":             `invalid argument "a" for "--cgroup-root" flag: "a" is not the path of a cgroup`,
		"--cgroup-root cpu:/a/../b":   `"/a/../b" is not the path of a cgroup`,
		"--lsm-profile smack:x":       `want apparmor:NAME or selinux:NAME`,
		`--lsm-mount-context ""`:      "want a label, as system_u:object_r:container_file_t:s0:c1,c2",
		"--close 99 --close x":        `invalid argument "x" for "--close" flag`,
	} {
		status, _, stderr := crpie(t, append([]string{"restore", "-D", "/nonexistent"},
			strings.Fields(args)...)...)
		if !strings.Contains(stderr, want) || status == exitOK {
			t.Errorf("%s: status %d\n%s\nwant %s", args, status, stderr, want)
		}
	}
}

// -v counts from the default, as criu's does.
func TestVerbosity(t *testing.T) {
	for args, want := range map[string]report.LogLevel{
		"": 2, "-v": 3, "-vv": 4, "-vvvv": 4, "-v0": 0, "-v1": 1, "-dv4": 4, "--verbosity=3": 3,
		"--verbosity": 3, "-v1 -v": 2,
		"-v 4": 3, "-Dv4": 2, "-v12": 4, "-vd": 3, "-v1 -- -v4": 1,
	} {
		var r restoreFlags
		if err := r.read(r.usualFlags(), append([]string{"--no-default-config"},
			strings.Fields(args)...)); err != nil {
			t.Errorf("%s: %v", args, err)
		}
		if got := r.verbosity.level(); got != want {
			t.Errorf("%q: level %d, want %d", args, got, want)
		}
	}
}

// crpie names the command of criu that does what crpie does not.
func TestCommandsOfCRIU(t *testing.T) {
	for _, name := range []string{"dump", "pre-dump", "page-server", "lazy-pages", "service", "dedup", "cpuinfo",
		"exec"} {
		status, _, stderr := crpie(t, name, "-D", "a b", "it's", "\x1b")
		want := "\n  hint: criu " + name + ` -D 'a b' 'it'\''s' $'\x1b'` + "\n"
		if status != exitUsage || !strings.HasPrefix(stderr, "crpie: no command \""+name+"\": ") ||
			!strings.HasSuffix(stderr, want) {
			t.Errorf("status %d, %q", status, stderr)
		}
	}
	if _, _, stderr := crpie(t, "check"); !strings.Contains(stderr, "criu check") {
		t.Errorf("crpie check: %q", stderr)
	}
}

// A restore that names no option of criu's alone does not make half of all flags for nothing.
func TestUsualFlags(t *testing.T) {
	for args, want := range map[string]bool{
		"-d -D images -W work -o log -v4":      false,
		"-dD images --pie-plugin a.o --daemon": false,
		"-D images --no-evasive-devices":       true,
		"-D images -t 5":                       true,
		"-dt5":                                 true,
		"--link-remap":                         true,
		"--no-link-remap":                      true,
		"--unknown":                            true,
	} {
		var r restoreFlags
		f := r.usualFlags()
		err := r.read(f, append([]string{"--no-default-config"}, strings.Fields(args)...))
		if added := f.Lookup("tree") != nil; added != want || (err != nil) != (args == "--unknown") {
			t.Errorf("%s: criu's options are added: %v, %v", args, added, err)
		}
	}
	var usual, all restoreFlags
	if few, many := flagsOf(usual.usualFlags()), flagsOf(all.flags()); few > 85 || many < few+60 {
		t.Errorf("%d usual flags, %d in all", few, many)
	}
}

// flags are all that is accepted.
func (r *restoreFlags) flags() *pflag.FlagSet {
	f := r.usualFlags()
	r.criuOnly.add(f)
	return f
}

func flagsOf(f *pflag.FlagSet) (n int) {
	f.VisitAll(func(*pflag.Flag) { n++ })
	return n
}
