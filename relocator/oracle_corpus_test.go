package relocator_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
)

// corpus is a set of archives or objects for one machine.
type corpus struct {
	name    string
	arch    string
	linkers [][]string
	files   []string
	every   int // take each n-th object
	most    int // and no more than that many; 0 for no limit
}

// member is one object.
type member struct {
	name string
	data []byte
}

// Linkers with the flags that keep them from rewriting instructions. lld sorts read-only-after-relocation sections
// itself unless told that there are none.
var (
	gnuAMD64 = []string{"ld", "--no-relax", "-e", "0"}
	lldAMD64 = []string{"ld.lld-19", "--no-relax", "-z", "norelro", "-e", "0", "-m", "elf_x86_64"}
	gnuARM64 = []string{"aarch64-linux-gnu-ld", "-e", "0"}
	lldARM64 = []string{"ld.lld-19", "--no-relax", "-z", "norelro", "-e", "0", "-m", "aarch64linux"}
)

// oracleCorpora finds the objects of the set that was asked for. Archives that should be there and are not fail the
// test.
func oracleCorpora(t *testing.T) []corpus {
	small := []corpus{
		{name: "sample", arch: "amd64", linkers: [][]string{gnuAMD64}, every: 5,
			files: compilerFiles(t, "gcc", "libc.a", "libm-2.36.a", "libgcc.a", "libgcc_eh.a",
				"libstdc++.a")},
		{name: "sample", arch: "arm64", linkers: [][]string{gnuARM64}, every: 5,
			files: compilerFiles(t, "aarch64-linux-gnu-gcc", "libc.a", "libm.a", "libgcc.a",
				"libgcc_eh.a")},
	}
	if *oracleSet != "full" {
		return small
	}
	return fullCorpora(t)
}

// fullCorpora also needs what scripts/get-oracle-corpus unpacks, below ORACLE_CORPUS.
func fullCorpora(t *testing.T) []corpus {
	root := os.Getenv("ORACLE_CORPUS")
	if root == "" {
		t.Fatal("ORACLE_CORPUS is not set: run scripts/get-oracle-corpus DIR, then set it to DIR")
	}
	var all []corpus
	for _, m := range []struct {
		arch    string
		linkers [][]string
	}{{"amd64", [][]string{gnuAMD64, lldAMD64}}, {"arm64", [][]string{gnuARM64, lldARM64}}} {
		archives := findFiles(t, filepath.Join(root, m.arch), ".a", ".rlib")
		for _, a := range archives {
			all = append(all, corpus{name: filepath.Base(a), arch: m.arch, linkers: m.linkers,
				files: []string{a}, every: 1})
		}
		modules := findFiles(t, filepath.Join(root, m.arch), ".ko")
		if len(archives) == 0 || len(modules) == 0 {
			t.Errorf("%s has %d archives and %d kernel modules for %s", root, len(archives), len(modules),
				m.arch)
			continue
		}
		every := max(1, len(modules)/400)
		all = append(all, corpus{name: "kernel modules", arch: m.arch, linkers: m.linkers, files: modules,
			every: every, most: 400})
	}
	return all
}

// compilerFiles asks a compiler where its libraries are.
func compilerFiles(t *testing.T, compiler string, names ...string) []string {
	var files []string
	for _, name := range names {
		out, err := exec.Command(loadertest.Tool(t, compiler), "-print-file-name="+name).Output()
		file := strings.TrimSpace(string(out))
		if err != nil || !filepath.IsAbs(file) {
			t.Fatalf("%s has no %s; install the development packages (scripts/install-test-deps)",
				compiler, name)
		}
		files = append(files, file)
	}
	return files
}

func findFiles(t *testing.T, root string, suffixes ...string) []string {
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && slices.Contains(suffixes, filepath.Ext(path)) {
			files = append(files, path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return files
}

// each visits the chosen objects of the corpus.
func (c corpus) each(visit func(member)) {
	count, taken := 0, 0
	for _, file := range c.files {
		data, err := os.ReadFile(file)
		if err != nil {
			panic(err)
		}
		for _, m := range members(file, data) {
			if count++; (count-1)%c.every == 0 && (c.most == 0 || taken < c.most) {
				taken++
				visit(m)
			}
		}
	}
}

// members gives the ELF objects of an archive in the format of ar(5), or the object itself.
func members(file string, data []byte) (all []member) {
	const magic, header = "!<arch>\n", 60
	rest, isArchive := bytes.CutPrefix(data, []byte(magic))
	switch {
	case bytes.HasPrefix(data, []byte("\x7fELF")):
		return []member{{filepath.Base(file), data}}
	case !isArchive:
		return nil // a linker script, as glibc's libm.a is
	}
	var longNames []byte
	for len(rest) >= header {
		name := strings.TrimRight(string(rest[:16]), " ")
		size, err := strconv.Atoi(strings.TrimSpace(string(rest[48:58])))
		if err != nil || size > len(rest)-header {
			break
		}
		body := rest[header:][:size]
		rest = rest[min(len(rest), header+size+size%2):]
		if name == "//" {
			longNames = body
		}
		if at, err := strconv.Atoi(strings.TrimPrefix(name, "/")); err == nil && at < len(longNames) {
			name, _, _ = strings.Cut(string(longNames[at:]), "\n")
		}
		if bytes.HasPrefix(body, []byte("\x7fELF")) {
			all = append(all, member{filepath.Base(file) + "(" + strings.TrimSuffix(name, "/") + ")",
				bytes.Clone(body)})
		}
	}
	return all
}
