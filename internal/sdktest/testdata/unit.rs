// SPDX-License-Identifier: Apache-2.0
//! Tells in log lines what the crate makes of a context; unit_rs_test.c reads them, and runs it.
#![no_std]
use crpie::{debug, error, info, param, param::Need, sys, warn, Context, Errno, Prot, Result};

fn start(ctx: &mut Context) -> Result {
    info!(ctx, "init {:#x}", ctx.stage());
    Ok(())
}

fn end(ctx: &mut Context) {
    info!(ctx, "exit {:#x}", ctx.stage());
}

fn tell(ctx: &mut Context) -> Result {
    info!(ctx, "stage {:#x} pid {} tid {} threads {}", ctx.stage(), ctx.pid(), ctx.tid(), ctx.threads());
    info!(ctx, "dumped {} restored {}", ctx.dump_time_ns(), ctx.restore_time_ns());
    info!(ctx, "comm {} {:?} plugin {}", ctx.comm(), ctx.comm().to_str(), ctx.plugin());
    info!(ctx, "text {:?} int {:?} size {:?} flag {:?} none {:?}", ctx.param("text"), ctx.int("int"), ctx.size("size"),
          ctx.flag("flag"), ctx.param("none"));
    warn!(ctx, "own pid {} float {:.2} {:>5}|{:<4}|", sys::getpid() == ctx.pid(), 1.0f64 / 3.0, 42, "ab");
    debug!(ctx, "{}", "long ".repeat(1000));
    Ok(())
}

/// core has no strings that grow; this one is only shown.
trait Repeat {
    fn repeat(&self, n: usize) -> Repeated<'_>;
}
struct Repeated<'a>(&'a str, usize);
impl Repeat for str {
    fn repeat(&self, n: usize) -> Repeated<'_> {
        Repeated(self, n)
    }
}
impl core::fmt::Display for Repeated<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        (0..self.1).try_for_each(|_| f.write_str(self.0))
    }
}

fn environment(ctx: &mut Context) -> Result {
    for text in ctx.environment() {
        info!(ctx, "env {}", text);
    }
    info!(ctx, "HOME {:?} NONE {:?}", ctx.env("HOME"), ctx.env("NONE"));
    ctx.set_env("HOME", "/")?;
    match (ctx.set_env("HOME", "/home/longer"), ctx.set_env("NONE", "")) {
        (Err(Errno::ENAMETOOLONG), Err(Errno::ENOENT)) => Ok(()),
        other => {
            error!(ctx, "{:?}", other);
            Err(Errno::EIO)
        }
    }
}

/// addr is 16 bytes of the test; behind them nothing is mapped.
fn memory(ctx: &mut Context) -> Result {
    let addr = ctx.int("addr").ok_or(Errno::EINVAL)?;
    let mut bytes = [0u8; 16];
    ctx.read(addr, &mut bytes)?;
    // SAFETY: the test waits for it.
    unsafe { ctx.write(addr, &[bytes[1], bytes[0]])? };
    let mut more = [0u8; 17];
    info!(ctx, "read {:?} covers {} {}", ctx.read(addr, &mut more), ctx.covers(addr, 16, Prot::READ | Prot::WRITE),
          ctx.covers(addr, 1, Prot::EXEC));
    // SAFETY: it writes nothing.
    info!(ctx, "write {:?}", unsafe { ctx.write(addr, &more) });
    let m = ctx.mapping_at(addr).ok_or(Errno::EFAULT)?;
    info!(ctx, "mapping {:#x} {} {:?} {:#x} {} {}", m.start(), m.end() - m.start(), m.prot(), m.flags(), m.offset(), m.name());
    let mut random = [0u8; 300];
    sys::getrandom(&mut random)?;
    let zeros = random.iter().filter(|b| **b == 0).count();
    if zeros > 100 { Err(Errno::EIO) } else { Ok(()) }
}

crpie::import!(TWICE, "_Z5twicei@V1", "libtwice.so.1", optional);
crpie::import!(GETPID, "getpid", "libc.so.6", required);

fn late(ctx: &mut Context) -> Result {
    info!(ctx, "late");
    // SAFETY: that is the type of the test's function.
    if let Some(twice) = unsafe { TWICE.function::<extern "C" fn(i32) -> i32>() } {
        info!(ctx, "twice {} {}", twice(4), GETPID.address().is_none());
    }
    match ctx.int("fail") {
        Some(n) => Err(Errno(n as i32)),
        None => Ok(()),
    }
}

fn panics(ctx: &mut Context) -> Result {
    let three = [1, 2, 3];
    info!(ctx, "{}", three[ctx.mappings().len()]);
    Ok(())
}

crpie::plugin! {
    name: "unit-rs",
    init: start,
    exit: end,
    params: [
        param::string("text", Need::Default("a default"), "any"),
        param::int("int", Need::Optional, 1, 100, "how many"),
        param::int("addr", Need::Optional, 0, u64::MAX, "where"),
        param::int("fail", Need::Optional, 1, 200, "errno"),
        param::size("size", Need::Optional, 1, 1 << 30, "how large"),
        param::boolean("flag", Need::Optional, "or not"),
        param::choice("word", Need::Optional, "one two", "which"),
        param::one_of("flag word", Need::Optional),
    ],
    hooks: [
        PRE_SIGRETURN => late, priority 5;
        PRE_SIGRETURN => tell;
        POST_MEMORY => environment;
        POST_FILES => memory;
        POST_THREADS => panics;
    ],
}
