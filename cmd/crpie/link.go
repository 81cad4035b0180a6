package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/loader"
)

const linkUsage = "link [-o IMAGE] [--base ADDR] [--defsym NAME=ADDR]... [--map FILE] FILE.o"

// linkJob is one run of crpie link.
type linkJob struct {
	object, image, mapFile string
	base                   blob.Addr
	defined                map[string]uint64
}

func runLink(args []string, std streams) int {
	f := flagSet()
	image := f.StringP("output", "o", "", "file for the placed image: its memory from the base on, without the zeros at the end")
	base := f.String("base", "0x10000000", "address of the first byte, a multiple of 4096")
	defsyms := f.StringArray("defsym", nil, "NAME=ADDR: give an undefined symbol an address")
	mapFile := f.String("map", "", "file for the map of sections and symbols; - is standard output")
	if status, done := parse(f, linkUsage, args, std); done {
		return status
	}
	if f.NArg() != 1 {
		return misuse(std, linkUsage, "give one file")
	}
	job, err := newLinkJob(f.Arg(0), *image, *mapFile, *base, *defsyms)
	if err != nil {
		return misuse(std, linkUsage, "%v", err)
	}
	if err := job.run(std); err != nil {
		fmt.Fprintf(std.err, "crpie: %v\n", err)
		return exitFailed
	}
	return exitOK
}

func newLinkJob(object, image, mapFile, base string, defsyms []string) (*linkJob, error) {
	addr, err := strconv.ParseUint(base, 0, 64)
	if err != nil {
		return nil, fmt.Errorf("--base %q is no address", base)
	}
	job := &linkJob{object: object, image: image, mapFile: mapFile, base: blob.Addr(addr), defined: map[string]uint64{}}
	for _, d := range defsyms {
		name, value, ok := strings.Cut(d, "=")
		addr, err := strconv.ParseUint(value, 0, 64)
		if !ok || err != nil || name == "" {
			return nil, fmt.Errorf("--defsym %q is not NAME=ADDR", d)
		}
		job.defined[name] = addr
	}
	return job, nil
}

// run places the object and writes what was asked for. The object is mapped, not read, and the image is made in huge
// pages: for objects of some megabytes most of the time of a link would else go into page faults.
func (j *linkJob) run(std streams) error {
	file, err := mapFile(j.object)
	if err != nil {
		return err
	}
	defer file.unmap()
	return file.guard(func(data []byte) error { return j.link(data, std) })
}

func (j *linkJob) link(data []byte, std streams) error {
	p, err := loader.Parse(data, j.object, loader.Options{Core: true, AllowAbs32: true, Defined: j.defined})
	if err != nil {
		return err
	}
	layout, err := blob.NewLayout(p, nil)
	if err != nil {
		return err
	}
	img, err := layout.PlaceIn(j.base, zeros(layout.BytesSize()))
	if err != nil {
		return err
	}
	if j.image != "" {
		if err := writeImage(j.image, img); err != nil {
			return err
		}
	}
	return j.writeMap(p, img, std)
}

func (j *linkJob) writeMap(p *loader.Plugin, img *blob.Image, std streams) error {
	switch j.mapFile {
	case "":
		return nil
	case "-":
		return writeMap(std.out, p, img)
	}
	f, err := os.Create(j.mapFile)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(f)
	return errors.Join(writeMap(b, p, img), b.Flush(), f.Close())
}

func writeImage(name string, img *blob.Image) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = img.WriteTo(f)
	return errors.Join(err, f.Close())
}
