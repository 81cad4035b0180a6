// SPDX-License-Identifier: Apache-2.0
//! System calls, x86-64 and aarch64. Each place that makes one leaves a record of its number in the object,
//! struct crpie_syscall_record of `<crpie/abi.h>`.
use crate::{Errno, Result};
use core::arch::asm;

/// Numbers, asm/unistd_64.h and asm-generic/unistd.h.
#[cfg(target_arch = "x86_64")]
mod nr {
    pub const CLOSE: u32 = 3;
    pub const LSEEK: u32 = 8;
    pub const MMAP: u32 = 9;
    pub const MUNMAP: u32 = 11;
    pub const GETPID: u32 = 39;
    pub const PRCTL: u32 = 157;
    pub const GETTID: u32 = 186;
    pub const GETDENTS64: u32 = 217;
    pub const OPENAT: u32 = 257;
    pub const READLINKAT: u32 = 267;
    pub const PROCESS_VM_READV: u32 = 310;
    pub const PROCESS_VM_WRITEV: u32 = 311;
    pub const GETRANDOM: u32 = 318;
}
#[cfg(target_arch = "aarch64")]
mod nr {
    pub const OPENAT: u32 = 56;
    pub const CLOSE: u32 = 57;
    pub const GETDENTS64: u32 = 61;
    pub const LSEEK: u32 = 62;
    pub const READLINKAT: u32 = 78;
    pub const PRCTL: u32 = 167;
    pub const GETPID: u32 = 172;
    pub const GETTID: u32 = 178;
    pub const MUNMAP: u32 = 215;
    pub const MMAP: u32 = 222;
    pub const PROCESS_VM_READV: u32 = 270;
    pub const PROCESS_VM_WRITEV: u32 = 271;
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

/// A descriptor that is closed when this goes.
pub(crate) struct Fd(pub i32);

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: nobody else has it.
        let _ = unsafe { call::<{ nr::CLOSE }>([self.0 as usize, 0, 0, 0, 0, 0]) };
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) const O_DIRECTORY: usize = 0o200000;
#[cfg(target_arch = "aarch64")]
pub(crate) const O_DIRECTORY: usize = 0o40000;

const AT_FDCWD: usize = -100isize as usize;

/// Opens a file to read; path ends with a NUL.
pub(crate) fn open(path: &[u8], flags: usize) -> Result<Fd> {
    const O_CLOEXEC: usize = 0o2000000;
    assert!(path.last() == Some(&0));
    // SAFETY: the path is terminated.
    let fd = unsafe { call::<{ nr::OPENAT }>([AT_FDCWD, path.as_ptr() as usize, flags | O_CLOEXEC, 0, 0, 0]) }?;
    Ok(Fd(fd as i32))
}

/// The size of an open file, bytes.
pub(crate) fn size(fd: i32) -> Result<usize> {
    const SEEK_END: usize = 2;
    // SAFETY: it touches no memory.
    unsafe { call::<{ nr::LSEEK }>([fd as usize, 0, SEEK_END, 0, 0, 0]) }
}

/// Reads entries of a directory, getdents64(2); none at its end.
pub(crate) fn getdents(fd: i32, buf: &mut [u64]) -> Result<&[u8]> {
    let size = core::mem::size_of_val(buf);
    // SAFETY: the kernel writes at most size bytes there.
    unsafe {
        let n = call::<{ nr::GETDENTS64 }>([fd as usize, buf.as_mut_ptr() as usize, size, 0, 0, 0])?;
        Ok(core::slice::from_raw_parts(buf.as_ptr() as *const u8, n.min(size)))
    }
}

/// Reads a link; path ends with a NUL. Gives how many bytes of buf are written.
pub(crate) fn readlink(path: &[u8], buf: &mut [u8]) -> Result<usize> {
    assert!(path.contains(&0));
    let args = [AT_FDCWD, path.as_ptr() as usize, buf.as_mut_ptr() as usize, buf.len(), 0, 0];
    // SAFETY: the path is terminated, and the kernel writes at most buf.len() bytes.
    unsafe { call::<{ nr::READLINKAT }>(args) }
}

pub(crate) const PROT_READ: usize = 1;
pub(crate) const PROT_WRITE: usize = 2;
pub(crate) const MAP_ANONYMOUS: usize = 0x20;

/// Makes a private mapping, of a file if there is a descriptor.
pub(crate) fn mmap(size: usize, prot: usize, flags: usize, fd: i32) -> Result<usize> {
    const MAP_PRIVATE: usize = 2;
    // SAFETY: the kernel chooses where nothing is.
    unsafe { call::<{ nr::MMAP }>([0, size, prot, flags | MAP_PRIVATE, fd as usize, 0]) }
}

/// # Safety
/// Nobody uses what is mapped there any more.
pub(crate) unsafe fn munmap(addr: usize, size: usize) {
    let _ = call::<{ nr::MUNMAP }>([addr, size, 0, 0, 0, 0]);
}

/// Copies memory of the process itself as far as there is some: EFAULT instead of a crash.
pub(crate) fn read_process(pid: i32, addr: u64, to: &mut [u8]) -> Result {
    let (local, remote) = ([to.as_mut_ptr() as usize, to.len()], [addr as usize, to.len()]);
    // SAFETY: the kernel writes into the buffer.
    let n = unsafe { call::<{ nr::PROCESS_VM_READV }>(vectors(pid, &local, &remote)) }?;
    if n == to.len() { Ok(()) } else { Err(Errno::EFAULT) }
}

/// The same for writing: what is written is the caller's care.
pub(crate) fn write_process(pid: i32, addr: u64, from: &[u8]) -> Result {
    let (local, remote) = ([from.as_ptr() as usize, from.len()], [addr as usize, from.len()]);
    // SAFETY: the kernel reads the buffer.
    let n = unsafe { call::<{ nr::PROCESS_VM_WRITEV }>(vectors(pid, &local, &remote)) }?;
    if n == from.len() { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Arguments of process_vm_readv(2): one struct iovec each.
fn vectors(pid: i32, local: &[usize; 2], remote: &[usize; 2]) -> [usize; 6] {
    [pid as usize, local.as_ptr() as usize, 1, remote.as_ptr() as usize, 1, 0]
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
