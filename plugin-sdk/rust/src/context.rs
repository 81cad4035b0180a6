// SPDX-License-Identifier: Apache-2.0
//! What a hook is handed, without pointers.
use crate::{abi, Errno, Result};
use core::fmt;

/// Text of the process: any bytes, shown with U+FFFD for those that are not UTF-8.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// SAFETY: p points at bytes and a NUL, which stay for 'a.
    pub(crate) unsafe fn at(p: *const u8) -> Text<'a> {
        Text(core::slice::from_raw_parts(p, crate::memory::length(p)))
    }

    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The text, if all of it is UTF-8.
    pub fn to_str(&self) -> Option<&'a str> {
        core::str::from_utf8(self.0).ok()
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        loop {
            match core::str::from_utf8(rest) {
                Ok(all) => return f.write_str(all),
                Err(err) => {
                    let (good, bad) = rest.split_at(err.valid_up_to());
                    f.write_str(core::str::from_utf8(good).unwrap_or(""))?;
                    f.write_str("\u{fffd}")?;
                    rest = bad.get(err.error_len().unwrap_or(bad.len())..).unwrap_or(&[]);
                }
            }
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self)
    }
}

/// PROT_* of mmap(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prot(pub u32);

impl Prot {
    pub const READ: Prot = Prot(1);
    pub const WRITE: Prot = Prot(2);
    pub const EXEC: Prot = Prot(4);

    /// True if all of other is allowed here.
    pub fn has(self, other: Prot) -> bool {
        self.0 & other.0 == other.0
    }
}

impl core::ops::BitOr for Prot {
    type Output = Prot;
    fn bitor(self, other: Prot) -> Prot {
        Prot(self.0 | other.0)
    }
}

/// A mapping of the task as it was dumped: struct crpie_vma.
#[repr(transparent)]
pub struct Mapping(abi::Vma);

impl Mapping {
    pub fn start(&self) -> u64 {
        self.0.start
    }

    /// One past the last byte.
    pub fn end(&self) -> u64 {
        self.0.end
    }

    pub fn prot(&self) -> Prot {
        Prot(self.0.prot)
    }

    /// MAP_* of mmap(2).
    pub fn flags(&self) -> u32 {
        self.0.flags
    }

    /// Offset into the file, bytes.
    pub fn offset(&self) -> u64 {
        self.0.pgoff
    }

    /// Path of the file, or `[heap]`, `[stack]`, `[vdso]`, `[vvar]`, or nothing.
    pub fn name(&self) -> Text<'_> {
        // SAFETY: strings of the context are terminated and stay until the last hook has returned.
        unsafe { Text::at(self.0.name) }
    }
}

/// What a hook is handed: struct crpie_ctx.
#[repr(transparent)]
pub struct Context(pub(crate) abi::Ctx);

/// SAFETY: of the caller: p points at n values that stay for 'a; crpie leaves p 0 where n is 0.
unsafe fn slice<'a, T>(p: *const T, n: u64) -> &'a [T] {
    if n == 0 {
        return &[];
    }
    core::slice::from_raw_parts(p, n as usize)
}

impl Context {
    /// The stage: one of the numbers in [`abi`].
    pub fn stage(&self) -> u32 {
        self.0.hook
    }

    /// The task's pid, in its own pid namespace.
    pub fn pid(&self) -> i32 {
        self.0.pid
    }

    /// The thread's tid.
    pub fn tid(&self) -> i32 {
        self.0.tid
    }

    /// Number of threads, the leader included.
    pub fn threads(&self) -> u32 {
        self.0.nr_threads
    }

    /// When the images were completed, CLOCK_REALTIME, ns.
    pub fn dump_time_ns(&self) -> i64 {
        self.0.dump_time_ns
    }

    /// When this restore began, CLOCK_REALTIME, ns.
    pub fn restore_time_ns(&self) -> i64 {
        self.0.restore_time_ns
    }

    /// The registers with which the thread goes on, in hooks of PIE_RST_PRE_SIGRETURN_THREAD.
    pub fn regs(&mut self) -> Option<&mut abi::Regs> {
        if self.0.size < abi::CTX_WITH_REGS {
            return None;
        }
        // SAFETY: null, or the thread's own until the hook returns.
        unsafe { self.0.regs.as_mut() }
    }

    /// The task's timers, in hooks of PIE_RST_PRE_SIGRETURN.
    pub fn timers(&mut self) -> &mut [abi::Timer] {
        if self.0.size < abi::CTX_WITH_TIMERS || self.0.nr_timers == 0 {
            return &mut [];
        }
        // SAFETY: the context has nr_timers timers, which are the hook's until it returns.
        unsafe { core::slice::from_raw_parts_mut(self.0.timers, self.0.nr_timers as usize) }
    }

    /// Name of the task, at most 15 bytes.
    pub fn comm(&self) -> Text<'_> {
        // SAFETY: as for Mapping::name.
        unsafe { Text::at(self.0.comm) }
    }

    /// Name of this plugin.
    pub fn plugin(&self) -> Text<'_> {
        // SAFETY: as for Mapping::name.
        unsafe { Text::at(self.0.plugin) }
    }

    /// Value of a parameter; if it was given twice, the last one counts.
    pub fn param(&self, key: &str) -> Option<Text<'_>> {
        // SAFETY: the context has nr_params parameters, with terminated strings.
        unsafe {
            let all: &[abi::Param] = slice(self.0.params, self.0.nr_params);
            let found = all.iter().rev().find(|p| Text::at(p.key).0 == key.as_bytes())?;
            Some(Text::at(found.value))
        }
    }

    /// Value of a parameter that is declared as `param::int`; decimal or with 0x.
    pub fn int(&self, key: &str) -> Option<u64> {
        let text = self.param(key)?.to_str()?;
        match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        }
    }

    /// Value of a parameter that is declared as `param::size`, in bytes.
    pub fn size(&self, key: &str) -> Option<u64> {
        let text = self.param(key)?.to_str()?;
        let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let shift = match unit {
            "" => 0,
            "K" | "k" => 10,
            "M" | "m" => 20,
            "G" | "g" => 30,
            "T" | "t" => 40,
            _ => return None,
        };
        digits.parse::<u64>().ok()?.checked_mul(1 << shift)
    }

    /// Value of a parameter that is declared as `param::boolean`.
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.param(key)?.to_str()? {
            "1" | "yes" | "true" | "on" | "" => Some(true),
            "0" | "no" | "false" | "off" => Some(false),
            _ => None,
        }
    }

    /// The mappings, in address order, as they are from POST_MEMORY on.
    pub fn mappings(&self) -> &[Mapping] {
        // SAFETY: the context has nr_vmas mappings; Mapping is one of them under another name.
        unsafe { slice(self.0.vmas as *const Mapping, self.0.nr_vmas) }
    }

    /// The mapping that holds an address.
    pub fn mapping_at(&self, addr: u64) -> Option<&Mapping> {
        self.mappings().iter().find(|m| m.start() <= addr && addr < m.end())
    }

    /// True if all of addr to addr+len is mapped with at least that protection.
    pub fn covers(&self, addr: u64, len: u64, prot: Prot) -> bool {
        let end = match addr.checked_add(len) {
            Some(end) => end,
            None => return false,
        };
        let mut at = addr;
        while at < end {
            match self.mapping_at(at) {
                Some(m) if m.prot().has(prot) => at = m.end(),
                _ => return false,
            }
        }
        true
    }

    /// Copies memory of the program; EFAULT if not all of it can be read.
    pub fn read(&self, addr: u64, to: &mut [u8]) -> Result {
        if !self.covers(addr, to.len() as u64, Prot::READ) {
            return Err(Errno::EFAULT);
        }
        // SAFETY: that is mapped memory of the program, and to is the plugin's.
        unsafe { core::ptr::copy(addr as *const u8, to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    /// Writes memory of the program; EFAULT, and nothing is written, if it is not writable.
    ///
    /// # Safety
    /// The program has to expect what it finds there.
    pub unsafe fn write(&self, addr: u64, from: &[u8]) -> Result {
        if !self.covers(addr, from.len() as u64, Prot::WRITE) {
            return Err(Errno::EFAULT);
        }
        core::ptr::copy(from.as_ptr(), addr as *mut u8, from.len());
        Ok(())
    }

    /// The strings NAME=VALUE that execve(2) left on the program's stack.
    pub fn environment(&self) -> impl Iterator<Item = Text<'_>> {
        // SAFETY: every context has an mm, and the block is read only if it is mapped.
        let block: &[u8] = unsafe {
            let mm = &*self.0.mm;
            let len = mm.env_end.saturating_sub(mm.env_start);
            match self.covers(mm.env_start, len, Prot::READ) {
                true => slice(mm.env_start as *const u8, len),
                false => &[],
            }
        };
        let whole = block.iter().rposition(|b| *b == 0).unwrap_or(0);
        block.get(..whole).unwrap_or(&[]).split(|b| *b == 0).filter(|s| s.contains(&b'=')).map(Text)
    }

    /// Value of an environment variable: what getenv(3) finds unless the program has set it itself.
    pub fn env(&self, name: &str) -> Option<Text<'_>> {
        self.environment().find_map(|text| {
            let rest = text.0.strip_prefix(name.as_bytes())?;
            rest.strip_prefix(b"=").map(Text)
        })
    }

    /// Replaces an environment variable's value in place: ENOENT if there is none of that name, ENAMETOOLONG if the
    /// value is longer than the old one, EFAULT if the block is not writable.
    pub fn set_env(&self, name: &str, value: &str) -> Result {
        let old = self.env(name).ok_or(Errno::ENOENT)?.0;
        if value.len() > old.len() {
            return Err(Errno::ENAMETOOLONG);
        }
        let (addr, len) = (old.as_ptr() as u64, old.len() as u64);
        if !self.covers(addr, len, Prot::WRITE) {
            return Err(Errno::EFAULT);
        }
        // SAFETY: a shorter string with its NUL, in the place of a longer one, is what getenv(3) expects.
        unsafe {
            core::ptr::copy(value.as_ptr(), addr as *mut u8, value.len());
            core::ptr::write_bytes((addr as *mut u8).add(value.len()), 0, old.len() - value.len());
        }
        Ok(())
    }
}
