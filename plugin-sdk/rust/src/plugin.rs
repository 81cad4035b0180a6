// SPDX-License-Identifier: Apache-2.0
//! Registration: the records that crpie reads from the object, and the functions that it calls.
use crate::{abi, panic, Context, Result};

fn errno(result: Result) -> i32 {
    match result {
        Ok(()) => 0,
        Err(e) => -e.0,
    }
}

/// What a hook's record points at; [`crate::plugin!`] writes it.
///
/// # Safety
/// raw is the context that crpie hands to hooks.
pub unsafe fn call_hook(raw: *mut abi::Ctx, hook: fn(&mut Context) -> Result) -> i32 {
    panic::known(raw, || errno(hook(&mut *(raw as *mut Context))))
}

/// # Safety
/// As of call_hook.
pub unsafe fn call_init(raw: *mut abi::Ctx, init: fn(&mut Context) -> Result) -> i32 {
    call_hook(raw, init)
}

/// # Safety
/// As of call_hook.
pub unsafe fn call_exit(raw: *mut abi::Ctx, exit: fn(&mut Context)) {
    panic::known(raw, || exit(&mut *(raw as *mut Context)))
}

/// Registers the plugin, once in an object. Hooks are written `STAGE => function` or `STAGE => function, priority N`;
/// the lower priority runs first. init runs before the first hook of each task, exit after the last one.
///
///     crpie::plugin! {
///         name: "example",
///         init: start,
///         params: [],
///         hooks: [POST_MEMORY => early; PRE_SIGRETURN => late, priority 5],
///     }
#[macro_export]
macro_rules! plugin {
    (name: $name:expr, $(init: $init:path,)? $(exit: $exit:path,)? params: [$($param:expr),* $(,)?],
     hooks: [$($stage:ident => $hook:path $(, priority $priority:expr)?);+ $(;)?] $(,)?) => {
        #[doc(hidden)]
        #[no_mangle]
        #[used]
        #[link_section = "crpie_plugin"]
        pub static CRPIE_THIS_PLUGIN: $crate::abi::PluginRecord = {
            #[allow(unused_mut)]
            let mut record = $crate::abi::PluginRecord {
                size: core::mem::size_of::<$crate::abi::PluginRecord>() as u32,
                abi: 1,
                name: $crate::abi::text($name),
                init: None,
                exit: None,
            };
            $(
                extern "C" fn init(_: i32, raw: *mut $crate::abi::Ctx) -> i32 {
                    // SAFETY: crpie calls it.
                    unsafe { $crate::call_init(raw, $init) }
                }
                record.abi = 2;
                record.init = Some(init);
            )?
            $(
                extern "C" fn exit(_: i32, _: i32, raw: *mut $crate::abi::Ctx) {
                    // SAFETY: crpie calls it.
                    unsafe { $crate::call_exit(raw, $exit) }
                }
                record.abi = 2;
                record.exit = Some(exit);
            )?
            record
        };

        // One array each: rustc orders statics as it likes, and hooks of a stage run in the order of their records.
        #[used]
        #[link_section = "crpie_hooks"]
        static CRPIE_HOOKS: [$crate::abi::HookRecord; [$($crate::abi::$stage),+].len()] = [$({
            extern "C" fn entry(raw: *mut $crate::abi::Ctx) -> i32 {
                // SAFETY: crpie calls it.
                unsafe { $crate::call_hook(raw, $hook) }
            }
            $crate::abi::HookRecord {
                size: core::mem::size_of::<$crate::abi::HookRecord>() as u32,
                abi: if $crate::abi::$stage < $crate::abi::PRE_DUMP { 1 } else { 5 },
                hook: $crate::abi::$stage,
                priority: 0 $(+ $priority)?,
                hook_fn: entry,
            }
        }),+];

        $crate::plugin_params!($($param),*);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! plugin_params {
    () => { $crate::plugin_params!($crate::param::none()); };
    ($($param:expr),+) => {
        #[used]
        #[link_section = "crpie_params"]
        static CRPIE_PARAMS: [$crate::abi::ParamRecord; [$(stringify!($param)),+].len()] = [$($param),+];
    };
}
