// SPDX-License-Identifier: Apache-2.0
//! Symbols in the file of the program: static ones, those that are not exported, and those of programs linked with
//! -static.
use crate::symbols::{headers_of, Symbol, EHDR};
use crate::{sys, Context, Errno, Result};

const ENOEXEC: Errno = Errno(8);
const ESTALE: Errno = Errno(116);

impl Context {
    /// Looks a symbol up in the program's file, which is opened with the privileges and in the root directory that the
    /// stage has, and used only if it begins with the same ELF header as the memory. ESRCH (no such symbol, or
    /// stripped), EEXIST (several static ones of that name), ESTALE (116: the file is not the one that was dumped),
    /// ENOEXEC (8: damaged), or why it cannot be opened.
    pub fn symbol_in_file(&self, name: &str) -> Result<Symbol> {
        const AT_PHDR: u64 = 3;
        let headers = headers_of(self.auxv(AT_PHDR));
        let mut mine = [0; EHDR as usize];
        let mapping = self.mapping_at(headers).ok_or(Errno::ESRCH)?;
        let path = mapping.name().bytes();
        if path.first() != Some(&b'/') || self.read(headers, &mut mine).is_err() {
            return Err(Errno::ESRCH);
        }
        let file = File::map(path)?;
        if file.bytes().get(..mine.len()) != Some(&mine) {
            return Err(ESTALE);
        }
        search(file.bytes(), headers, name)
    }
}

/// A file that is mapped as long as this is there.
struct File(usize, usize);

impl File {
    /// path is that of a mapping of the context: a NUL is behind it.
    fn map(path: &[u8]) -> Result<File> {
        // SAFETY: strings of the context are terminated.
        let path = unsafe { core::slice::from_raw_parts(path.as_ptr(), path.len() + 1) };
        let fd = sys::open(path, 0)?;
        let size = sys::size(fd.0)?.max(1);
        Ok(File(sys::mmap(size, sys::PROT_READ, 0, fd.0)?, size))
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: that is mapped until it is dropped.
        unsafe { core::slice::from_raw_parts(self.0 as *const u8, self.1) }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: nobody has references into it any more.
        unsafe { sys::munmap(self.0, self.1) }
    }
}

/// Little-endian numbers of an ELF file; None: the file does not have them.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number(&self, at: usize, size: usize) -> Option<u64> {
        let bytes = self.0.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    /// Entry i of a table of entries of that size.
    fn entry(&self, table: u64, i: u64, size: u64) -> Option<Fields<'a>> {
        let at = table.checked_add(i.checked_mul(size)?)?;
        self.part(at, size)
    }

    fn part(&self, at: u64, size: u64) -> Option<Fields<'a>> {
        let end = at.checked_add(size)?;
        Some(Fields(self.0.get(usize::try_from(at).ok()?..usize::try_from(end).ok()?)?))
    }
}

/// Searches the ELF file whose header lies at address headers of the program.
fn search(file: &[u8], headers: u64, name: &str) -> Result<Symbol> {
    let file = Fields(file);
    let table = tables(&file, headers).ok_or(ENOEXEC)?;
    let (bias, symbols, strings) = table.ok_or(Errno::ESRCH)?;
    let (mut at, mut found) = (0, None::<Symbol>);
    while let Some(symbol) = symbols.part(at, 24) {
        at += 24;
        if let Some((new, local)) = judge(&symbol, &strings, bias, name) {
            if !local {
                return Ok(new);
            }
            if found.map_or(false, |old| old.addr != new.addr) {
                return Err(Errno::EEXIST);
            }
            found = Some(new);
        }
    }
    found.ok_or(Errno::ESRCH)
}

/// The load bias, the symbol table and its strings: None if the file is damaged, Some(None) if it has no symbols.
fn tables<'a>(file: &Fields<'a>, headers: u64) -> Option<Option<(u64, Fields<'a>, Fields<'a>)>> {
    let mut bias = headers;
    let (phoff, shoff) = (file.number(32, 8)?, file.number(40, 8)?);
    if file.number(54, 2)? != 56 || file.number(58, 2)? != 64 {
        return None;
    }
    for i in 0..file.number(56, 2)? {
        let header = file.entry(phoff, i, 56)?;
        if header.number(0, 4)? == 1 /* PT_LOAD */ && header.number(8, 8)? == 0 {
            bias = headers.wrapping_sub(header.number(16, 8)?);
        }
    }
    let sections = file.number(60, 2)?;
    let contents = |header: &Fields| file.part(header.number(24, 8)?, header.number(32, 8)?);
    for i in 0..sections {
        let header = file.entry(shoff, i, 64)?;
        let strings = header.number(40, 4)?;
        if header.number(4, 4)? == 2 /* SHT_SYMTAB */ && strings < sections {
            let strings = file.entry(shoff, strings, 64)?;
            return Some(Some((bias, contents(&header)?, contents(&strings)?)));
        }
    }
    Some(None)
}

/// A symbol that has the name, and whether it is local.
fn judge(symbol: &Fields, strings: &Fields, bias: u64, name: &str) -> Option<(Symbol, bool)> {
    let text = usize::try_from(symbol.number(0, 4)?).ok()?;
    let (info, section) = (symbol.number(4, 1)? as u8, symbol.number(6, 2)?);
    let kind = info & 0xf; // NOTYPE, OBJECT, FUNC are the first three
    if section == 0 || kind > 2 || !strings.0.get(text..)?.strip_prefix(name.as_bytes())?.starts_with(&[0]) {
        return None;
    }
    let addr = bias.wrapping_add(symbol.number(8, 8)?);
    Some((Symbol { addr, size: symbol.number(16, 8)?, kind }, info >> 4 == 0))
}
