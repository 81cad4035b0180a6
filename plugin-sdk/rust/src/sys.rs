// SPDX-License-Identifier: Apache-2.0
//! System calls, x86-64 and aarch64. Each place that makes one leaves a record of its number in the object,
//! struct crpie_syscall_record of `<crpie/abi.h>`.
use crate::{Errno, Result};
use core::arch::asm;

/// Numbers, asm/unistd_64.h and asm-generic/unistd.h.
#[cfg(target_arch = "x86_64")]
mod nr {
    pub const GETPID: u32 = 39;
    pub const PRCTL: u32 = 157;
    pub const GETTID: u32 = 186;
    pub const GETRANDOM: u32 = 318;
}
#[cfg(target_arch = "aarch64")]
mod nr {
    pub const PRCTL: u32 = 167;
    pub const GETPID: u32 = 172;
    pub const GETTID: u32 = 178;
    pub const GETRANDOM: u32 = 278;
}

/// CRPIE_SYSCALL_COMPUTED: the record of a call whose number is not known when it is compiled.
const COMPUTED: u32 = u32::MAX;

/// Makes the system call of a number that is computed; its arguments as syscall(2) has them. The plugin then declares
/// that it may make any: with a constant number [`call`] is better.
///
/// # Safety
/// Whatever the call does to memory and descriptors of the process.
pub unsafe fn syscall(number: usize, args: [usize; 6]) -> Result<usize> {
    declared::<COMPUTED>(number, args)
}

/// Makes a system call and declares it: `call::<39>([0; 6])`.
///
/// # Safety
/// As of syscall.
pub unsafe fn call<const NUMBER: u32>(args: [usize; 6]) -> Result<usize> {
    declared::<NUMBER>(NUMBER as usize, args)
}

/// Makes a call, and writes its record into the object.
unsafe fn declared<const RECORD: u32>(number: usize, args: [usize; 6]) -> Result<usize> {
    asm!(".pushsection crpie_syscalls, \"a\", %progbits", ".balign 8", ".long 16, 1, {record}, 0", ".popsection",
         record = const RECORD, options(nomem, nostack, preserves_flags));
    let [a, b, c, d, e, f] = args;
    let ret: isize;
    #[cfg(target_arch = "x86_64")]
    asm!("syscall", inlateout("rax") number as isize => ret, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
         in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    #[cfg(target_arch = "aarch64")]
    asm!("svc #0", in("x8") number, inlateout("x0") a as isize => ret, in("x1") b, in("x2") c, in("x3") d,
         in("x4") e, in("x5") f, options(nostack));
    if (-4095..0).contains(&ret) { Err(Errno(-ret as i32)) } else { Ok(ret as usize) }
}

fn plain<const NUMBER: u32>() -> i32 {
    // SAFETY: getpid(2) and gettid(2) take nothing and cannot fail.
    unsafe { call::<NUMBER>([0; 6]) }.unwrap_or(0) as i32
}

pub fn getpid() -> i32 {
    plain::<{ nr::GETPID }>()
}

pub fn gettid() -> i32 {
    plain::<{ nr::GETTID }>()
}

/// Fills the bytes with random ones, getrandom(2).
pub fn getrandom(mut to: &mut [u8]) -> Result {
    while !to.is_empty() {
        // SAFETY: the kernel writes at most to.len() bytes there.
        let n = unsafe { call::<{ nr::GETRANDOM }>([to.as_mut_ptr() as usize, to.len(), 0, 0, 0, 0]) }?;
        to = to.get_mut(n..).unwrap_or(&mut []);
    }
    Ok(())
}

/// Names the calling thread, prctl(PR_SET_NAME): at most 15 bytes of it.
pub fn set_name(name: &[u8]) -> Result {
    let mut text = [0u8; 16];
    for (to, from) in text.iter_mut().take(15).zip(name) {
        *to = *from;
    }
    // SAFETY: the kernel reads 16 bytes there.
    unsafe { call::<{ nr::PRCTL }>([15 /* PR_SET_NAME */, text.as_ptr() as usize, 0, 0, 0, 0]) }.map(|_| ())
}

/// Ends the hook as a crash does.
pub(crate) fn trap() -> ! {
    // SAFETY: the instruction is undefined, which is what it is for.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("ud2", options(noreturn, nostack));
        #[cfg(target_arch = "aarch64")]
        asm!("udf #0", options(noreturn, nostack));
    }
}
