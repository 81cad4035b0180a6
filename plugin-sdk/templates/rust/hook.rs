//! @NAME@: names the process anew. Change it into what you need.
//!
//!     crpie try ./hook.o,name=clone -- PROGRAM
//!
//! sdk/rust/src has what the crate offers.
#![no_std]
use crpie::{info, param, param::Need, sys, Context, Errno, Result};

fn hook(ctx: &mut Context) -> Result {
    let name = ctx.param("name").ok_or(Errno::EINVAL)?;
    sys::set_name(name.bytes())?;
    info!(ctx, "{} is now {}", ctx.comm(), name);
    Ok(())
}

crpie::plugin! {
    name: "@NAME@",
    params: [param::string("name", Need::Default("restored"), "the new name of the process, 15 bytes of it")],
    hooks: [PRE_SIGRETURN => hook],
}
