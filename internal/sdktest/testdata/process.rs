// SPDX-License-Identifier: Apache-2.0
//! Uses what the crate has for a whole process; process_rs_test.c runs it in its own.
#![no_std]
use crpie::{fds, info, keep, keep_copy, param, param::Need, Context, Errno, Result};

/// Fails with a line that says where.
macro_rules! check {
    ($ctx:expr, $holds:expr) => {
        if !$holds {
            crpie::error!($ctx, "line {}", line!());
            return Err(Errno::EIO);
        }
    };
}

fn symbols(ctx: &mut Context) -> Result {
    let want = |key| ctx.int(key).ok_or(Errno::EINVAL);
    let found = ctx.symbol("strverscmp").ok_or(Errno::ENOENT)?;
    check!(ctx, found.addr == want("strverscmp")? && found.kind == 2 && found.size > 0);
    check!(ctx, ctx.symbol_in("libc.so", "strverscmp") == Some(found));
    check!(ctx, ctx.symbol_in("libm.so", "strverscmp").is_none() && ctx.symbol("strverscmp2").is_none());
    check!(ctx, ctx.symbol("hidden_variable").is_none());
    let hidden = ctx.symbol_in_file("hidden_variable")?;
    check!(ctx, hidden.addr == want("hidden")? && hidden.size == 12 && hidden.kind == 1);
    check!(ctx, ctx.symbol_in_file("hidden_variable2") == Err(Errno::ESRCH));
    check!(ctx, ctx.symbol_in_file("hidden") == Err(Errno::ESRCH));
    check!(ctx, ctx.errno().is_none());
    Ok(())
}

/// The descriptors named first to last are open, and refer to a memfd.
fn descriptors(ctx: &mut Context) -> Result {
    let (first, last) = (ctx.int("first").ok_or(Errno::EINVAL)? as i32, ctx.int("last").ok_or(Errno::EINVAL)? as i32);
    let (mut seen, mut before, mut ordered) = (0, -1, true);
    fds::each(|fd| {
        seen += i32::from(fd >= first && fd <= last);
        ordered &= fd > before;
        before = fd;
        Ok(())
    })?;
    check!(ctx, seen == last - first + 1 && ordered);
    let mut visited = 0;
    let stopped = fds::each(|fd| {
        visited += 1;
        if fd == first { Err(Errno(42)) } else { Ok(()) }
    });
    check!(ctx, stopped == Err(Errno(42)) && visited < before);
    let mut buf = [0; 64];
    check!(ctx, fds::path(first, &mut buf)? == b"/memfd:walked (deleted)");
    check!(ctx, fds::path(first, &mut buf[..24])?.len() == 23);
    check!(ctx, fds::path(first, &mut buf[..23]) == Err(Errno::ENAMETOOLONG));
    check!(ctx, fds::path(last + 1000, &mut buf) == Err(Errno::EBADF) && fds::path(-1, &mut buf) == Err(Errno::EBADF));
    Ok(())
}

fn environment(ctx: &mut Context) -> Result {
    let long = core::str::from_utf8(&[b'x'; 5000]).map_err(|_| Errno::EIO)?;
    ctx.setenv("GROWN", long)?;
    ctx.setenv("NEW1", "first")?;
    ctx.setenv("NEW2", "")?;
    ctx.setenv("NEW1", "1")?;
    for (name, value) in [("", "1"), ("A=B", "1"), ("A\0", "1"), ("A", "1\0")] {
        check!(ctx, ctx.setenv(name, value) == Err(Errno::EINVAL));
    }
    Ok(())
}

/// The addresses of what stays are logged.
fn late(ctx: &mut Context) -> Result {
    let errno = ctx.errno().ok_or(Errno::ESRCH)?;
    check!(ctx, errno.replace(5) == 33);
    let zeros = keep(4097)?;
    check!(ctx, zeros.len() == 4097 && zeros.iter().all(|b| *b == 0));
    zeros[4096] = 1;
    check!(ctx, keep(0) == Err(Errno::EINVAL) && keep(1 << 60) == Err(Errno::ENOMEM));
    info!(ctx, "kept {:p}", keep_copy(b"stays")?.as_ptr());
    Ok(())
}

crpie::plugin! {
    name: "process-rs",
    params: [
        param::int("strverscmp", Need::Optional, 1, u64::MAX, "where it is"),
        param::int("hidden", Need::Optional, 1, u64::MAX, "where it is"),
        param::int("first", Need::Optional, 0, 1000, "descriptor"),
        param::int("last", Need::Optional, 0, 1000, "descriptor"),
    ],
    hooks: [
        POST_MEMORY => symbols;
        POST_FILES => descriptors;
        POST_THREADS => environment;
        PRE_SIGRETURN => late;
    ],
}
