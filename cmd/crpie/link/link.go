package link

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/ended"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/files"
	"github.com/crpie/crpie/loader"
)

// Usage is the line that help and errors show.
const Usage = "link [-o IMAGE] [--base ADDR] [--defsym NAME=ADDR]... [--map FILE] FILE.o"

// job is one run of crpie link.
type job struct {
	object, image, mapFile string
	base                   blob.Addr
	defined                map[string]uint64
}

// Exit statuses, those of all of crpie.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Run is crpie link; args are those after the word link.
func Run(args []string, stdout, stderr io.Writer) int {
	f := flag.NewFlagSet("", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	image := f.String("output", "", "the placed image to this `FILE`: its memory from the base on, without the zeros at the end")
	f.StringVar(image, "o", "", "")
	base := f.String("base", "0x10000000", "`ADDR` of the first byte, a multiple of 4096; default: 0x10000000")
	mapFile := f.String("map", "", "the map of sections and symbols to this `FILE`; - is standard output")
	var defsyms []string
	f.Func("defsym", "give an undefined symbol an address: `NAME=ADDR`; may be given several times", func(s string) error {
		defsyms = append(defsyms, s)
		return nil
	})
	err := f.Parse(args)
	if err == nil && f.NArg() != 1 {
		err = errors.New("give one file, after the flags")
	}
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(stdout, "usage: crpie %s\n", Usage)
		f.VisitAll(func(one *flag.Flag) { describe(stdout, one) })
		return exitOK
	}
	var j *job
	if err == nil {
		j, err = newJob(f.Arg(0), *image, *mapFile, *base, defsyms)
	}
	if err != nil {
		fmt.Fprintf(stderr, "crpie: %s\nusage: crpie %s\n", escape.Error(err), Usage)
		return exitUsage
	}
	if err := j.run(stdout); err != nil {
		fmt.Fprintf(stderr, "crpie: %s\n", escape.Error(err))
		return ended.Status(err, exitFailed)
	}
	return exitOK
}

// describe prints a flag as the other commands do, whose flags are pflag's.
func describe(w io.Writer, f *flag.Flag) {
	short := map[string]string{"output": "-o, "}[f.Name]
	if arg, text := flag.UnquoteUsage(f); len(f.Name) > 1 {
		fmt.Fprintf(w, "  %4s--%-18s %s\n", short, f.Name+" "+arg, text)
	}
}

func newJob(object, image, mapFile, base string, defsyms []string) (*job, error) {
	addr, err := strconv.ParseUint(base, 0, 64)
	if err != nil {
		return nil, fmt.Errorf("--base %q is no address", base)
	}
	j := &job{object: object, image: image, mapFile: mapFile, base: blob.Addr(addr), defined: map[string]uint64{}}
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

// run places the object and writes what was asked for. Object and image are in huge pages: for objects of some megabytes
// most of the time of a link would else go into page faults.
func (j *job) run(stdout io.Writer) error {
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

func (j *job) link(data []byte, stdout io.Writer) error {
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
	return j.writeMap(p, img, stdout)
}

func (j *job) writeMap(p *loader.Plugin, img *blob.Image, stdout io.Writer) error {
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
