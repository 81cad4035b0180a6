// SPDX-License-Identifier: Apache-2.0
//! greet-rust: a plugin in Rust, one file without a crate.
//!
//!     rustc --edition=2021 --emit=obj --crate-type=lib -O -C panic=abort -C codegen-units=1 \
//!         -o greet-rust.o greet-rust.rs
//!
//! The records are statics placed by `#[link_section]`. Nothing here can panic: no slice index, no arithmetic that is
//! checked, because the panic machinery would be an unresolved symbol.
#![no_std]

use core::ffi::c_void;

const ABI: u32 = 1;
const PRE_SIGRETURN: u32 = 0x106;
const LOG_INFO: u32 = 3;

/// The beginning of struct crpie_ctx, as far as this plugin reads it.
#[repr(C)]
pub struct Ctx {
    size: u32,
    abi: u32,
    hook: u32,
    pid: i32,
    tid: i32,
    nr_threads: u32,
    dump_time_ns: i64,
    restore_time_ns: i64,
    comm: *const u8,
    plugin: *const u8,
    params: *const c_void,
    nr_params: u64,
    vmas: *const c_void,
    nr_vmas: u64,
    mm: *const c_void,
    log: extern "C" fn(*const Ctx, u32, *const u8, u64),
}

type HookFn = extern "C" fn(*mut Ctx) -> i32;

#[repr(C)]
pub struct HookRecord {
    size: u32,
    abi: u32,
    hook: u32,
    priority: i32,
    hook_fn: HookFn,
}

#[repr(C)]
pub struct PluginRecord {
    size: u32,
    abi: u32,
    name: [u8; 48],
    init: Option<extern "C" fn(i32) -> i32>,
    exit: Option<extern "C" fn(i32, i32)>,
}

/// struct crpie_param_record: zeros behind the first two members say that the plugin takes no parameter.
#[repr(C)]
pub struct ParamRecord {
    size: u32,
    abi: u32,
    rest: [u64; 35],
}

#[inline] // only the compiler calls it: no code is to be left in the object
const fn name(text: &str) -> [u8; 48] {
    let mut out = [0u8; 48];
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        out[i] = bytes[i]; // evaluated by the compiler: a longer name is a compile error
        i += 1;
    }
    out
}

#[used]
#[link_section = "crpie_plugin"]
static PLUGIN: PluginRecord =
    PluginRecord { size: 72, abi: ABI, name: name("greet-rust"), init: None, exit: None };

#[used]
#[link_section = "crpie_params"]
static NO_PARAMS: ParamRecord = ParamRecord { size: 288, abi: 2, rest: [0; 35] };

// One array for all hooks: rustc writes statics in any order, and hooks of a stage run in the order of their records.
#[used]
#[link_section = "crpie_hooks"]
static HOOKS: [HookRecord; 1] =
    [HookRecord { size: 24, abi: ABI, hook: PRE_SIGRETURN, priority: 0, hook_fn: greet }];

extern "C" fn greet(ctx: *mut Ctx) -> i32 {
    let text = "hello from Rust";
    // SAFETY: a hook is handed a context that is valid until it returns.
    let log = unsafe { (*ctx).log };
    log(ctx, LOG_INFO, text.as_ptr(), text.len() as u64);
    0
}
