//go:build linux && amd64

package swrk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/ended"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/testenv"
)

// The test binary is also the front, and a criu that writes down what it gets.
const (
	role       = "CRPIE_SWRK_TEST_ROLE"
	reportFile = "CRPIE_SWRK_TEST_REPORT" // file
	manner     = "CRPIE_SWRK_TEST_MANNER" // how this criu behaves
)

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "front":
		os.Exit(beFront())
	case "criu":
		os.Exit(beCRIU())
	}
	os.Exit(m.Run())
}

func beFront() (status int) {
	f := &Front{ConfigDir: os.Getenv("CRPIE_CONFIG_DIR"), Getenv: os.Getenv, Tool: "test", Errors: os.Stderr,
		Native: beRestorer}
	err := ended.Until(func(ctx context.Context) (err error) {
		status, err = f.Serve(ctx, 3)
		return err
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return ended.Status(err, 1)
	}
	return status
}

// beRestorer is crpie's own restorer, which takes a request only if the test wants it.
func beRestorer(ctx context.Context, q *NativeRequest) (int, error) {
	if os.Getenv(manner) != "native" {
		return 0, &NotPlanned{errors.New("not this one")}
	}
	for _, script := range []string{"pre-restore", "post-restore"} {
		if err := q.Notify(ctx, script, 4711); err != nil {
			return 0, err
		}
	}
	data, err := json.Marshal(&seen{Args: append(q.Plugins[:4], q.Flags...), Config: q.ConfigText})
	if err == nil {
		err = os.WriteFile(os.Getenv(reportFile), data, 0o600)
	}
	return 4711, err
}

// seen is what the criu of these tests has seen.
type seen struct {
	Args      []string
	Pid, PPid int
	Message   []byte
	Images    string
	Config    string
	Inherited string // what descriptor 4 refers to
	Acks      []bool
	Environ   string // of the process that is dumped
	WasFrozen bool   // its cgroup
	Child     int
}

// beCRIU answers a request as criu would, in the manner that the test wants.
func beCRIU() int {
	line := sys.Borrow(3)
	s := &seen{Args: os.Args[1:], Pid: os.Getpid(), PPid: os.Getppid()}
	defer s.report()
	s.Inherited, _ = os.Readlink("/proc/self/fd/4")
	if len(s.Args) != 2 {
		return 42
	}
	buffer := make([]byte, 2*maxMessage)
	n, _, err := line.Receive(buffer)
	if err != nil {
		return 1
	}
	s.Message = buffer[:n]
	req := &pb.CriuReq{}
	if _, err := images.Unmarshal(s.Message, req); err != nil {
		return 1
	}
	s.look(line, req.Opts)
	return s.answer(line, req, os.Getenv(manner))
}

// report writes down what there is so far.
func (s *seen) report() {
	data, _ := json.Marshal(s)
	_ = os.WriteFile(os.Getenv(reportFile), data, 0o600)
}

// look finds images and configuration where criu looks for them.
func (s *seen) look(line sys.Channel, opts *pb.CriuOpts) {
	peer, _ := line.Peer()
	s.Images, _ = os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", peer, opts.GetImagesDirFd()))
	text, _ := os.ReadFile(opts.GetConfigFile())
	s.Config = string(text)
	if opts.StatusFd != nil {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/fd/%d", peer, *opts.StatusFd), []byte("ready"), 0)
	}
}

func (s *seen) answer(line sys.Channel, req *pb.CriuReq, manner string) int {
	say := func(resp *pb.CriuResp, fds ...int) {
		data, err := images.Marshal(resp)
		if err == nil {
			err = line.Send(data, fds...)
		}
		if err != nil {
			os.Exit(1)
		}
	}
	notify := func(script string, pid *int32, fds ...int) {
		kind := pb.CriuReqType_NOTIFY
		say(&pb.CriuResp{Type: &kind, Success: pb.Bool(true),
			Notify: &pb.CriuNotify{Script: &script, Pid: pid}}, fds...)
		buffer := make([]byte, maxMessage)
		n, _, err := line.Receive(buffer)
		if err != nil {
			os.Exit(1)
		}
		ack := &pb.CriuReq{}
		_, err = images.Unmarshal(buffer[:n], ack)
		s.Acks = append(s.Acks, err == nil && ack.GetNotifySuccess())
	}
	final := &pb.CriuResp{Type: req.Type, Success: pb.Bool(true),
		Restore: &pb.CriuRestoreResp{Pid: pb.Int32(int32(os.Getpid()))}}
	switch manner {
	case "die":
		return 9
	case "wait":
		notify("pre-restore", nil)
		time.Sleep(time.Minute)
	case "late":
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, syscall.SIGTERM)
		unix.CloseOnExec(3)
		child := exec.Command("sleep", "1000")
		if err := child.Start(); err != nil {
			return 1
		}
		kind := pb.CriuReqType_NOTIFY
		say(&pb.CriuResp{Type: &kind, Success: pb.Bool(true),
			Notify: &pb.CriuNotify{Script: pb.String("pre-restore")}})
		<-ended
		s.Child, final.Restore.Pid = child.Process.Pid, pb.Int32(int32(child.Process.Pid))
	case "silent": // but to those who have asked for notifications
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, syscall.SIGTERM)
		unix.CloseOnExec(3)
		child := exec.Command("sleep", "1000")
		if err := child.Start(); err != nil {
			return 1
		}
		s.Child = child.Process.Pid
		if req.Opts.GetNotifyScripts() {
			notify("setup-namespaces", pb.Int32(int32(s.Child)))
		}
		s.report()
		<-ended
		return 1
	case "fail":
		final.Success, final.CrErrno, final.CrErrmsg = pb.Bool(false), pb.Int32(17), pb.String("no such luck")
		say(final)
		return 1
	case "dump", "dump-fail", "dump-refuse", "dump-die":
		if manner != "dump-refuse" {
			s.dump(req.Opts)
		}
		if manner == "dump-die" {
			return 9
		}
		if final.Restore = nil; manner != "dump" {
			final.Success = pb.Bool(false)
			say(final)
			return 1
		}
	case "notify":
		notify("pre-restore", nil)
		notify("orphan-pts-master", nil, 0)
		notify("post-restore", pb.Int32(1234))
		if slices.Contains(s.Acks, false) {
			final.Success = pb.Bool(false)
			say(final)
			return 1
		}
	}
	say(final)
	return 0
}

// runtime is somebody who starts crpie as criu.
type runtime struct {
	t      *testing.T
	line   sys.Channel
	cmd    *exec.Cmd
	stderr bytes.Buffer
	dir    string
	manner string
	waited bool
}

// newRuntime makes the directories of a test: rules for containers, images, work.
func newRuntime(t *testing.T, manner, rules string) *runtime {
	t.Helper()
	r := &runtime{t: t, dir: t.TempDir(), manner: manner}
	for _, d := range []string{"containers.d", "images", "work"} {
		if err := os.Mkdir(filepath.Join(r.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r.write("criu", fmt.Sprintf("#!/bin/sh\n%s=criu exec '%s' \"$@\"\n", role, self))
	if err := os.Chmod(r.path("criu"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.write("containers.d/a.conf", "real-criu "+r.path("criu")+"\n"+rules)
	return r
}

func (r *runtime) path(name string) string { return filepath.Join(r.dir, name) }

func (r *runtime) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(r.path(name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// start starts the front and sends it a packet, unless that is nil.
func (r *runtime) start(packet []byte) {
	r.t.Helper()
	ours, its, err := sys.NewChannel()
	if err != nil {
		r.t.Fatal(err)
	}
	number, err := its.Bequeath()
	if err != nil {
		r.t.Fatal(err)
	}
	end := os.NewFile(uintptr(number), "its end")
	defer end.Close()
	null, err := os.Open("/dev/zero")
	if err != nil {
		r.t.Fatal(err)
	}
	defer null.Close()
	r.line = ours
	r.t.Cleanup(ours.Close)
	r.cmd = exec.Command("/proc/self/exe")
	r.cmd.ExtraFiles, r.cmd.Stderr = []*os.File{end, null}, &r.stderr
	r.cmd.Env = append(os.Environ(), role+"=front", "CRPIE_CONFIG_DIR="+r.dir, reportFile+"="+r.path("report"),
		manner+"="+r.manner, "HOME=/nonexistent")
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if !r.waited {
			r.cmd.Process.Kill()
			r.cmd.Wait()
		}
	})
	if packet == nil {
		return
	}
	if err := ours.Send(packet); err != nil {
		r.t.Fatal(err)
	}
}

// receive gives the next message, nil at the end.
func (r *runtime) receive() (*pb.CriuResp, []int) {
	r.t.Helper()
	buffer := make([]byte, maxMessage)
	n, fds, err := r.line.Receive(buffer)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	resp := &pb.CriuResp{}
	if err == nil {
		_, err = images.Unmarshal(buffer[:n], resp)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return resp, fds
}

// agreeToAll answers notifications until the answer comes, or the end: nil.
func (r *runtime) agreeToAll() *pb.CriuResp {
	r.t.Helper()
	for {
		resp, fds := r.receive()
		for _, fd := range fds {
			unix.Close(fd)
		}
		if resp == nil || resp.GetType() != pb.CriuReqType_NOTIFY {
			return resp
		}
		if err := r.line.Send(append(request(r.t, pb.CriuReqType_NOTIFY, nil), 0x18, 1)); err != nil {
			return nil
		}
	}
}

// status waits for the end of what was started.
func (r *runtime) status() int {
	r.t.Helper()
	r.waited = true
	err := r.cmd.Wait()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		r.t.Fatal(err)
	}
	return r.cmd.ProcessState.ExitCode()
}

// seen is what criu has written down, when it has ended.
func (r *runtime) seen() *seen {
	r.t.Helper()
	s := &seen{}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		data, err := os.ReadFile(r.path("report"))
		if err == nil && json.Unmarshal(data, s) == nil {
			return s
		}
	}
	r.t.Fatalf("criu has not reported: %s", &r.stderr)
	return nil
}

// request encodes a request.
func request(t testing.TB, kind pb.CriuReqType, opts *pb.CriuOpts) []byte {
	t.Helper()
	data, err := images.Marshal(&pb.CriuReq{Type: &kind, Opts: opts})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// restoreOpts are those of a plain request to restore.
func (r *runtime) restoreOpts() *pb.CriuOpts {
	r.t.Helper()
	return &pb.CriuOpts{ImagesDirFd: r.open("images"), WorkDirFd: r.open("work"), LogFile: pb.String("restore.log")}
}

// open gives the number of a descriptor of the runtime.
func (r *runtime) open(name string) *int32 {
	r.t.Helper()
	f, err := os.Open(r.path(name))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { f.Close() })
	return pb.Int32(int32(f.Fd()))
}

// Whatever is not to be touched reaches criu as it was sent, in the process that the runtime has started.
func TestPassThrough(t *testing.T) {
	opts := &pb.CriuOpts{ImagesDirFd: pb.Int32(-1), Unknown: []byte("\xfa\x3f\x03abc")}
	packets := map[string][]byte{
		"no protobuf":   []byte("\xff\xff\xff"),
		"no type":       {0x12, 0x00},
		"a new request": {0x08, 99},
		"keep_open":     append(request(t, pb.CriuReqType_RESTORE, opts), 0x20, 1),
		"no opts":       request(t, pb.CriuReqType_VERSION, nil),
	}
	for kind := pb.CriuReqType_EMPTY; kind <= pb.CriuReqType_SINGLE_PRE_DUMP; kind++ {
		packets[kind.String()] = request(t, kind, opts)
	}
	for name, packet := range packets {
		t.Run(name, func(t *testing.T) {
			r := newRuntime(t, "", "")
			r.start(packet)
			resp, _ := r.receive()
			status, s := r.status(), r.seen()
			if !bytes.Equal(s.Message, packet) || !slices.Equal(s.Args, []string{"swrk", "3"}) ||
				s.Inherited != "/dev/zero" {
				t.Errorf("criu got %q %q, descriptor 4 is %s", s.Message, s.Args, s.Inherited)
			}
			if s.Pid != r.cmd.Process.Pid || resp.GetSuccess() != (status == 0) {
				t.Errorf("criu is %d, started was %d; answer %v, status %d", s.Pid, r.cmd.Process.Pid,
					resp, status)
			}
		})
	}
}

// A request of which criu's part must not reach it is carried between both, and nobody notices.
func TestRelay(t *testing.T) {
	for _, sibling := range []bool{false, true} {
		t.Run(fmt.Sprintf("sibling=%v", sibling), func(t *testing.T) {
			r := newRuntime(t, "notify", "restore-with criu\n")
			r.write("runc.conf", "tcp-close\npie-plugin /no/such.o,key=secret\n#crpie: pie-timeout 1s\nfile-locks\n")
			opts := r.restoreOpts()
			opts.ConfigFile, opts.NotifyScripts, opts.RstSibling = pb.String(r.path("runc.conf")),
				pb.Bool(true), &sibling
			opts.Unknown = []byte("\xfa\x3f\x03abc")
			r.write("status", "")
			opts.StatusFd = r.open("status")
			r.start(request(t, pb.CriuReqType_RESTORE, opts))
			var scripts []string
			for range 3 {
				resp, fds := r.receive()
				scripts = append(scripts, fmt.Sprint(resp.GetNotify().GetScript(), " ",
					resp.GetNotify().GetPid(), " ", len(fds)))
				for _, fd := range fds {
					syscall.Close(fd)
				}
				ack := request(t, pb.CriuReqType_NOTIFY, nil)
				if err := r.line.Send(append(ack, 0x18, 1)); err != nil { // notify_success
					t.Fatal(err)
				}
			}
			want := []string{"pre-restore 0 0", "orphan-pts-master 0 1", "post-restore 1234 0"}
			resp, _ := r.receive()
			s := r.seen()
			if !slices.Equal(scripts, want) || !slices.Equal(s.Acks, []bool{true, true, true}) {
				t.Errorf("notifications %q, want %q; answers %v", scripts, want, s.Acks)
			}
			if !resp.GetSuccess() || resp.GetRestore().GetPid() != int32(s.Pid) || r.status() != 0 {
				t.Errorf("answer %v, status %d, %s", resp, r.status(), &r.stderr)
			}
			if want := "tcp-close\n\n#crpie: pie-timeout 1s\nfile-locks\n"; s.Config != want ||
				s.Images != r.path("images") {
				t.Errorf("criu's configuration is %q, want %q; its images are %s", s.Config, want,
					s.Images)
			}
			if !bytes.Contains(s.Message, opts.Unknown) || s.Inherited != "/dev/zero" ||
				!slices.Equal(s.Args, []string{"swrk", "3"}) {
				t.Errorf("criu got %q %q, descriptor 4 is %s", s.Message, s.Args, s.Inherited)
			}
			if parent := map[bool]int{false: r.cmd.Process.Pid,
				true: os.Getpid()}[sibling]; s.PPid != parent {
				t.Errorf("criu's parent is %d, want %d", s.PPid, parent)
			}
			if text, err := os.ReadFile(r.path("status")); err != nil || string(text) != "ready" {
				t.Errorf("status_fd has %q, %v", text, err)
			}
			if sibling {
				reap(s.Pid)
			}
		})
	}
}

func reap(pid int) {
	var status unix.WaitStatus
	_, _ = unix.Wait4(pid, &status, 0, nil)
}

// A dump around which no hook runs and whose configuration has lines of crpie's reaches criu without them, and nothing else is done about it.
func TestDumpWithLines(t *testing.T) {
	plugin := testenv.Plugin(t, "plugin-sdk/examples/trace.c")
	for pid, want := range map[int32]string{
		1234: "",
		0:    "a process that dumps itself: not supported with lines of crpie's in DIR/runc.conf; write them as #crpie: comments",
	} {
		r := newRuntime(t, "", "")
		r.write("runc.conf", "pie-plugin "+plugin+"\ntcp-close\n")
		opts := r.restoreOpts()
		opts.ConfigFile = pb.String(r.path("runc.conf"))
		if pid != 0 {
			opts.Pid = &pid
		}
		r.start(request(t, pb.CriuReqType_DUMP, opts))
		resp, _ := r.receive()
		want = strings.ReplaceAll(want, "DIR", r.dir)
		if status := r.status(); resp.GetType() != pb.CriuReqType_DUMP || resp.GetSuccess() != (status == 0) ||
			resp.GetCrErrmsg() != want {
			t.Errorf("status %d, answer %v, %s", status, resp, resp.GetCrErrmsg())
		}
		if want != "" {
			continue
		}
		if s := r.seen(); s.Config != "\ntcp-close\n" || s.Images != r.path("images") {
			t.Errorf("criu's configuration is %q, its images are %s", s.Config, s.Images)
		}
	}
}

// relayed is a runtime that restores by a relay, in which criu behaves in a manner.
func relayed(t *testing.T, manner string) *runtime {
	t.Helper()
	r := newRuntime(t, manner, "restore-with criu\n")
	r.write("runc.conf", "pie-timeout 1s\n")
	opts := r.restoreOpts()
	opts.ConfigFile, opts.NotifyScripts = pb.String(r.path("runc.conf")), pb.Bool(manner != "silent")
	r.start(request(t, pb.CriuReqType_RESTORE, opts))
	return r
}

// What goes wrong in criu, or in the runtime, ends as it ends without us.
func TestRelayFailures(t *testing.T) {
	r := relayed(t, "fail")
	if resp, _ := r.receive(); resp.GetSuccess() || resp.GetCrErrno() != 17 ||
		resp.GetCrErrmsg() != "no such luck" ||
		r.status() != 1 {
		t.Errorf("criu failed: answer %v, status %d", resp, r.status())
	}
	r = relayed(t, "die")
	if resp, _ := r.receive(); resp.GetSuccess() || resp.GetType() != pb.CriuReqType_RESTORE ||
		resp.GetCrErrmsg() != "criu has ended without an answer" || r.status() != 1 {
		t.Errorf("criu died: answer %v, status %d", resp, r.status())
	}
	r = relayed(t, "notify")
	r.receive()
	if err := r.line.Send(request(t, pb.CriuReqType_NOTIFY, nil)); err != nil { // no success
		t.Fatal(err)
	}
	r.receive()
	r.line.CloseWrite()
	if r.status() != 1 {
		t.Error("the runtime hung up: status 0")
	}
}

// crpie's own restorer is asked first, and the runtime is told what criu would tell it.
func TestNative(t *testing.T) {
	for _, agree := range []bool{true, false} {
		r := newRuntime(t, "native", "pie-plugin x.o,key=v\n")
		r.write("runc.conf", "tcp-close\npie-timeout 3s\npie-resident-hooks\n")
		opts := r.restoreOpts()
		opts.ConfigFile, opts.NotifyScripts, opts.RstSibling = pb.String(r.path("runc.conf")), pb.Bool(true),
			pb.Bool(true)
		r.start(request(t, pb.CriuReqType_RESTORE, opts))
		for _, want := range []string{"pre-restore 0", "post-restore 4711"} {
			resp, _ := r.receive()
			if got := fmt.Sprint(resp.GetNotify().GetScript(), " ",
				resp.GetNotify().GetPid()); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			word := request(t, pb.CriuReqType_NOTIFY, nil)
			if agree || want == "pre-restore 0" {
				word = append(word, 0x18, 1) // notify_success
			}
			if err := r.line.Send(word); err != nil {
				t.Fatal(err)
			}
		}
		resp, _ := r.receive()
		status := r.status()
		if !agree {
			if want := "notification post-restore: the runtime reported an error"; status != 1 ||
				resp.GetSuccess() ||
				resp.GetCrErrmsg() != want || resp.GetCrErrno() != int32(unix.ECANCELED) {
				t.Errorf("status %d, answer %v, %s", status, resp, resp.GetCrErrmsg())
			}
			continue
		}
		s := r.seen()
		want := "--pie-plugin=x.o,key=v --resident-hooks=auto --pie-timeout=3s --keep-vgetrandom=false --restore-detached --restore-sibling"
		if status != 0 || !resp.GetSuccess() || resp.GetRestore().GetPid() != 4711 ||
			strings.Join(s.Args, " ") != want ||
			s.Config != "tcp-close\n\n\n" {
			t.Errorf("status %d, answer %v, flags %q, configuration %q", status, resp, s.Args, s.Config)
		}
	}
}

// A signal ends criu, too, and the runtime learns of it.
func TestSignal(t *testing.T) {
	r := relayed(t, "wait")
	r.receive()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	resp, _ := r.receive()
	if status := r.status(); status != 128+15 || resp.GetSuccess() || resp.GetCrErrmsg() != "ended by SIGTERM" {
		t.Errorf("status %d, answer %v", status, resp)
	}
	if log, err := os.ReadFile(r.path("work/restore.log")); err != nil ||
		!strings.Contains(string(log), "Error (crpie): ended by SIGTERM\n") {
		t.Errorf("log %q, %v", log, err)
	}
}

// What criu has restored while a signal ended the front is undone: the runtime is told that there is nothing.
func TestSignalBesideAnswer(t *testing.T) {
	r := relayed(t, "late")
	r.receive()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	resp, _ := r.receive()
	status, child := r.status(), r.seen().Child
	if status != 128+15 || resp.GetSuccess() {
		t.Errorf("status %d, answer %v, %s", status, resp, &r.stderr)
	}
	state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
	if child == 0 || err == nil && !strings.Contains(string(state), ") Z ") {
		syscall.Kill(child, syscall.SIGKILL)
		t.Errorf("process %d is left: %s", child, state)
	}
}

// A runtime that asks for no notifications gets none; what criu had begun for it is undone all the same.
func TestSignalToSilentRestore(t *testing.T) {
	r := relayed(t, "silent")
	child := r.seen().Child
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	resp, _ := r.receive()
	if status := r.status(); status != 128+15 || resp.GetSuccess() || resp.GetType() != pb.CriuReqType_RESTORE {
		t.Errorf("status %d, answer %v, %s", status, resp, &r.stderr)
	}
	state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
	if child == 0 || err == nil && !strings.Contains(string(state), ") Z ") {
		syscall.Kill(child, syscall.SIGKILL)
		t.Errorf("process %d is left: %s", child, state)
	}
}

// A signal also ends a front that waits for a request, as it ends a criu.
func TestSignalBeforeRequest(t *testing.T) {
	r := newRuntime(t, "", "")
	r.start(nil)
	for !waits(t, r.cmd.Process.Pid) {
		time.Sleep(time.Millisecond)
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(30*time.Second, func() { r.cmd.Process.Kill() })
	defer stuck.Stop()
	if status := r.status(); status != 128+15 || !strings.Contains(r.stderr.String(), "ended by SIGTERM") {
		t.Errorf("status %d, %s", status, &r.stderr)
	}
}

// waits reports whether a thread of a process is in recvfrom(2) on descriptor 3, proc_pid_syscall(5).
func waits(t *testing.T, pid int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("threads of %d: %v %v", pid, threads, err)
	}
	return slices.ContainsFunc(threads, func(name string) bool {
		call, err := os.ReadFile(name)
		return err == nil && strings.HasPrefix(string(call), fmt.Sprintf("%d 0x3 ", unix.SYS_RECVFROM))
	})
}

// Who asks too much gets an answer, also if it reads when crpie has ended.
func TestTooLong(t *testing.T) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ends[0])
	err = unix.SetsockoptInt(ends[0], unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4*maxMessage)
	if err == nil {
		err = unix.Sendto(ends[0], make([]byte, maxMessage+1), 0, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	status, err := (&Front{}).Serve(t.Context(), ends[1])
	unix.Close(ends[1])
	if status != 1 || err == nil || err.Error() != "request of 1048577 bytes, more than 1048576" {
		t.Errorf("status %d, %v", status, err)
	}
	answer := make([]byte, maxMessage)
	n, _, err := unix.Recvfrom(ends[0], answer, 0)
	resp := &pb.CriuResp{}
	if err == nil {
		_, err = images.Unmarshal(answer[:n], resp)
	}
	if err != nil || resp.GetSuccess() || resp.GetCrErrno() != int32(unix.EBADRQC) {
		t.Errorf("answer %v, %v", resp, err)
	}
}

// What is wrong in rules fails no dump, and does not make another criu dump than the one that they name.
func TestDumpBesideWrongRules(t *testing.T) {
	r := newRuntime(t, "", "pie-timeout soon\n[name]\n")
	r.start(request(t, pb.CriuReqType_DUMP, r.restoreOpts()))
	if resp, _ := r.receive(); !resp.GetSuccess() || r.status() != 0 {
		t.Errorf("answer %v, status %d, %s", resp, r.status(), &r.stderr)
	}
}

// /dev/null in a configuration file's place says nothing.
func TestNullConfiguration(t *testing.T) {
	r := newRuntime(t, "", "")
	opts := r.restoreOpts()
	opts.ConfigFile = pb.String(os.DevNull)
	r.start(request(t, pb.CriuReqType_RESTORE, opts))
	if resp, _ := r.receive(); !resp.GetSuccess() || r.status() != 0 {
		t.Errorf("answer %v, status %d, %s", resp, r.status(), &r.stderr)
	}
}

// What cannot be done is said in an answer, in the log, and criu is not started.
func TestRefused(t *testing.T) {
	lazy := func(o *pb.CriuOpts) {
		o.LazyPages, o.LeaveStopped, o.ExecCmd = pb.Bool(true), pb.Bool(true), []string{"sh"}
	}
	for _, c := range []struct {
		name, rules, conf string
		change            func(*pb.CriuOpts)
		want              string
	}{
		{"native", "restore-with crpie\n", "", nil, "not this one"},
		{"native requests", "restore-with crpie\npie-task root\n", "", func(o *pb.CriuOpts) {
			o.LazyPages, o.Unknown = pb.Bool(true), []byte("\xfa\x3f\x03abc")
		}, "lazy_pages: not supported by crpie's own restorer: it writes all memory before a process runs\n" +
			"field 1023: not supported by crpie's own restorer: this crpie does not know it\n" +
			"pie-task: only for grafts; write select= behind the plugin"},
		{"no plugin", "restore-with graft\n", "", nil,
			"restore-with graft: no pie-plugin is configured for this container"},
		{"requests", "pie-plugin x.o\n", "", lazy,
			"lazy_pages: not supported together with pie-plugin: pages of plugins are in no page server\n" +
				"leave_stopped: not supported together with pie-plugin: hooks would run when the tasks are continued, and nobody could wait for them\n" +
				"exec_cmd: not supported together with pie-plugin: the command would run before the hooks"},
		{"rules", "pie-timeout soon\n[name]\n", "", nil,
			"DIR/containers.d/a.conf:2: pie-timeout: soon: want a time such as 500ms or 10s\n" +
				"DIR/containers.d/a.conf:3: name: want image=PATTERN, name=PATTERN or annotation=KEY=PATTERN"},
		{"config", "", "tcp-close\npie-plugn x.o\nrestore-with magic\n", nil,
			"DIR/runc.conf:2: unknown option pie-plugn; there are pie-plugin, pie-timeout, " +
				"pie-task, pie-resident-hooks, pie-allow-seccomp, pie-allow-skipped-stages, pie-allow-untrusted, pie-keep-vgetrandom, pie-keep-wipeonfork, restore-with, real-criu\n" +
				"DIR/runc.conf:3: restore-with: magic: want auto, crpie, graft or criu"},
		{"hidden lines", "", "tcp-close\n#crpie: pie-plugin \"x.o\n#crpie: --pie-task root\n", nil,
			"DIR/runc.conf:2: no closing quote after \"x.o\"\n" +
				"DIR/runc.conf:3: \"--pie-task\": options are written without dashes here: pie-task"},
		{"descriptors", "pie-plugin x.o,a=@fd:3,b=@fd:4\n", "", nil, "DIR/containers.d/a.conf:2: pie-plugin: " +
			"parameter a=@fd:3: a runtime starts crpie with descriptors of its own: give @FILE or @env:NAME\n" +
			"parameter b=@fd:4: a runtime starts crpie with descriptors of its own: give @FILE or @env:NAME"},
		{"images", "pie-plugin x.o\n", "", nil, "images inventory.img: the image is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRuntime(t, "", c.rules)
			opts := r.restoreOpts()
			if c.conf != "" {
				r.write("runc.conf", c.conf)
				opts.ConfigFile = pb.String(r.path("runc.conf"))
			}
			if c.change != nil {
				c.change(opts)
			}
			r.start(request(t, pb.CriuReqType_RESTORE, opts))
			resp, _ := r.receive()
			want := strings.ReplaceAll(c.want, "DIR", r.dir)
			if status := r.status(); status != 1 || resp.GetSuccess() || resp.GetCrErrmsg() != want ||
				resp.GetCrErrno() != int32(unix.EBADRQC) {
				t.Errorf("status %d, answer %v\n%s\nwant\n%s", status, resp, resp.GetCrErrmsg(), want)
			}
			log, err := os.ReadFile(r.path("work/restore.log"))
			if first, _, _ := strings.Cut(want, "\n"); err != nil ||
				!strings.Contains(string(log), "crpie: Error (crpie): "+first+"\n") {
				t.Errorf("log %q, %v", log, err)
			}
			if _, err := os.Stat(r.path("report")); err == nil {
				t.Error("criu was started")
			}
			if left, _ := filepath.Glob(r.path(".crpie*")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// Hostile requests get an answer, or criu; none of them hangs or panics.
func TestHostile(t *testing.T) {
	r := newRuntime(t, "", "")
	r.start(append(request(t, pb.CriuReqType_RESTORE, nil), 0x12, 2, 0xff, 0xff)) // opts that are none
	if resp, _ := r.receive(); resp.GetSuccess() || resp.GetType() != pb.CriuReqType_RESTORE ||
		resp.GetCrErrno() != int32(unix.EBADRQC) || r.status() != 1 {
		t.Errorf("answer %v, status %d", resp, r.status())
	}
	r = newRuntime(t, "", "pie-plugin x.o\n")
	opts := r.restoreOpts()
	opts.ImagesDirFd = pb.Int32(54321)
	r.start(request(t, pb.CriuReqType_RESTORE, opts))
	if resp, _ := r.receive(); resp.GetSuccess() ||
		!strings.Contains(resp.GetCrErrmsg(), "fd/54321: no such file") ||
		r.status() != 1 {
		t.Errorf("answer %v, status %d", resp, r.status())
	}
}

// If what is configured as criu is crpie again, somebody says so instead of starting it for ever.
func TestCRIUIsNotCrpie(t *testing.T) {
	r := newRuntime(t, "", "")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r.write("containers.d/a.conf", "real-criu "+self+"\n")
	r.start(request(t, pb.CriuReqType_VERSION, nil))
	if resp, _ := r.receive(); resp != nil || r.status() != 1 ||
		!strings.Contains(r.stderr.String(), "it is crpie itself") {
		t.Errorf("answer %v, %s", resp, &r.stderr)
	}
	r = newRuntime(t, "", "")
	r.write("criu", fmt.Sprintf("#!/bin/sh\nexec '%s' \"$@\"\n", self)) // the role is still front
	r.start(request(t, pb.CriuReqType_VERSION, nil))
	if resp, _ := r.receive(); resp != nil || r.status() != 1 ||
		!strings.Contains(r.stderr.String(), "has started crpie again") {
		t.Errorf("answer %v, %s", resp, &r.stderr)
	}
}
