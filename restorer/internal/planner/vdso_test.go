package planner

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
	"github.com/crpie/crpie/restorer/internal/planner/mem"
)

// A vdsoSymbol is a function of a made-up vDSO.
type vdsoSymbol struct {
	name string
	off  uint64
}

// makeVDSO writes a vDSO of one page that has these functions and nothing else: headers, dynamic section, hash table,
// symbols, names.
func makeVDSO(functions ...vdsoSymbol) []byte {
	const dynamic, hash, symbols = 0x100, 0x180, 0x200
	names := symbols + (len(functions)+1)*mem.ElfSymSize
	b, le := make([]byte, memory.PageSize), binary.LittleEndian
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[18:], 62) // EM_X86_64
	le.PutUint64(b[32:], mem.ElfHeaderSize)
	le.PutUint16(b[54:], mem.ElfProgSize)
	le.PutUint16(b[56:], 2)
	le.PutUint32(b[mem.ElfHeaderSize:], 1) // PT_LOAD
	le.PutUint32(b[mem.ElfHeaderSize+mem.ElfProgSize:], 2)
	le.PutUint64(b[mem.ElfHeaderSize+mem.ElfProgSize+8:], dynamic)
	le.PutUint64(b[mem.ElfHeaderSize+mem.ElfProgSize+32:], 5*mem.ElfDynSize)
	text := "\x00"
	for i, f := range functions {
		s := b[symbols+(i+1)*mem.ElfSymSize:]
		le.PutUint32(s, uint32(len(text)))
		s[4], s[6] = 0x12, 1 // STB_GLOBAL, STT_FUNC
		le.PutUint64(s[8:], f.off)
		text += f.name + "\x00"
	}
	copy(b[names:], text)
	le.PutUint32(b[hash+4:], uint32(len(functions)+1))
	for i, d := range [][2]uint64{{4, hash}, {5, uint64(names)}, {6, symbols}, {10, uint64(len(text))}} {
		le.PutUint64(b[dynamic+16*i:], d[0])
		le.PutUint64(b[dynamic+16*i+8:], d[1])
	}
	return b
}

// Each function jumps to this kernel's, by whichever of its two names; others become system calls or say ENOSYS.
func TestRedirectVDSO(t *testing.T) {
	dumped := makeVDSO(vdsoSymbol{"__vdso_time", 0x800}, vdsoSymbol{"time", 0x800}, vdsoSymbol{"getcpu", 0x810},
		vdsoSymbol{"__vdso_getrandom", 0x820}, vdsoSymbol{"__vdso_sgx_enter_enclave", 0xff8})
	host := makeVDSO(vdsoSymbol{"__vdso_time", 0x900}, vdsoSymbol{"__vdso_getcpu", 0xa00})
	got, err := mem.RedirectVDSO(dumped, host, 0x1122334455660000)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(dumped)
	copy(want[0x800:], "\x49\xbb\x00\x09\x66\x55\x44\x33\x22\x11\x41\xff\xe3")
	copy(want[0x810:], "\x49\xbb\x00\x0a\x66\x55\x44\x33\x22\x11\x41\xff\xe3")
	copy(want[0x820:], "\xb8\x3e\x01\x00\x00\x0f\x05\xc3")
	copy(want[0xff8:], "\x48\xc7\xc0\xda\xff\xff\xff\xc3")
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("byte %#x is %#x, want %#x", i, got[i], want[i])
		}
	}
}

func TestVDSORefusals(t *testing.T) {
	good := makeVDSO(vdsoSymbol{"time", 0x800})
	change := func(at int, b ...byte) []byte {
		bad := bytes.Clone(good)
		copy(bad[at:], b)
		return bad
	}
	for name, tc := range map[string]struct {
		dumped []byte
		want   string
	}{
		"no ELF":     {make([]byte, memory.PageSize), "it is not an ELF file for x86-64"},
		"32 bits":    {change(4, 1), "it is not an ELF file for x86-64"},
		"no dynamic": {change(mem.ElfHeaderSize+mem.ElfProgSize, 4), "it has no PT_LOAD or no PT_DYNAMIC"},
		"programs": {change(32, 0xf0, 0xff),
			"program headers: 112 bytes at offset 0xfff0 lie outside of it"},
		"dynamic": {change(mem.ElfHeaderSize+mem.ElfProgSize+8, 0xf0, 0x0f),
			"PT_DYNAMIC: 80 bytes at offset 0xff0 lie outside of it"},
		"hash":         {change(0x108, 0xff, 0xff), "DT_HASH: 8 bytes at offset 0xffff lie outside of it"},
		"many symbols": {change(0x184, 0xff, 0xff, 0xff), "16777215 symbols do not fit into it"},
		"symbols":      {change(0x128, 0xf0, 0x0f), "DT_SYMTAB: 48 bytes at offset 0xff0 lie outside of it"},
		"names":        {change(0x118, 0xff, 0xff), "DT_STRTAB: 6 bytes at offset 0xffff lie outside of it"},
		"function": {change(0x200+mem.ElfSymSize+8, 0, 0x10),
			"a function at offset 0x1000 lies outside of it"},
		"none": {makeVDSO(), "it has no functions"},
		"too close": {makeVDSO(vdsoSymbol{"time", 0x800}, vdsoSymbol{"getcpu", 0x80c}),
			"time has only 12 bytes"},
		"end": {makeVDSO(vdsoSymbol{"getrandom", 0xff9}), "getrandom has only 7 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := mem.RedirectVDSO(tc.dumped, good, 0); err == nil || err.Error() != tc.want {
				t.Errorf("error %v, want %s", err, tc.want)
			}
		})
	}
}

// Tasks that were in the vDSO, and tasks with different ones.
func TestForeignVDSO(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(d *images.Dir, v *pb.VmaEntry)
		want   string
	}{
		"nothing wrong": {func(*images.Dir, *pb.VmaEntry) {}, ""},
		"inside": {func(d *images.Dir, v *pb.VmaEntry) {
			d.Tasks[0].Core.GetThreadInfo().GetGpregs().Ip = pb.Uint64(v.GetStart() + 0x801)
		}, "which differs from this kernel's\n  hint: dump it again, or restore on the kernel that it was dumped on"},
		"large": {func(_ *images.Dir, v *pb.VmaEntry) { v.End = pb.Uint64(v.GetStart() + 2<<20) },
			"a vDSO of 2097152 bytes cannot become this kernel's, of 4096: not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := sampleFS(t, "static")
			dir := openSample(t, fsys)
			task := dir.Tasks[0]
			for _, v := range task.Mm.Vmas {
				if v.GetStatus()&images.VmaVdso == 0 {
					continue
				}
				for _, r := range task.Pagemap.Runs {
					if r.Vaddr <= v.GetStart() && v.GetStart() < r.End() {
						copy(fsys[task.Pagemap.PagesFile].Data[r.Offset+int64(
							v.GetStart()-r.Vaddr):], makeVDSO(vdsoSymbol{"time", 0x800}))
					}
				}
				tc.change(dir, v)
			}
			host := hosttest.New(dir)
			host.VDSO.Code = makeVDSO(vdsoSymbol{"time", 0x900})
			plan, err := buildSample(t, dir, host, &job.Options{})
			if tc.want != "" {
				wantRefusal(t, err, tc.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			plan.Print(&text)
			for _, line := range []string{"this kernel's vDSO\n",
				"vDSO of the dump, whose functions go on in this kernel's\n"} {
				if !strings.Contains(text.String(), line) {
					t.Errorf("the plan lacks %q", line)
				}
			}
		})
	}
}

// Whatever the image of a vDSO is, its functions lie inside of it, or there is an error.
func FuzzVDSO(f *testing.F) {
	f.Add(makeVDSO(vdsoSymbol{"time", 0x800}, vdsoSymbol{"getcpu", 0x820}))
	f.Fuzz(func(t *testing.T, image []byte) {
		functions, err := mem.VdsoFunctions(image)
		for name, off := range functions {
			if err == nil && off >= uint64(len(image)) {
				t.Fatalf("%s at %#x of %d bytes", name, off, len(image))
			}
		}
		if patched, err := mem.RedirectVDSO(image, image, 0); err == nil && len(patched) != len(image) {
			t.Fatalf("%d bytes became %d", len(image), len(patched))
		}
	})
}
