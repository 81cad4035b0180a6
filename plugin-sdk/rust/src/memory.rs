// SPDX-License-Identifier: Apache-2.0
//! The functions that rustc calls unasked: there is no libc to have them.
//!
//! Volatile accesses keep the compiler from making a call of the function out of its own loop. They are hidden, so that
//! a unit test that an object is linked with keeps libc's.
use core::arch::global_asm;

global_asm!(".hidden memcpy", ".hidden memmove", ".hidden memset", ".hidden memcmp", ".hidden bcmp", ".hidden strlen");

/// # Safety
/// As memcpy(3).
#[no_mangle]
pub unsafe extern "C" fn memcpy(dst: *mut u8, src: *const u8, n: usize) -> *mut u8 {
    #[cfg(target_arch = "x86_64")]
    core::arch::asm!("rep movsb", inout("rcx") n => _, inout("rdi") dst => _, inout("rsi") src => _,
                     options(nostack, preserves_flags));
    #[cfg(not(target_arch = "x86_64"))]
    for i in 0..n {
        dst.add(i).write_volatile(*src.add(i));
    }
    dst
}

/// # Safety
/// As memmove(3).
#[no_mangle]
pub unsafe extern "C" fn memmove(dst: *mut u8, src: *const u8, n: usize) -> *mut u8 {
    if (dst as usize).wrapping_sub(src as usize) >= n {
        return memcpy(dst, src, n);
    }
    for i in (0..n).rev() {
        dst.add(i).write_volatile(*src.add(i));
    }
    dst
}

/// # Safety
/// As memset(3).
#[no_mangle]
pub unsafe extern "C" fn memset(dst: *mut u8, c: i32, n: usize) -> *mut u8 {
    #[cfg(target_arch = "x86_64")]
    core::arch::asm!("rep stosb", inout("rcx") n => _, inout("rdi") dst => _, in("al") c as u8,
                     options(nostack, preserves_flags));
    #[cfg(not(target_arch = "x86_64"))]
    for i in 0..n {
        dst.add(i).write_volatile(c as u8);
    }
    dst
}

/// # Safety
/// As memcmp(3).
#[no_mangle]
pub unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    for i in 0..n {
        let (x, y) = (a.add(i).read_volatile(), b.add(i).read_volatile());
        if x != y {
            return i32::from(x) - i32::from(y);
        }
    }
    0
}

/// # Safety
/// As bcmp(3).
#[no_mangle]
pub unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    memcmp(a, b, n)
}

/// # Safety
/// As strlen(3).
#[no_mangle]
pub unsafe extern "C" fn strlen(s: *const u8) -> usize {
    length(s)
}

/// SAFETY: of the caller: s is terminated.
pub(crate) unsafe fn length(s: *const u8) -> usize {
    let mut n = 0;
    while s.add(n).read_volatile() != 0 {
        n += 1;
    }
    n
}
