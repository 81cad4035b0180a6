// SPDX-License-Identifier: Apache-2.0
//! Memory that stays in the program when the plugin is gone, from POST_MEMORY on. The plugin's own code, variables and
//! strings are unmapped before the program goes on: what the program is to find afterwards is put here.
use crate::{sys, Result};

/// Maps size bytes of zeros, at least one: a private anonymous mapping of its own, readable and writable, in whole
/// pages. It is not among the mappings of the context, which are those of the dump. EINVAL, ENOMEM and what else
/// mmap(2) says.
pub fn keep(size: usize) -> Result<&'static mut [u8]> {
    let addr = sys::mmap(size, sys::PROT_READ | sys::PROT_WRITE, sys::MAP_ANONYMOUS, -1)?;
    // SAFETY: nobody else knows of the new mapping, and it stays.
    Ok(unsafe { core::slice::from_raw_parts_mut(addr as *mut u8, size) })
}

/// The same with a copy of the bytes.
pub fn keep_copy(from: &[u8]) -> Result<&'static mut [u8]> {
    let kept = keep(from.len())?;
    kept.copy_from_slice(from);
    Ok(kept)
}

/// Unmaps what keep has given.
pub(crate) fn give_up(kept: &'static mut [u8]) {
    // SAFETY: the reference ends here.
    unsafe { sys::munmap(kept.as_mut_ptr() as usize, kept.len()) }
}
