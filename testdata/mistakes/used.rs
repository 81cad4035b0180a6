// SPDX-License-Identifier: Apache-2.0
#![no_std]
#[repr(C)]
pub struct Ctx {
    size: u32,
    abi: u32,
    hook: u32,
    pid: i32,
}
#[repr(C)]
pub struct Record {
    size: u32,
    abi: u32,
    hook: u32,
    priority: i32,
    f: extern "C" fn(*mut Ctx) -> i32,
}
#[link_section = "crpie_hooks"]
static HOOK: Record = Record { size: 24, abi: 1, hook: 0x106, priority: 0, f: hook };

extern "C" fn hook(ctx: *mut Ctx) -> i32 {
    unsafe { (*ctx).pid & 0 }
}
