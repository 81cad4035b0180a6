// SPDX-License-Identifier: Apache-2.0
//! Functions and variables of the program by name, from POST_MEMORY on.
//!
//! What is searched is what the dynamic linker itself would search: the dynamic symbols of the program and its
//! libraries, in the order in which they were loaded (System V ABI, "Dynamic Linking"; glibc's and musl's struct
//! r_debug). A program linked with -static has none.
//!
//! Every address that is followed is looked up in the context's mappings first, and every walk is bounded: a program
//! that damaged its own tables makes a lookup fail, not crash.
use crate::{abi, Context, Prot};
use core::cell::Cell;
use core::mem::{size_of, transmute_copy};

/// What has been found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    pub addr: u64,
    pub size: u64,
    /// STT_NOTYPE 0, STT_OBJECT 1, STT_FUNC 2, elf(5).
    pub kind: u8,
}

impl Symbol {
    /// The function.
    ///
    /// # Safety
    /// F is its type, such as `extern "C" fn() -> i32`. Library code runs from PRE_SIGRETURN_THREAD on.
    pub unsafe fn function<F: Copy>(&self) -> F {
        assert!(size_of::<F>() == size_of::<usize>());
        transmute_copy(&(self.addr as usize))
    }
}

impl Context {
    /// Looks a symbol up in the program and all libraries.
    pub fn symbol(&self, name: &str) -> Option<Symbol> {
        let program = Object::program(self);
        program
            .as_ref()
            .and_then(|p| self.loaded(p.debug, None, name))
            .or_else(|| program?.lookup(self, name))
            .or_else(|| Object::interpreter(self)?.lookup(self, name))
    }

    /// Looks a symbol up in the libraries whose file name begins with object: `libc.so`.
    pub fn symbol_in(&self, object: &str, name: &str) -> Option<Symbol> {
        self.loaded(Object::program(self)?.debug, Some(object.as_bytes()), name)
    }

    /// errno of the thread that runs the hook, where glibc or musl keeps it. What calls into libc leaves it as it was,
    /// as a signal handler does (signal-safety(7)). None where it cannot be found: before PRE_SIGRETURN_THREAD, and in
    /// a static program.
    pub fn errno(&self) -> Option<&Cell<i32>> {
        if self.stage() < abi::PRE_SIGRETURN_THREAD {
            return None;
        }
        let location = self.symbol("__errno_location")?;
        if !self.covers(location.addr, 1, Prot::READ | Prot::EXEC) {
            return None;
        }
        // SAFETY: that is its type in both, and it gives the address of an int of this thread's.
        unsafe {
            let location: extern "C" fn() -> *const Cell<i32> = location.function();
            location().as_ref()
        }
    }

    /// Looks through the list of struct link_map { addr; name; ld; next; … } of struct r_debug { version; map; … },
    /// <link.h>.
    fn loaded(&self, r_debug: u64, object: Option<&[u8]>, name: &str) -> Option<Symbol> {
        const MOST: usize = 4096; // programs with more libraries are damaged
        let mut map = self.word(r_debug.checked_add(8)?)?;
        for _ in 0..MOST {
            let path = self.word(map.checked_add(8)?)?;
            let wanted = object.map_or(true, |object| self.names(path, object));
            let candidate = if wanted { Object::loaded(self, map) } else { None };
            if let Some(found) = candidate.and_then(|o| o.lookup(self, name)) {
                return Some(found);
            }
            map = self.word(map + 24)?;
        }
        None
    }

    /// True if the last part of the path at an address begins with object.
    fn names(&self, mut path: u64, object: &[u8]) -> bool {
        const LONGEST: u64 = 4096; // PATH_MAX
        let mut last = path;
        for at in path..path.saturating_add(LONGEST) {
            match self.byte(at) {
                Some(b'/') => last = at + 1,
                Some(0) => break,
                Some(_) => {}
                None => return false,
            }
        }
        path = last;
        object.iter().enumerate().all(|(i, b)| self.byte(path + i as u64) == Some(*b))
    }

    pub(crate) fn auxv(&self, kind: u64) -> u64 {
        // SAFETY: every context has an mm and an auxiliary vector of that many words.
        let words = unsafe {
            let mm = &*self.0.mm;
            if mm.auxv_words == 0 {
                return 0;
            }
            core::slice::from_raw_parts(mm.auxv, mm.auxv_words as usize)
        };
        let pairs = words.chunks_exact(2).map_while(|pair| match pair {
            [0, _] => None, // AT_NULL
            [kind, value] => Some((*kind, *value)),
            _ => None,
        });
        pairs.filter(|(k, _)| *k == kind).map(|(_, value)| value).next().unwrap_or(0)
    }

    fn byte(&self, addr: u64) -> Option<u8> {
        let mut b = [0; 1];
        self.read(addr, &mut b).ok()?;
        Some(b[0])
    }

    fn half(&self, addr: u64) -> Option<u32> {
        let mut b = [0; 4];
        self.read(addr, &mut b).ok()?;
        Some(u32::from_ne_bytes(b))
    }

    pub(crate) fn word(&self, addr: u64) -> Option<u64> {
        let mut b = [0; 8];
        self.read(addr, &mut b).ok()?;
        Some(u64::from_ne_bytes(b))
    }

    /// True if the bytes at an address are name and a NUL.
    fn equals(&self, addr: u64, name: &str) -> bool {
        let len = name.len() as u64 + 1;
        if !self.covers(addr, len, Prot::READ) {
            return false;
        }
        // SAFETY: that is mapped, and nobody changes it while the hook runs.
        let text = unsafe { core::slice::from_raw_parts(addr as *const u8, len as usize) };
        text.strip_prefix(name.as_bytes()) == Some(&[0])
    }
}

/// Where the ELF header is whose program headers are at phdr: right before them, in what every linker writes.
pub(crate) fn headers_of(phdr: u64) -> u64 {
    phdr.wrapping_sub(EHDR)
}

pub(crate) const EHDR: u64 = 64; // struct elf64_hdr, elf(5)
const PHDR: u64 = 56;
const SYM: u64 = 24;

const AT_PHDR: u64 = 3;
const AT_PHNUM: u64 = 5;
const AT_BASE: u64 = 7;

/// One loaded object: its load bias and the tables that its dynamic section names.
#[derive(Default)]
struct Object {
    bias: u64,
    symtab: u64,
    strtab: u64,
    strsz: u64,
    hash: u64,
    gnu_hash: u64,
    versym: u64,
    debug: u64,
}

impl Object {
    /// The program itself.
    fn program(ctx: &Context) -> Option<Object> {
        let phdr = ctx.auxv(AT_PHDR);
        let headers = headers_of(phdr);
        if ctx.half(headers)? != u32::from_ne_bytes(*b"\x7fELF") {
            return None;
        }
        Object::at(ctx, headers, phdr, ctx.auxv(AT_PHNUM))
    }

    /// The dynamic linker; musl's is the C library, too.
    fn interpreter(ctx: &Context) -> Option<Object> {
        let base = ctx.auxv(AT_BASE);
        let phoff = ctx.word(base.checked_add(32)?)?;
        let phnum = ctx.half(base.checked_add(56)?)? & 0xffff;
        Object::at(ctx, base, base.checked_add(phoff)?, phnum.into())
    }

    /// The object whose ELF header and program headers are there.
    fn at(ctx: &Context, headers: u64, phdr: u64, phnum: u64) -> Option<Object> {
        const PT_LOAD: u32 = 1;
        const PT_DYNAMIC: u32 = 2;
        let (mut bias, mut dynamic) = (None, None);
        for i in 0..phnum.min(0xffff) {
            let at = phdr.checked_add(i * PHDR)?;
            let (kind, offset, vaddr) = (ctx.half(at)?, ctx.word(at + 8)?, ctx.word(at + 16)?);
            if kind == PT_LOAD && offset == 0 && bias.is_none() {
                bias = Some(headers.wrapping_sub(vaddr));
            } else if kind == PT_DYNAMIC {
                dynamic = Some((vaddr, ctx.word(at + 40)? / 16));
            }
        }
        let (bias, (vaddr, entries)) = (bias?, dynamic?);
        Object { bias, ..Object::default() }.with_dynamic(ctx, bias.wrapping_add(vaddr), entries)
    }

    /// The object of a struct link_map.
    fn loaded(ctx: &Context, map: u64) -> Option<Object> {
        let most = 1024;
        Object { bias: ctx.word(map)?, ..Object::default() }.with_dynamic(ctx, ctx.word(map.checked_add(16)?)?, most)
    }

    /// Reads the dynamic section, of at most that many entries. glibc adds the bias to the addresses in one that is
    /// writable, musl does not; offsets are below every bias.
    fn with_dynamic(mut self, ctx: &Context, at: u64, entries: u64) -> Option<Object> {
        for i in 0..entries {
            let at = at.checked_add(i.checked_mul(16)?)?;
            let (tag, value) = (ctx.word(at)?, ctx.word(at.checked_add(8)?)?);
            let addr = if value < self.bias { value + self.bias } else { value };
            match tag {
                0 => break, // DT_NULL
                4 => self.hash = addr,
                5 => self.strtab = addr,
                6 => self.symtab = addr,
                10 => self.strsz = value,
                21 => self.debug = value,
                0x6fff_fef5 => self.gnu_hash = addr,
                0x6fff_fff0 => self.versym = addr,
                _ => {}
            }
        }
        if self.symtab != 0 && self.strtab != 0 { Some(self) } else { None }
    }

    fn lookup(&self, ctx: &Context, name: &str) -> Option<Symbol> {
        match (self.gnu_hash, self.hash) {
            (0, 0) => None,
            (0, hash) => self.by_hash(ctx, hash, name),
            (gnu, _) => self.by_gnu_hash(ctx, gnu, name),
        }
    }

    /// DT_HASH: nbucket, nchain, bucket[nbucket], chain[nchain]; System V ABI, "Hash Table".
    fn by_hash(&self, ctx: &Context, table: u64, name: &str) -> Option<Symbol> {
        let word = |i: u64| ctx.half(table.checked_add(i.checked_mul(4)?)?);
        let hash = name.bytes().fold(0u32, |h, b| {
            let h = (h << 4).wrapping_add(b.into());
            let high = h & 0xf000_0000;
            (h ^ (high >> 24)) & !high
        });
        let (buckets, chains) = (u64::from(word(0)?), u64::from(word(1)?));
        let mut i = u64::from(word(2 + u64::from(hash).checked_rem(buckets)?)?);
        for _ in 0..CHAIN {
            if i == 0 || i >= chains {
                break;
            }
            if let Some(found) = self.definition(ctx, i, name) {
                return Some(found);
            }
            i = u64::from(word(2 + buckets + i)?);
        }
        None
    }

    /// DT_GNU_HASH: nbuckets, symoffset, bloom_size, bloom_shift, bloom[bloom_size] (8 bytes each), buckets[nbuckets],
    /// then one hash per symbol from symoffset on, whose lowest bit ends a chain.
    fn by_gnu_hash(&self, ctx: &Context, table: u64, name: &str) -> Option<Symbol> {
        let hash = name.bytes().fold(5381u32, |h, b| h.wrapping_mul(33).wrapping_add(b.into()));
        let head = |i: u64| Some(u64::from(ctx.half(table.checked_add(i * 4)?)?));
        let (nr, first) = (head(0)?, head(1)?);
        let buckets = table.checked_add(16 + head(2)? * 8)?;
        let word = |i: u64| ctx.half(buckets.checked_add(i * 4)?);
        let begin = u64::from(word(u64::from(hash).checked_rem(nr)?)?);
        if begin == 0 || begin < first {
            return None;
        }
        for i in begin..begin + CHAIN {
            let value = word(nr + i - first)?;
            if value | 1 == hash | 1 {
                if let Some(found) = self.definition(ctx, i, name) {
                    return Some(found);
                }
            }
            if value & 1 == 1 {
                break;
            }
        }
        None
    }

    /// Symbol number i, if it is a definition of name that can be used by address. The resolver of an IFUNC and the
    /// offset of a thread-local variable are no such addresses; a hidden version (name@OLD) is for old binaries only.
    fn definition(&self, ctx: &Context, i: u64, name: &str) -> Option<Symbol> {
        const LOCAL: u32 = 0; // STB_*
        const TLS: u8 = 6; // STT_*
        const IFUNC: u8 = 10;
        const HIDDEN: u32 = 0x8000;
        let at = self.symtab.checked_add(i * SYM)?;
        let (text, rest) = (u64::from(ctx.half(at)?), ctx.half(at + 4)?);
        let (info, section) = (rest & 0xff, rest >> 16);
        let (kind, value, size) = (info as u8 & 0xf, ctx.word(at + 8)?, ctx.word(at + 16)?);
        if section == 0 || value == 0 || info >> 4 == LOCAL || kind == TLS || kind == IFUNC {
            return None;
        }
        if text >= self.strsz || !ctx.equals(self.strtab.checked_add(text)?, name) {
            return None;
        }
        let mut version = [0; 2];
        if self.versym != 0 && ctx.read(self.versym.checked_add(i * 2)?, &mut version).is_ok()
            && u32::from(u16::from_ne_bytes(version)) & HIDDEN != 0
        {
            return None;
        }
        Some(Symbol { addr: self.bias.wrapping_add(value), size, kind })
    }
}

/// Symbols in one hash chain; more are damage.
const CHAIN: u64 = 1_000_000;
