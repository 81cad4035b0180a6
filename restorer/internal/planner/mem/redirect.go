package mem

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/crpie/crpie/internal/uapi"
)

// A vDSO is a small shared object that the kernel maps into every process, vdso(7). A process finds its functions once,
// when it starts, and keeps their addresses; another kernel has them elsewhere.

// VdsoFunctions finds the functions of a vDSO: offsets from its first byte, by name. The image may be anything.
func VdsoFunctions(image []byte) (map[string]uint64, error) {
	v := vdsoImage{image: image}
	for _, step := range []func() error{v.header, v.dynamic, v.symbols} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return v.functions, nil
}

type vdsoImage struct {
	image   []byte
	base    uint64 // address that the image was linked at
	dynOff  uint64 // of the dynamic section
	dynSize uint64
	tags    map[elf.DynTag]uint64

	functions map[string]uint64
}

// Sizes of structs, elf(5).
const (
	ElfHeaderSize = 64
	ElfProgSize   = 56
	ElfDynSize    = 16
	ElfSymSize    = 24
)

// at gives n bytes from an offset on.
func (v *vdsoImage) at(off, n uint64) ([]byte, error) {
	if off > uint64(len(v.image)) || n > uint64(len(v.image))-off {
		return nil, fmt.Errorf("%d bytes at offset %#x lie outside of it", n, off)
	}
	return v.image[off : off+n], nil
}

// header checks the ELF header and finds the dynamic section.
func (v *vdsoImage) header() error {
	le := binary.LittleEndian
	h, err := v.at(0, ElfHeaderSize)
	if err != nil || !bytes.HasPrefix(h, []byte(elf.ELFMAG)) || h[elf.EI_CLASS] != byte(elf.ELFCLASS64) ||
		le.Uint16(h[18:]) != uint16(elf.EM_X86_64) || le.Uint16(h[54:]) != ElfProgSize {
		return errors.New("it is not an ELF file for x86-64")
	}
	programs, err := v.at(le.Uint64(h[32:]), uint64(le.Uint16(h[56:]))*ElfProgSize)
	if err != nil {
		return fmt.Errorf("program headers: %w", err)
	}
	loaded := false
	for p := programs; len(p) > 0; p = p[ElfProgSize:] {
		off, addr, size := le.Uint64(p[8:]), le.Uint64(p[16:]), le.Uint64(p[32:])
		switch elf.ProgType(le.Uint32(p)) {
		case elf.PT_LOAD:
			v.base, loaded = addr-off, true
		case elf.PT_DYNAMIC:
			v.dynOff, v.dynSize = off, size
		}
	}
	if !loaded || v.dynSize == 0 {
		return errors.New("it has no PT_LOAD or no PT_DYNAMIC")
	}
	return nil
}

// dynamic reads the dynamic section: a vDSO need not have section headers.
func (v *vdsoImage) dynamic() error {
	le := binary.LittleEndian
	entries, err := v.at(v.dynOff, v.dynSize/ElfDynSize*ElfDynSize)
	if err != nil {
		return fmt.Errorf("PT_DYNAMIC: %w", err)
	}
	v.tags = map[elf.DynTag]uint64{}
	for e := entries; len(e) > 0 && le.Uint64(e) != uint64(elf.DT_NULL); e = e[ElfDynSize:] {
		v.tags[elf.DynTag(le.Uint64(e))] = le.Uint64(e[8:])
	}
	return nil
}

// count is the number of symbols: DT_HASH has it; else the names follow the symbols.
func (v *vdsoImage) count() (uint64, error) {
	hash, ok := v.tags[elf.DT_HASH]
	if !ok {
		return (v.tags[elf.DT_STRTAB] - v.tags[elf.DT_SYMTAB]) / ElfSymSize, nil
	}
	h, err := v.at(hash-v.base, 8)
	if err != nil {
		return 0, fmt.Errorf("DT_HASH: %w", err)
	}
	return uint64(binary.LittleEndian.Uint32(h[4:])), nil
}

// symbols reads the functions that the vDSO exports.
func (v *vdsoImage) symbols() error {
	le := binary.LittleEndian
	n, err := v.count()
	if err != nil {
		return err
	}
	if n > uint64(len(v.image))/ElfSymSize {
		return fmt.Errorf("%d symbols do not fit into it", n)
	}
	symbols, err := v.at(v.tags[elf.DT_SYMTAB]-v.base, n*ElfSymSize)
	if err != nil {
		return fmt.Errorf("DT_SYMTAB: %w", err)
	}
	names, err := v.at(v.tags[elf.DT_STRTAB]-v.base, v.tags[elf.DT_STRSZ])
	if err != nil {
		return fmt.Errorf("DT_STRTAB: %w", err)
	}
	v.functions = map[string]uint64{}
	for s := symbols; len(s) > 0; s = s[ElfSymSize:] {
		name, off := uint64(le.Uint32(s)), le.Uint64(s[8:])-v.base
		if elf.ST_TYPE(s[4]) != elf.STT_FUNC || le.Uint16(s[6:]) == uint16(elf.SHN_UNDEF) {
			continue
		}
		if name >= uint64(len(names)) || off >= uint64(len(v.image)) {
			return fmt.Errorf("a function at offset %#x lies outside of it", off)
		}
		text, _, _ := bytes.Cut(names[name:], []byte{0})
		v.functions[string(text)] = off
	}
	return nil
}

// vdsoCalls are the system calls that do what a function of a vDSO does.
func vdsoCalls() map[string]uint32 {
	return map[string]uint32{
		"gettimeofday": uapi.SysGettimeofday, "time": uapi.SysTime, "clock_gettime": uapi.SysClockGettime,
		"clock_getres": uapi.SysClockGetres, "getcpu": uapi.SysGetcpu, "getrandom": uapi.SysGetrandom,
	}
}

// RedirectVDSO makes every function of a dumped vDSO go on in the same one of this kernel's, which is mapped at addr;
// those that this kernel's lacks become system calls, or say ENOSYS.
func RedirectVDSO(dumped, host []byte, addr uint64) ([]byte, error) {
	theirs, err := VdsoFunctions(dumped)
	if err != nil {
		return nil, err
	}
	ours, err := VdsoFunctions(host)
	if err != nil {
		return nil, fmt.Errorf("this kernel's: %w", err)
	}
	if len(theirs) == 0 {
		return nil, errors.New("it has no functions")
	}
	patched := bytes.Clone(dumped)
	entries := slices.Compact(slices.Sorted(maps.Values(theirs)))
	for _, name := range slices.Sorted(maps.Keys(theirs)) {
		off := theirs[name]
		end := uint64(len(patched))
		if i, _ := slices.BinarySearch(entries, off+1); i < len(entries) {
			end = entries[i]
		}
		code := vdsoFallback(name)
		for _, same := range []string{name, "__vdso_" + name, strings.TrimPrefix(name, "__vdso_")} {
			if to, ok := ours[same]; ok {
				code = jumpTo(addr + to)
			}
		}
		if uint64(len(code)) > end-off {
			return nil, fmt.Errorf("%s has only %d bytes", name, end-off)
		}
		copy(patched[off:], code)
	}
	return patched, nil
}

// jumpTo is movabs $addr,%r11; jmp *%r11: a register that no function keeps, x86-64 psABI 3.2.1.
func jumpTo(addr uint64) []byte {
	code := binary.LittleEndian.AppendUint64([]byte{0x49, 0xbb}, addr)
	return append(code, 0x41, 0xff, 0xe3)
}

// vdsoFallback is mov $nr,%eax; syscall; ret. The arguments of functions are in the registers of system calls, up to
// the third.
func vdsoFallback(name string) []byte {
	const enosys = 38
	if nr, ok := vdsoCalls()[strings.TrimPrefix(name, "__vdso_")]; ok {
		return append(binary.LittleEndian.AppendUint32([]byte{0xb8}, nr), 0x0f, 0x05, 0xc3)
	}
	return []byte{0x48, 0xc7, 0xc0, 0x100 - enosys, 0xff, 0xff, 0xff, 0xc3} // mov $-ENOSYS,%rax; ret
}
