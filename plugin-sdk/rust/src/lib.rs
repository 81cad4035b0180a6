// SPDX-License-Identifier: Apache-2.0
//! PIE plugins in Rust: code that crpie runs inside a process while it is restored. No dependencies, no `std`.
//!
//!     #![no_std]
//!     use crpie::{Context, Result};
//!
//!     fn greet(ctx: &mut Context) -> Result {
//!         crpie::info!(ctx, "{} has {} threads", ctx.comm(), ctx.threads());
//!         Ok(())
//!     }
//!
//!     crpie::plugin! {
//!         name: "greet",
//!         params: [],
//!         hooks: [PRE_SIGRETURN => greet],
//!     }
//!
//! A makefile with `CRPIE_RUST = crate` and plugin.mk builds it: as a static library with link-time optimisation, which
//! takes in what is used of `core`, formatting included, and `ld -r` makes one object of that. A panic is logged with
//! its place, and then the hook fails as if it had crashed, which undoes the restore.
//!
//! Symbols of the program are declared by [`import!`], which crpie finds before a process exists;
//! [`Context::symbol`] and [`Context::symbol_in_file`] look for them at run time.
#![no_std]

pub mod abi;
mod context;
pub mod fds;
pub mod import;
mod keep;
mod log;
mod memory;
mod panic;
pub mod param;
mod plugin;
mod setenv;
mod symbols;
mod symtab;
pub mod sys;

pub use context::{Context, Mapping, Prot, Text};
pub use log::{Level, Line};
pub use keep::{keep, keep_copy};
pub use plugin::{call_exit, call_hook, call_init};
pub use symbols::Symbol;

/// An error number, such as `Errno::EINVAL`, of which crpie is told the negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

/// What hooks return. `Err(Errno::ENOTSUP)` says "not for this task"; any other error undoes the restore.
pub type Result<T = ()> = core::result::Result<T, Errno>;

/// errno(3), asm-generic/errno-base.h and errno.h.
impl Errno {
    pub const EPERM: Errno = Errno(1);
    pub const ENOENT: Errno = Errno(2);
    pub const ESRCH: Errno = Errno(3);
    pub const EINTR: Errno = Errno(4);
    pub const EIO: Errno = Errno(5);
    pub const EBADF: Errno = Errno(9);
    pub const EAGAIN: Errno = Errno(11);
    pub const ENOMEM: Errno = Errno(12);
    pub const EACCES: Errno = Errno(13);
    pub const EFAULT: Errno = Errno(14);
    pub const EBUSY: Errno = Errno(16);
    pub const EEXIST: Errno = Errno(17);
    pub const EINVAL: Errno = Errno(22);
    pub const ENOSPC: Errno = Errno(28);
    pub const ERANGE: Errno = Errno(34);
    pub const ENAMETOOLONG: Errno = Errno(36);
    pub const ENOSYS: Errno = Errno(38);
    pub const ENOTSUP: Errno = Errno(95);
}

impl core::fmt::Display for Errno {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "errno {}", self.0)
    }
}
