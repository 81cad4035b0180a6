// SPDX-License-Identifier: Apache-2.0
//! Sets an environment variable to a value of any length, or one that is not there: as the program's own setenv(3)
//! does, by libc's variable environ (environ(7)), which getenv(3) follows.
use crate::keep::{give_up, keep};
use crate::{sys, Context, Errno, Prot, Result};

const E2BIG: Errno = Errno(7);

/// Entries of an environment; a program with more has damaged its own.
const MOST: u64 = 1 << 20;

impl Context {
    /// Sets name to value, from POST_MEMORY on; set_env changes the strings of execve(2) in place, and needs no libc.
    ///
    /// A variable that the program has set itself is found, too. Not changed are /proc/PID/environ, copies that the
    /// program has made, as os.environ of Python, and environments without libc, as Go's. The memory stays in the
    /// program, a page or more for each call; what it replaces is left as it is: a pointer to it may be somewhere.
    ///
    /// Nothing has changed if it fails: EINVAL (name is empty or has '=', or one of them a NUL), ESRCH (the program has
    /// no environ: no libc, or static and stripped), EFAULT (its environment is not where it should be), E2BIG (7: it
    /// has no end), and what symbol_in_file, mmap(2), process_vm_readv(2) and process_vm_writev(2) say.
    pub fn setenv(&mut self, name: &str, value: &str) -> Result {
        if name.is_empty() || name.contains(&['=', '\0'][..]) || value.contains('\0') {
            return Err(Errno::EINVAL);
        }
        let variable = self.environ()?;
        let array = self.entry(variable)?;
        let (index, found) = self.find_entry(array, name)?;
        let text = keep(name.len() + value.len() + 2)?;
        for (to, from) in text.iter_mut().zip(name.bytes().chain([b'=']).chain(value.bytes())) {
            *to = from;
        }
        let string = text.as_ptr() as u64;
        let done = match found {
            true => self.copy_out(array + index * 8, &string.to_ne_bytes()),
            false => self.grow(variable, array, index, string),
        };
        if done.is_err() {
            give_up(text);
        }
        done
    }

    /// Where libc's environ is.
    fn environ(&self) -> Result<u64> {
        let exported = self.symbol("environ").or_else(|| self.symbol("__environ"));
        match exported {
            Some(found) => Ok(found.addr),
            None => self.symbol_in_file("__environ").map(|found| found.addr),
        }
    }

    /// Finds the index of name's entry in an array of pointers, or of the null behind the last one.
    fn find_entry(&self, array: u64, name: &str) -> Result<(u64, bool)> {
        if array == 0 {
            return Ok((0, false));
        }
        for i in 0..MOST {
            let entry = self.entry(array.checked_add(i * 8).ok_or(Errno::EFAULT)?)?;
            if entry == 0 || self.is_variable(entry, name) {
                return Ok((i, entry != 0));
            }
        }
        Err(E2BIG)
    }

    /// True if the string at an address begins with name and '='.
    fn is_variable(&self, addr: u64, name: &str) -> bool {
        name.bytes().chain([b'=']).zip(addr..).all(|(want, at)| {
            let mut byte = [0; 1];
            self.copy_in(at, &mut byte).is_ok() && byte[0] == want
        })
    }

    /// Makes a new array of the count entries, with the string behind them and a null, the program's environ.
    fn grow(&self, variable: u64, array: u64, count: u64, string: u64) -> Result {
        let grown = keep((count as usize + 2) * 8)?;
        let addr = grown.as_ptr() as u64;
        let (old, new) = grown.split_at_mut(count as usize * 8);
        let mut done = self.copy_in(array, old);
        for (to, from) in new.iter_mut().zip(string.to_ne_bytes()) {
            *to = from;
        }
        if done.is_ok() {
            done = self.copy_out(variable, &addr.to_ne_bytes());
        }
        if done.is_err() {
            give_up(grown);
        }
        done
    }

    fn entry(&self, addr: u64) -> Result<u64> {
        let mut word = [0; 8];
        self.copy_in(addr, &mut word)?;
        Ok(u64::from_ne_bytes(word))
    }

    /// Copies memory of the process. What an earlier call has mapped is in no list of mappings: the kernel says EFAULT
    /// where the hook would crash.
    fn copy_in(&self, addr: u64, to: &mut [u8]) -> Result {
        if to.is_empty() || self.read(addr, to).is_ok() {
            return Ok(());
        }
        sys::read_process(self.pid(), addr, to)
    }

    /// The same for writing. Only environ and its entries are written.
    fn copy_out(&self, addr: u64, from: &[u8]) -> Result {
        if self.covers(addr, from.len() as u64, Prot::WRITE) {
            // SAFETY: libc follows what is written there.
            return unsafe { self.write(addr, from) };
        }
        sys::write_process(self.pid(), addr, from)
    }
}
