package planner

import (
	"bytes"
	"io/fs"
	"strings"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/buildid/buildidtest"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// What a file is now decides whether the images fit to it. What is wrong is said once, however many mappings there are.
func TestFileValidation(t *testing.T) {
	const exe = "/srv/v/bin/static"
	other := buildidtest.ELF64(buildidtest.BuildID([]byte("another build of it.")))
	size := job.Options{FileValidation: job.ByFileSize}
	for name, tc := range map[string]struct {
		build  []byte
		mode   fs.FileMode
		opts   job.Options
		change func(d *images.Dir)
		want   string
	}{
		"another build": {build: other,
			want: "task 18827 memory 400000-401000: " + exe +
				" has build id 616e6f74686572206275696c64206f662069742e, " +
				"but had 02843221bf2e9d74189a063b1349f7d3f8e4044b at dump time: it is another build\n" +
				"  hint: put back the build that was there at dump time; --file-validation filesize compares only sizes"},
		"no build id any more": {build: buildidtest.ELF64(),
			want: exe + " has no build id, but had 02843221bf2e9d74189a063b1349f7d3f8e4044b at dump time"},
		"longer": {build: buildidtest.ELF64(buildidtest.BuildID(make([]byte, 24))),
			want: exe + " has build id 0000"},
		"by size":        {build: other, opts: size},
		"dumped by size": {build: other, change: func(d *images.Dir) { dropBuildIDs(d) }},
		"dumped with a checksum": {change: func(d *images.Dir) {
			addChecksums(d)
		}, want: "the images have a checksum of " + exe},
		"checksum, by size": {change: func(d *images.Dir) { addChecksums(d) }, opts: size},
		"mode": {mode: 0o700, want: exe + " has mode 0700, but had 0755 at dump time\n" +
			"  hint: chmod 0755 " + exe + ", or restore with --skip-file-rwx-check"},
		"mode, skipped": {mode: 0o700, opts: job.Options{SkipFileRWX: true}},
		"set-user-ID": {mode: 0o755 | fs.ModeSetuid,
			want: exe + " has mode 4755, but had 0755 at dump time\n  hint: chmod 0755 " + exe},
		"set-user-ID, not rwx": {mode: 0o755 | fs.ModeSetuid, opts: job.Options{SkipFileRWX: true},
			want: exe + " has mode 4000, but had 0000"},
		"mode is by no method":  {mode: 0o700, opts: size, want: exe + " has mode 0700"},
		"as it was":             {},
		"as it was, every size": {opts: size},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			if tc.change != nil {
				tc.change(dir)
			}
			host := hostWith(hosttest.New(dir), exe, tc.build, tc.mode)
			_, err := buildSample(t, dir, host, &tc.opts)
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantRefusal(t, err, tc.want)
			if n := strings.Count(err.Error(), exe+" has"); n > 1 {
				t.Errorf("it is said %d times:\n%v", n, err)
			}
		})
	}
}

// hostWith has another file in the place of one; nil and 0: the same.
func hostWith(host *host.Host, path string, data []byte, mode fs.FileMode) *host.Host {
	stat, read := host.Stat, host.ReadFileAt
	host.Stat = func(name string) (fs.FileInfo, error) {
		info, err := stat(name)
		if name == path && mode != 0 {
			return hosttest.Info{Bytes: info.Size(), Kind: mode}, err
		}
		return info, err
	}
	host.ReadFileAt = func(name string, b []byte, off int64) (int, error) {
		if name == path && data != nil {
			return bytes.NewReader(data).ReadAt(b, off)
		}
		return read(name, b, off)
	}
	return host
}

func dropBuildIDs(d *images.Dir) {
	for _, f := range d.Files {
		if f.Reg != nil {
			f.Reg.BuildId = nil
		}
	}
}

func addChecksums(d *images.Dir) {
	for _, f := range d.Files {
		if f.Reg != nil {
			f.Reg.Checksum = pb.Uint32(7)
		}
	}
}
