//go:build linux && amd64

package swrk

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/criuconf"
	"github.com/crpie/crpie/internal/testenv"
)

const someRules = `# for all
pie-timeout 2s
pie-plugin all.o

[image=docker.io/*/redis:* name=web-?]
pie-plugin "redis web.o,key=a b"
[annotation=org.example.clone=yes]
restore-with graft
pie-allow-seccomp
[name=web-1]
pie-timeout 5s
pie-allow-seccomp=false
`

// Rules hold for the containers that they describe; of several the last one has the word, and lists grow.
func TestRules(t *testing.T) {
	rules, problems := parseRules("f", someRules)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, c := range []struct {
		is      container
		plugins string
		timeout string
		way     Way
		seccomp bool
	}{
		{container{}, "all.o", "2s", Auto, false},
		{container{names: []string{"web-1"}}, "all.o", "5s", Auto, false},
		{container{names: []string{"id", "web-2"}, images: []string{"docker.io/library/redis:7"}},
			"all.o redis web.o,key=a b", "2s", Auto, false},
		{container{names: []string{"web-22"}, images: []string{"docker.io/library/redis:7"}}, "all.o", "2s",
			Auto, false},
		{container{annotations: map[string]string{"org.example.clone": "yes"}}, "all.o", "2s", Graft, true},
		{container{names: []string{"web-1"}, annotations: map[string]string{"org.example.clone": "yes"}},
			"all.o", "5s",
			Graft, false},
		{container{annotations: map[string]string{"org.example.clone": "no"}}, "all.o", "2s", Auto, false},
	} {
		all := &config{Settings: defaults()}
		if err := all.follow(rules, func() (*container, error) { return &c.is, nil }); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(all.Plugins, " "); got != c.plugins || all.HookTimeout.String() != c.timeout ||
			all.Way != c.way || all.AllowSeccomp != c.seccomp {
			t.Errorf("%+v: %+v", c.is, all.Settings)
		}
	}
}

// Rules that another user could have written are refused: all such files, or their directory.
func TestRulesOfOthers(t *testing.T) {
	testenv.NeedRoot(t)
	f := &Front{ConfigDir: t.TempDir()}
	dir := filepath.Join(f.ConfigDir, "containers.d")
	write := func(name string, mode fs.FileMode, uid, gid int) {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(file, []byte("pie-timeout 1s\n"), 0o644), os.Chmod(file, mode),
			os.Chown(file, uid, gid)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write("a.conf", 0o644, 0, 0)
	if rules, err := f.rules(); err != nil || len(rules) != 1 {
		t.Fatalf("%v, %v", rules, err)
	}
	write("b.conf", 0o644, 1234, 0)
	write("c.conf", 0o664, 0, 7)
	write("d.conf", 0o602, 0, 0)
	_, err := f.rules()
	for _, want := range []string{"b.conf: belongs to user 1234,", "c.conf: mode 0664 ", "d.conf: mode 0602 "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := f.rules(); err == nil || !strings.HasPrefix(err.Error(), dir+": mode 0777 ") {
		t.Error(err)
	}
}

// crpie's lines in a file of another user's are refused, unless a rule of root's takes them. criu's own are criu's to
// judge.
func TestConfigOfOthers(t *testing.T) {
	testenv.NeedRoot(t)
	dir := t.TempDir()
	rules, file := filepath.Join(dir, "containers.d", "a.conf"), filepath.Join(dir, "runc.conf")
	write := func(name, text string, uid int) {
		t.Helper()
		if err := errors.Join(os.WriteFile(name, []byte(text), 0o644), os.Chown(name, uid, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Dir(rules), 0o755); err != nil {
		t.Fatal(err)
	}
	f := &Front{ConfigDir: dir, Getenv: func(string) string { return "" }}
	for _, c := range []struct {
		rules, text string
		refused     bool
	}{
		{"", "tcp-close\n", false},
		{"", "tcp-close\npie-timeout 1s\n", true},
		{"", "#crpie: pie-timeout 1s\n", true},
		{"", "pie-allow-untrusted\n", true},
		{"pie-allow-untrusted\n", "pie-timeout 1s\n", false},
	} {
		write(rules, c.rules, 0)
		write(file, c.text, 1234)
		_, err := f.read(file, nil)
		want := file + ": belongs to user 1234, whose code or settings would run with crpie's rights: " +
			"look at it and chown it to root, or say pie-allow-untrusted in a file of containers.d"
		if (err != nil) != c.refused || err != nil && err.Error() != want {
			t.Errorf("%q, %q: %v", c.rules, c.text, err)
		}
	}
}

// Everything that is wrong with a file comes out in one run, in its order.
func TestRuleProblems(t *testing.T) {
	_, problems := parseRules("f",
		"pie-timeout -1s\npie-plugin\n[\n[image]\npie-tmeout 1s\n[name=x]\nreal-criu /usr/sbin/criu\nreal-criu criu\n"+
			"pie-plugin a.o b.o\npie-plugin a.o,=v\nrestore-with \"x\npie-allow-seccomp maybe\n")
	want := []string{
		`f:1: pie-timeout: -1s: want a time such as 500ms or 10s`,
		`f:2: pie-plugin: give a value`,
		`f:3: [: want [image=PATTERN], [name=PATTERN], [annotation=KEY=PATTERN], or several of them apart`,
		`f:4: image: want image=PATTERN, name=PATTERN or annotation=KEY=PATTERN`,
		`f:5: unknown option pie-tmeout; there are pie-plugin, pie-timeout, pie-task, pie-resident-hooks, pie-allow-seccomp, pie-allow-skipped-stages, pie-allow-untrusted, pie-keep-vgetrandom, ` +
			`pie-keep-wipeonfork, restore-with, real-criu`,
		`f:11: no closing quote after "x"`,
		`f:7: real-criu: it is for all containers; write it above the first header`,
		`f:8: real-criu: criu: want an absolute path`,
		`f:9: pie-plugin: unexpected "b.o"; put values with spaces in double quotes`,
		`f:10: pie-plugin: --pie-plugin a.o,=...: a parameter has no name; write key=value`,
		`f:12: pie-allow-seccomp: maybe: want true, false, or nothing`,
	}
	if !slices.Equal(problems, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(problems, "\n"), strings.Join(want, "\n"))
	}
	long := strings.Repeat("\n", criuconf.MaxSize*3/4) + strings.Repeat("[name=x]\n", maxRules-1)
	if _, problems = parseRules("f", long+"pie-timeout"); !slices.Equal(problems,
		[]string{"f:787432: pie-timeout: give a value"}) {
		t.Errorf("got %q", problems)
	}
	_, problems = parseRules("f", strings.Repeat("[name=x]\n", maxRules+1))
	if want := "f:1001: more than 1000 headers"; len(problems) != 1 || problems[0] != want {
		t.Errorf("got %q, want %q", problems, want)
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"*", "", true}, {"", "a", false}, {"a*b", "a/x/b", true}, {"a*b", "a/x/bc", false},
		{"?", "",
			false},
		{"*a*a*", "banana", true}, {"x?z", "xyz", true}, {"*.o", "a.o.o", true}, {"**", "x", true},
		{"a", "b", false},
		{strings.Repeat("*a", 2000) + "b", strings.Repeat("a", 2000), false},
	} {
		if got := glob(c.pattern, c.s); got != c.want {
			t.Errorf("glob(%.20q, %.20q) = %v", c.pattern, c.s, got)
		}
	}
}

// A container is known by the bundle that criu is started in, and by its state directory.
func TestDescribe(t *testing.T) {
	t.Chdir(t.TempDir())
	write := func(text string) {
		if err := os.WriteFile("config.json", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"annotations":{"a":"b","io.kubernetes.cri.container-name":"web","io.kubernetes.cri.image-name":"redis:7"}}`)
	c, err := describe(&pb.CriuOpts{Root: pb.String("/run/runc/4711/criu-root")})
	if err != nil || !slices.Equal(c.names, []string{"4711", "web"}) ||
		!slices.Equal(c.images, []string{"redis:7"}) ||
		c.annotations["a"] != "b" {
		t.Errorf("got %+v, %v", c, err)
	}
	write(`{"annotations":3}`)
	if _, err := describe(&pb.CriuOpts{}); err == nil || !strings.HasPrefix(err.Error(), "config.json: json: ") {
		t.Errorf("got %v", err)
	}
}

// crun makes the root in the bundle, and podman keeps name and image in its storage.
func TestDescribeOfPodman(t *testing.T) {
	storage := t.TempDir()
	bundle := filepath.Join(storage, "4711", "userdata")
	if err := os.MkdirAll(bundle, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(bundle)
	root := &pb.CriuOpts{Root: pb.String(filepath.Join(bundle, "criu-root"))}
	if c, err := describe(root); err != nil || !slices.Equal(c.names, []string{"4711"}) || c.images != nil {
		t.Errorf("got %+v, %v", c, err)
	}
	list := filepath.Join(storage, "containers.json")
	text := `[{"id":"4712","names":["other"]},{"id":"4711","names":["web"],` +
		`"metadata":"{\"image-name\":\"docker.io/library/redis:7\",\"name\":\"web\"}"}]`
	if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := describe(root)
	if err != nil || !slices.Equal(c.names, []string{"4711", "web"}) ||
		!slices.Equal(c.images, []string{"docker.io/library/redis:7"}) {
		t.Errorf("got %+v, %v", c, err)
	}
	if err := os.WriteFile(list, []byte(`{`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := describe(root); err == nil || !strings.HasPrefix(err.Error(), list+": ") {
		t.Errorf("got %v", err)
	}
	t.Chdir(t.TempDir()) // of a bundle of one's own, crun's root has the name alone
	bundle, err = os.Getwd()
	if c, _ := describe(&pb.CriuOpts{Root: pb.String(bundle + "/criu-root")}); err != nil ||
		!slices.Equal(c.names, []string{filepath.Base(bundle)}) {
		t.Errorf("got %+v, %v", c, err)
	}
}

// Every field of a request is spelled as a flag, refused, or without effect on a restore by crpie: none is forgotten.
func TestNativeFlags(t *testing.T) {
	without := strings.Fields(`ImagesDirFd ImagesDir Pid LeaveRunning EvasiveDevices FileLocks LogFile NotifyScripts ParentImg TrackMem AutoDedup WorkDirFd
		LinkRemap ForceIrmap AutoExtMnt ExtSharing ExtMasters SkipMnt EnableFs UnixSkIno GhostLimit IrmapScanPaths CgroupProps CgroupPropsFile
		CgroupDumpController FreezeCgroup Timeout TcpSkipInFlight WeakSysctls StatusFd OrphanPtsMaster ConfigFile TlsCacert TlsCacrl TlsCert TlsKey Tls
		TlsNoCnVerify CgroupYard PreDumpMode PidfdStoreSk NetworkLock MntnsCompatMode Unprivileged DisplayStats LogToStderr`)
	plain, _ := nativeFlags(&pb.CriuOpts{})
	kind := reflect.TypeFor[pb.CriuOpts]()
	for i := range kind.NumField() {
		opts := &pb.CriuOpts{}
		set(reflect.ValueOf(opts).Elem().Field(i))
		flags, err := nativeFlags(opts)
		none := slices.Equal(flags, plain) && err == nil
		if name := kind.Field(i).Name; none != slices.Contains(without, name) {
			t.Errorf("%s: %q, %v", name, flags, err)
		}
	}
	flags, err := nativeFlags(&pb.CriuOpts{
		ManageCgroups: pb.Bool(true), CgRoot: []*pb.CgroupRoot{{Ctrl: pb.String("cpu"), Path: pb.String("/a")},
			{Path: pb.String("/b")}},
		LogLevel: pb.Int32(4), InheritFd: []*pb.InheritFd{{Key: pb.String("pipe:[7]"), Fd: pb.Int32(1)}},
		External: []string{"file[1:2]"},
		JoinNs: []*pb.JoinNamespace{{Ns: pb.String("uts"), NsFile: pb.String("/u")},
			{Ns: pb.String("time"), NsFile: pb.String("/t")}},
	})
	want := "--restore-detached --verbosity=4 --inherit-fd=fd[1]:pipe:[7] --external=file[1:2] --join-ns=uts:/u --join-ns=time:/t --manage-cgroups=soft --cgroup-root=cpu:/a --cgroup-root=/b"
	if err != nil || strings.Join(flags, " ") != want {
		t.Errorf("got %q, %v", flags, err)
	}
}

// Namespaces that cannot be joined are named.
func TestNativeJoins(t *testing.T) {
	for _, j := range []*pb.JoinNamespace{{Ns: pb.String("user"), NsFile: pb.String("/u")},
		{Ns: pb.String("uts"), NsFile: pb.String("/u"), ExtraOpt: pb.String("0,0")}} {
		flags, err := nativeFlags(&pb.CriuOpts{JoinNs: []*pb.JoinNamespace{j}})
		if err == nil || !strings.HasPrefix(err.Error(), "join_ns "+j.GetNs()+": not supported by crpie's own restorer: ") {
			t.Errorf("%q, %v", flags, err)
		}
	}
}

// set gives a field a value that is not the default.
func set(v reflect.Value) {
	switch {
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		v.SetBytes([]byte("\xf8\x3f\x07"))
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		if v.Type().Elem().Kind() == reflect.Pointer {
			v.Index(0).Set(reflect.New(v.Type().Elem().Elem()))
		}
	default:
		v.Set(reflect.New(v.Type().Elem()))
		switch e := v.Elem(); {
		case e.Kind() == reflect.Bool:
			e.SetBool(true)
		case e.CanInt():
			e.SetInt(1)
		case e.CanUint():
			e.SetUint(1)
		}
	}
}

// FuzzRequest: whatever comes, the type that is found without decoding is the one that decoding finds.
func FuzzRequest(f *testing.F) {
	f.Add(request(f, pb.CriuReqType_RESTORE, &pb.CriuOpts{ImagesDirFd: pb.Int32(3), ConfigFile: pb.String("x")}))
	f.Add([]byte{0x08, 0x02, 0x08, 0x0a})
	f.Add([]byte("\x12\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		kind, ok := messageType(data)
		req := &pb.CriuReq{}
		_, err := images.Unmarshal(data, req)
		if err != nil {
			return
		}
		if !ok && !bytes.ContainsAny(data,
			"\x03\x0b\x13\x1b\x23\x2b\x33\x3b\x43\x4b\x53\x5b\x63\x6b\x73\x7b\x83\x8b\x93\x9b\xa3\xab\xb3\xbb\xc3\xcb\xd3\xdb\xe3\xeb\xf3\xfb") {
			t.Errorf("type %v is not found", req.GetType())
		}
		if ok && kind != req.GetType() {
			t.Errorf("type %v, want %v", kind, req.GetType())
		}
	})
}
