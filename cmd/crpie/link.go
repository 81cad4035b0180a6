package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/ended"
	"github.com/crpie/crpie/internal/files"
	"github.com/crpie/crpie/loader"
)

const linkUsage = "link [-o IMAGE] [--base ADDR] [--defsym NAME=ADDR]... [--map FILE] FILE.o"

func linkManual() *manual {
	return &manual{
		usage: linkUsage,
		about: "Places an object at an address, without a library and without any other object, and writes its memory.",
	}
}

// linkJob is one run of crpie link.
type linkJob struct {
	object, image, mapFile string
	base                   blob.Addr
	defined                map[string]uint64
}

func runLink(args []string, std streams) int {
	f := flagSet()
	image := f.StringP("output", "o", "",
		"Write the placed image to `FILE`: its memory from the base on, without the zeros at the end.")
	base := f.String("base", "0x10000000", "Place the first byte at `ADDR`, a multiple of 4096.")
	mapFile := f.String("map", "", "Write the map of sections and symbols to `FILE`; - is standard output.")
	defsyms := f.StringArray("defsym", nil,
		"Give the undefined symbol of `NAME=ADDR` this address; may be given several times.")
	if status, done := parse(f, linkManual(), args, std); done {
		return status
	}
	if f.NArg() != 1 {
		return misuse(std, linkUsage, "give one file")
	}
	j, err := newLinkJob(f.Arg(0), *image, *mapFile, *base, *defsyms)
	if err != nil {
		return misuse(std, linkUsage, "%v", err)
	}
	if err := j.run(std.out); err != nil {
		complain(std, err)
		return ended.Status(err, exitFailed)
	}
	return exitOK
}

// newLinkJob reads the arguments; an address can be decimal, hexadecimal or octal.
func newLinkJob(object, image, mapFile, base string, defsyms []string) (*linkJob, error) {
	addr, err := strconv.ParseUint(base, 0, 64)
	if err != nil {
		return nil, fmt.Errorf("--base %q is not an address", base)
	}
	j := &linkJob{object: object, image: image, mapFile: mapFile, base: blob.Addr(addr),
		defined: map[string]uint64{}}
	for _, d := range defsyms {
		name, value, ok := strings.Cut(d, "=")
		addr, err := strconv.ParseUint(value, 0, 64)
		if !ok || err != nil || name == "" {
			return nil, fmt.Errorf("--defsym %q is not NAME=ADDR", d)
		}
		j.defined[name] = addr
	}
	return j, nil
}

// run places the object and writes what was asked for. Object and image are in huge pages: for objects of some
// megabytes most of the time of a link would else go into page faults.
func (j *linkJob) run(stdout io.Writer) error {
	f, info, err := files.OpenRegular(j.object)
	if err != nil {
		return err
	}
	defer f.Close()
	data := zeros(uint64(info.Size()))
	if _, err := io.ReadFull(f, data); err != nil {
		return fmt.Errorf("load %s: %w", j.object, err)
	}
	return j.link(data, stdout)
}

// link accepts R_X86_64_32 and 32S, which plugins must not have: the base is given, so the range of every address can
// be checked now.
func (j *linkJob) link(data []byte, stdout io.Writer) error {
	p, err := loader.Parse(data, j.object, loader.Options{Core: true, AllowAbs32: true, Defined: j.defined})
	if err != nil {
		return err
	}
	layout, err := blob.NewLayout(p, nil)
	if err != nil {
		return err
	}
	img, err := layout.RelocateInto(j.base, zeros(layout.BytesSize()))
	if err != nil {
		return err
	}
	if j.image != "" {
		if err := writeImage(j.image, img); err != nil {
			return err
		}
	}
	return j.writeMap(p, img, stdout)
}

func (j *linkJob) writeMap(p *loader.Plugin, img *blob.Image, stdout io.Writer) error {
	switch j.mapFile {
	case "":
		return nil
	case "-":
		return writeMap(stdout, p, img)
	}
	return output(j.mapFile, func(f *os.File) error {
		b := bufio.NewWriter(f)
		return errors.Join(writeMap(b, p, img), b.Flush())
	})
}

func writeImage(name string, img *blob.Image) error {
	return output(name, func(f *os.File) error {
		_, err := img.WriteTo(f)
		return err
	})
}

// output writes a file. One that is not complete, whether by an error or by a signal, is removed.
func output(name string, write func(f *os.File) error) error {
	if done, err := nameless(name, write); done {
		return err
	}
	return ended.Until(func(ctx context.Context) error {
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		info, err := f.Stat()
		err = errors.Join(err, write(f), f.Close(), context.Cause(ctx))
		if err != nil && info != nil && info.Mode().IsRegular() {
			err = errors.Join(err, os.Remove(name))
		}
		return err
	})
}
