// SPDX-License-Identifier: Apache-2.0
//! The open descriptors, which are the program's from POST_FILES on. They are read from /proc/self/fd, proc(5), which
//! takes a /proc of the process's own pid namespace: without one it is ENOENT.
use crate::{sys, Errno, Result};
use core::fmt::Write;

/// Calls f for each open descriptor, ascending, until it fails. f may close the one that it is given.
pub fn each(mut f: impl FnMut(i32) -> Result) -> Result {
    let dir = sys::open(b"/proc/self/fd\0", sys::O_DIRECTORY)?;
    let mut buf = [0u64; 64]; // aligned for the entries
    loop {
        let entries = sys::getdents(dir.0, &mut buf)?;
        if entries.is_empty() {
            return Ok(());
        }
        for fd in Numbers(entries).filter(|fd| *fd != dir.0) {
            f(fd)?;
        }
    }
}

/// Shows what a descriptor is: the path of a file, `socket:[INODE]`, `pipe:[INODE]`, `anon_inode:[eventfd]`, proc(5).
/// EBADF, or ENAMETOOLONG if it may not fit into buf.
pub fn path(fd: i32, buf: &mut [u8]) -> Result<&[u8]> {
    let mut link = Link([0; 32], 0);
    write!(link, "/proc/self/fd/{}\0", fd).map_err(|_| Errno::EINVAL)?;
    let n = match sys::readlink(&link.0, buf) {
        Err(Errno::ENOENT) => return Err(Errno::EBADF),
        other => other?,
    };
    if n == buf.len() {
        return Err(Errno::ENAMETOOLONG);
    }
    Ok(buf.get(..n).unwrap_or(&[]))
}

/// The path of a link in /proc, and its length.
struct Link([u8; 32], usize);

impl Write for Link {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        let to = self.0.get_mut(self.1..self.1 + s.len()).ok_or(core::fmt::Error)?;
        to.copy_from_slice(s.as_bytes());
        self.1 += s.len();
        Ok(())
    }
}

/// The numbers among the names of struct linux_dirent64, getdents64(2).
struct Numbers<'a>(&'a [u8]);

impl Iterator for Numbers<'_> {
    type Item = i32;

    fn next(&mut self) -> Option<i32> {
        const LENGTH: usize = 16; // of the entry, two bytes
        const NAME: usize = 19;
        loop {
            let length = u16::from_ne_bytes([*self.0.get(LENGTH)?, *self.0.get(LENGTH + 1)?]) as usize;
            let name = self.0.get(NAME..length)?;
            self.0 = self.0.get(length..)?;
            let name = name.split(|b| *b == 0).next()?;
            if let Some(fd) = core::str::from_utf8(name).ok().and_then(|text| text.parse().ok()) {
                return Some(fd);
            }
        }
    }
}
