//go:build linux && amd64

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crpie/crpie/internal/testenv"
)

// BenchmarkGraft prints medians: how long grafting takes, and how long CRIU takes to restore images as they were
// dumped, grafted, and grafted with --copy, in turns; for grafted ones until the last hook has returned and the blob
// is gone. CRIU probes the kernel in each run unless /run is a tmpfs; the differences are the same.
//
//	go test ./cmd/crpie -run '^$' -bench Graft -benchtime 1x
func BenchmarkGraft(b *testing.B) {
	testenv.NeedCRIU(b)
	table := fmt.Sprintf("%-10s %11s %13s %13s %13s\n", "victim", "graft [ms]", "criu [ms]", "grafted", "--copy")
	for _, name := range []string{"static", "glibc", "threads", "python", "gigabyte"} {
		b.Run(name, func(b *testing.B) { table += benchGraft(b, name) })
	}
	fmt.Print(table)
}

func benchGraft(b *testing.B, name string) string {
	plugin := testenv.Plugin(b, "testdata/plugins/fail.c") // hooks at every stage that do nothing
	im := testenv.Start(b, name).Dump(b)
	rounds := 20
	if name == "gigabyte" {
		rounds = 5
	}
	dir := b.TempDir()
	grafts := []*testenv.Images{im}
	var grafting []float64
	for i := range rounds {
		began := time.Now()
		out := graftInto(b, im, filepath.Join(dir, fmt.Sprint(i)), "--pie-plugin", plugin,
			"--allow-skipped-stages")
		grafting = append(grafting, time.Since(began).Seconds()*1000)
		if i == 0 {
			grafts = append(grafts, out)
		}
	}
	grafts = append(grafts, graftInto(b, im, filepath.Join(dir, "copy"), "--copy", "--pie-plugin", plugin,
		"--allow-skipped-stages"))
	times := make([][]float64, len(grafts))
	for range rounds {
		for i, g := range grafts {
			began := time.Now()
			p := g.RestoreCRIU(b)
			for i > 0 && inGraft(b, p.Pid) {
				time.Sleep(100 * time.Microsecond)
			}
			times[i] = append(times[i], time.Since(began).Seconds()*1000)
			if err := p.Kill(); err != nil {
				b.Fatal(err)
			}
		}
	}
	return fmt.Sprintf("%-10s %11.2f %13.2f %13.2f %13.2f\n", name, medianOf(grafting), medianOf(times[0]),
		medianOf(times[1]),
		medianOf(times[2]))
}

func graftInto(b *testing.B, im *testenv.Images, dir string, args ...string) *testenv.Images {
	b.Helper()
	var out bytes.Buffer
	if status := run(append([]string{"graft", "-D", im.Dir, "-o", dir}, args...), strings.NewReader(""), &out,
		&out); status != 0 {
		b.Fatal(out.String())
	}
	grafted := *im
	grafted.Dir = dir
	return &grafted
}

// inGraft tells whether the blob is still there.
func inGraft(b *testing.B, pid int) bool {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		b.Fatal(err)
	}
	return !strings.Contains(string(data), "crpie graft") || blobMapped(string(data))
}

func medianOf(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return sorted[len(sorted)/2]
}
