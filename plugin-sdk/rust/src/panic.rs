// SPDX-License-Identifier: Apache-2.0
//! A panic is logged with its place and ends the hook by a trap, which crpie reports and undoes the restore for.
use crate::{abi, error, sys, Context};
use core::panic::PanicInfo;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

/// A panic handler is given no context, so each thread's hook leaves its own here. Threads run hooks at the same time;
/// beyond this many a panic has no message.
const SLOTS: usize = 64;

struct Slot {
    tid: AtomicI32,
    ctx: AtomicPtr<abi::Ctx>,
}

#[allow(clippy::declare_interior_mutable_const)]
const FREE: Slot = Slot { tid: AtomicI32::new(0), ctx: AtomicPtr::new(null_mut()) };
static RUNNING: [Slot; SLOTS] = [FREE; SLOTS];

/// Runs f while the panic handler knows the context.
pub(crate) fn known<T>(raw: *mut abi::Ctx, f: impl FnOnce() -> T) -> T {
    let tid = sys::gettid();
    let taken = |s: &&Slot| s.tid.compare_exchange(0, tid, Ordering::SeqCst, Ordering::SeqCst).is_ok();
    let slot = RUNNING.iter().find(taken);
    if let Some(s) = slot {
        s.ctx.store(raw, Ordering::SeqCst);
    }
    let result = f();
    if let Some(s) = slot {
        s.ctx.store(null_mut(), Ordering::SeqCst);
        s.tid.store(0, Ordering::SeqCst);
    }
    result
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let tid = sys::gettid();
    let mine = |s: &&Slot| s.tid.load(Ordering::SeqCst) == tid;
    let ctx = RUNNING.iter().find(mine).map_or(null_mut(), |s| s.ctx.load(Ordering::SeqCst));
    // SAFETY: this thread's hook has not returned, and its context is valid until then.
    if let Some(ctx) = unsafe { (ctx as *const Context).as_ref() } {
        error!(ctx, "{}", info);
    }
    sys::trap()
}
