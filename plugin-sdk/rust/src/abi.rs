// SPDX-License-Identifier: Apache-2.0
//! The structs and numbers of `<crpie/abi.h>`. A test compares them with that header.

/// struct crpie_param
#[repr(C)]
pub struct Param {
    pub key: *const u8,
    pub value: *const u8,
}

/// struct crpie_mm
#[repr(C)]
pub struct Mm {
    pub start_code: u64,
    pub end_code: u64,
    pub start_data: u64,
    pub end_data: u64,
    pub start_brk: u64,
    pub brk: u64,
    pub start_stack: u64,
    pub arg_start: u64,
    pub arg_end: u64,
    pub env_start: u64,
    pub env_end: u64,
    pub auxv: *const u64,
    pub auxv_words: u64,
}

/// struct crpie_vma
#[repr(C)]
pub struct Vma {
    pub start: u64,
    pub end: u64,
    pub prot: u32,
    pub flags: u32,
    pub pgoff: u64,
    pub name: *const u8,
}

/// struct crpie_regs: the general registers of a thread. A hook may change those down to flags.
#[repr(C)]
pub struct Regs {
    pub ax: u64,
    pub bx: u64,
    pub cx: u64,
    pub dx: u64,
    pub si: u64,
    pub di: u64,
    pub bp: u64,
    pub sp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub ip: u64,
    pub flags: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    pub cs: u64,
    pub ss: u64,
    pub ds: u64,
    pub es: u64,
    pub fs: u64,
    pub gs: u64,
    pub syscall: i64,
}

/// struct crpie_timer: a hook may change the last two members.
#[repr(C)]
pub struct Timer {
    pub kind: u32,
    pub id: i32,
    pub clock: i32,
    pub reserved: u32,
    pub remaining_ns: i64,
    pub interval_ns: i64,
}

pub const TIMER_REAL: u32 = 0;
pub const TIMER_VIRTUAL: u32 = 1;
pub const TIMER_PROF: u32 = 2;
pub const TIMER_POSIX: u32 = 3;

/// struct crpie_ctx
#[repr(C)]
pub struct Ctx {
    pub size: u32,
    pub abi: u32,
    pub hook: u32,
    pub pid: i32,
    pub tid: i32,
    pub nr_threads: u32,
    pub dump_time_ns: i64,
    pub restore_time_ns: i64,
    pub comm: *const u8,
    pub plugin: *const u8,
    pub params: *const Param,
    pub nr_params: u64,
    pub vmas: *const Vma,
    pub nr_vmas: u64,
    pub mm: *const Mm,
    pub log: extern "C" fn(*const Ctx, u32, *const u8, u64),
    pub reserved: [u64; 4],
    pub vma_madv: *const u64,
    pub regs: *mut Regs,
    pub timers: *mut Timer,
    pub nr_timers: u64,
}

/// Sizes of contexts that have these members: older crpies have shorter ones.
pub const CTX_WITH_REGS: u32 = 152;
pub const CTX_WITH_TIMERS: u32 = 168;

pub type HookFn = extern "C" fn(*mut Ctx) -> i32;
pub type InitFn = extern "C" fn(i32, *mut Ctx) -> i32;
pub type ExitFn = extern "C" fn(i32, i32, *mut Ctx);

pub const NAME_MAX: usize = 48;
pub const LOG_LINE_MAX: usize = 1024;

/// struct crpie_plugin_record_ctx
#[repr(C)]
pub struct PluginRecord {
    pub size: u32,
    pub abi: u32,
    pub name: [u8; NAME_MAX],
    pub init: Option<InitFn>,
    pub exit: Option<ExitFn>,
}

/// struct crpie_hook_record
#[repr(C)]
pub struct HookRecord {
    pub size: u32,
    pub abi: u32,
    pub hook: u32,
    pub priority: i32,
    pub hook_fn: HookFn,
}

/// struct crpie_param_record
#[repr(C)]
pub struct ParamRecord {
    pub size: u32,
    pub abi: u32,
    pub kind: u32,
    pub flags: u32,
    pub min: u64,
    pub max: u64,
    pub name: [u8; 32],
    pub values: [u8; 96],
    pub help: [u8; 128],
    pub def: [u8; 64],
}

/// struct crpie_import_record
#[repr(C)]
pub struct ImportRecord {
    pub size: u32,
    pub abi: u32,
    pub flags: u32,
    pub reserved: u32,
    pub slot: &'static crate::import::Slot,
    pub symbol: [u8; 192],
    pub library: [u8; 64],
}

/// Stages, as CR_PLUGIN_HOOK__PIE_RST_* and CR_PLUGIN_HOOK__PIE_DMP_*.
pub const TASK_CREATED: u32 = 0x100;
pub const POST_MEMORY: u32 = 0x101;
pub const POST_FILES: u32 = 0x102;
pub const POST_THREADS: u32 = 0x103;
pub const PRE_CREDS: u32 = 0x104;
pub const PRE_SIGRETURN_THREAD: u32 = 0x105;
pub const PRE_SIGRETURN: u32 = 0x106;
pub const PRE_DUMP: u32 = 0x180;
pub const RESUMED: u32 = 0x181;
pub const INIT: u32 = 0xf0;
pub const EXIT: u32 = 0xf1;

/// Text and zeros behind it; a longer text is a compile error, because this runs in constants.
pub const fn text<const N: usize>(from: &str) -> [u8; N] {
    let mut out = [0u8; N];
    let bytes = from.as_bytes();
    assert!(bytes.len() < N, "the text is too long");
    let mut i = 0;
    while i < bytes.len() {
        out[i] = bytes[i];
        i += 1;
    }
    out
}
