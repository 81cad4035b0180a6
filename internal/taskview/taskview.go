// Package taskview lays out what hooks see of their task's memory: struct crpie_vma[] and struct crpie_mm of
// plugin-sdk/include/crpie/abi.h.
//
// What lives here: values from images, and their bytes. What never does: how a restore makes that memory.
package taskview

import (
	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/memory"
)

// VMA is a mapping as dumped.
type VMA struct {
	Start, End, Pgoff uint64
	Prot, Flags       uint32
	Madv              uint64 // a bit for each advice of madvise(2)
	Name              string
}

// VMAs lists the mappings of a task, by address.
func VMAs(dir *images.Dir, mm *pb.MmEntry) []VMA {
	all := make([]VMA, len(mm.GetVmas()))
	for i, v := range mm.GetVmas() {
		all[i] = VMA{
			Start: v.GetStart(), End: v.GetEnd(), Pgoff: v.GetPgoff(), Prot: v.GetProt(),
			Flags: v.GetFlags(),
			Madv:  v.GetMadv(), Name: dir.VMAName(v),
		}
	}
	return all
}

// At finds the mapping that an address is in, nil if there is none; mappings are in the order of addresses.
func At(vmas []VMA, addr uint64) *VMA {
	if i := Index(vmas, addr); i >= 0 {
		return &vmas[i]
	}
	return nil
}

// Index is At's index, -1 if there is none.
func Index(vmas []VMA, addr uint64) int {
	i, found := slices.BinarySearchFunc(vmas, addr, func(v VMA, addr uint64) int {
		switch {
		case v.End <= addr:
			return -1
		case v.Start > addr:
			return 1
		}
		return 0
	})
	if !found {
		return -1
	}
	return i
}

// LayVMAs lays out struct crpie_vma[], and right behind it what madvise(2) said of each.
func LayVMAs(a *memory.Arena, vmas []VMA) uint64 {
	all, madv := make([]abi.VMA, len(vmas)), make([]uint64, len(vmas))
	for i, v := range vmas {
		all[i] = abi.VMA{
			Start: v.Start, End: v.End, Prot: v.Prot, Flags: v.Flags, Pgoff: v.Pgoff,
			Name: a.String(v.Name),
		}
		madv[i] = v.Madv
	}
	addr := memory.Records(a, all)
	a.Words(madv...)
	return addr
}

// MM is the part of struct prctl_mm_map, prctl(2), that plugins see.
type MM struct {
	StartCode, EndCode, StartData, EndData, StartBrk, Brk, StartStack uint64
	ArgStart, ArgEnd, EnvStart, EnvEnd                                uint64
	Auxv                                                              []uint64
}

// MMOf takes the addresses out of an image.
func MMOf(mm *pb.MmEntry) MM {
	return MM{
		StartCode: mm.GetMmStartCode(), EndCode: mm.GetMmEndCode(), StartData: mm.GetMmStartData(),
		EndData: mm.GetMmEndData(), StartBrk: mm.GetMmStartBrk(), Brk: mm.GetMmBrk(),
		StartStack: mm.GetMmStartStack(), ArgStart: mm.GetMmArgStart(), ArgEnd: mm.GetMmArgEnd(),
		EnvStart: mm.GetMmEnvStart(), EnvEnd: mm.GetMmEnvEnd(), Auxv: mm.GetMmSavedAuxv(),
	}
}

// Lay lays out struct crpie_mm.
func (m *MM) Lay(a *memory.Arena) uint64 {
	return memory.Records(a, []abi.MM{{
		StartCode: m.StartCode, EndCode: m.EndCode, StartData: m.StartData, EndData: m.EndData,
		StartBrk: m.StartBrk, Brk: m.Brk, StartStack: m.StartStack, ArgStart: m.ArgStart, ArgEnd: m.ArgEnd,
		EnvStart: m.EnvStart, EnvEnd: m.EnvEnd, Auxv: a.Words(m.Auxv...), AuxvWords: uint64(len(m.Auxv)),
	}})
}
