//go:build amd64

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/doctor"
	"github.com/crpie/crpie/internal/ended"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/files"
)

const doctorUsage = "doctor [--format text|json] [--clean] [DIR...] | --clones -D DIR | --clones --archive FILE"

func doctorManual() *manual {
	return &manual{
		usage: doctorUsage,
		about: `Checks whether this machine is set up to restore containers with crpie, and tells what to do: the real criu and the
kernel, the runtimes and which criu they would start, configuration files and the plugins in them, and what killed
restores have left, in the usual places and below each DIR. runc, crun and podman are looked at as if they were started
here, with this PATH; CRI-O and containerd with the PATH of their services. The status is 0 if there is no problem, else 1.

With --clones it looks at images instead, and lists what several restores of them would have in common: a problem is what
only one of them can have or what they would damage together, a note what is equal in all; and what sets them apart.`,
		examples: "crpie doctor\nPATH=/usr/local/lib/crpie:$PATH crpie doctor\ncrpie doctor --clean /srv/checkpoints\n" +
			"crpie doctor --clones -D /tmp/ckpt",
	}
}

func runDoctor(args []string, std streams) int {
	f := flagSet()
	format := f.StringP("format", "f", "text", "Write the result as `FORMAT`, text or json.")
	clean := f.Bool("clean", false, "Remove what killed restores have left, except where one is still at work.")
	clones := f.Bool("clones", false, "List what several restores of the images in -D or --archive would share.")
	var from imageSource
	f.StringVarP(&from.dir, "images-dir", "D", "", "The image directory is `DIR`.")
	f.StringVar(&from.archive, "archive", "", "The images are in `FILE`, a container checkpoint or an image of one.")
	var limits archiveLimits
	limits.register(f)
	if status, done := parse(f, doctorManual(), args, std); done {
		return status
	}
	switch {
	case *format != "text" && *format != "json":
		return misuse(std, doctorUsage, "unknown format %q", *format)
	case *clones != ((from.dir == "") != (from.archive == "")):
		return misuse(std, doctorUsage, "--clones takes either -D DIR or --archive FILE, which are for it alone")
	case *clones && (*clean || f.NArg() > 0):
		return misuse(std, doctorUsage, "--clones looks at images only")
	}
	from.limits = limits.Limits
	var findings []doctor.Finding
	err := ended.Until(func(ctx context.Context) (err error) {
		if *clones {
			findings, err = whatClonesShare(from)
			return err
		}
		findings = doctor.Examine(ctx, &doctor.Options{Front: front(std), Dirs: f.Args(), Clean: *clean})
		return context.Cause(ctx)
	})
	if err == nil {
		err = writeFindings(std.out, findings, *format)
	}
	if err != nil {
		complain(std, err)
		return ended.Status(err, exitFailed)
	}
	if slices.ContainsFunc(findings, isProblem) {
		return exitFailed
	}
	return exitOK
}

// whatClonesShare looks at images. Mapped files are looked at where they are here and those of the dump.
func whatClonesShare(from imageSource) (findings []doctor.Finding, err error) {
	err = from.with(func(fsys fs.FS) error {
		d, err := images.Open(fsys)
		if err == nil {
			findings = doctor.Clones(d, files.OpenBelow("/"))
		}
		return err
	})
	return findings, err
}

func isProblem(f doctor.Finding) bool { return f.Verdict == doctor.Problem }

// doctorReport is the JSON document; schema_version changes when a member changes its meaning or goes.
type doctorReport struct {
	SchemaVersion int              `json:"schema_version"`
	OK            bool             `json:"ok"`
	Findings      []doctor.Finding `json:"findings"`
}

// writeFindings writes a line for each finding, with its hint below, or all as JSON.
func writeFindings(out io.Writer, findings []doctor.Finding, format string) error {
	if format == "json" {
		return writeJSON(out, doctorReport{1, !slices.ContainsFunc(findings, isProblem), findings})
	}
	colours := map[doctor.Verdict]string{doctor.Fine: green, doctor.Problem: red, doctor.Note: blue}
	w, paint := bufio.NewWriter(out), newPainter(out)
	for _, f := range findings {
		fmt.Fprintf(w, "%s %s: %s\n", paint.paint(colours[f.Verdict], fmt.Sprintf("%-8s", f.Verdict)), f.Check,
			strings.ReplaceAll(escape.Text(f.Text), "\n", "\n  "))
		if f.Hint != "" {
			fmt.Fprintf(w, "  %s: %s\n", paint.paint(yellow, "hint"), escape.Name(f.Hint))
		}
	}
	return w.Flush()
}
