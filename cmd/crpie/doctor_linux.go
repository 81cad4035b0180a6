//go:build amd64

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/crpie/crpie/internal/doctor"
	"github.com/crpie/crpie/internal/ended"
	"github.com/crpie/crpie/internal/escape"
)

const doctorUsage = "doctor [--format text|json] [--clean] [DIR...]"

func doctorManual() *manual {
	return &manual{
		usage: doctorUsage,
		about: `Checks whether this machine is set up to restore containers with crpie, and tells what to do: the real criu and the
kernel, the runtimes and which criu they would start, configuration files and the plugins in them, and what killed
restores have left, in the usual places and below each DIR. runc, crun and podman are looked at as if they were started
here, with this PATH; CRI-O and containerd with the PATH of their services. The status is 0 if there is no problem, else 1.`,
		examples: "crpie doctor\nPATH=/usr/local/lib/crpie:$PATH crpie doctor\ncrpie doctor --clean /srv/checkpoints",
	}
}

func runDoctor(args []string, std streams) int {
	f := flagSet()
	format := f.StringP("format", "f", "text", "Write the result as `FORMAT`, text or json.")
	clean := f.Bool("clean", false, "Remove what killed restores have left, except where one is still at work.")
	if status, done := parse(f, doctorManual(), args, std); done {
		return status
	}
	if *format != "text" && *format != "json" {
		return misuse(std, doctorUsage, "unknown format %q", *format)
	}
	var findings []doctor.Finding
	err := ended.Until(func(ctx context.Context) error {
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
