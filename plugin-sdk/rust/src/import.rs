// SPDX-License-Identifier: Apache-2.0
//! Symbols of the process, which crpie finds before a hook runs.
use core::cell::UnsafeCell;
use core::mem::{size_of, transmute_copy};

/// What a record of an import points at: 0, or the address of the symbol.
#[repr(C, align(8))]
pub struct Slot(UnsafeCell<usize>);

// SAFETY: only crpie writes it, before the first call into the plugin.
unsafe impl Sync for Slot {}

impl Slot {
    #[doc(hidden)]
    pub const fn new() -> Slot {
        Slot(UnsafeCell::new(0))
    }

    /// The address; None: the process has no such symbol, which was imported as optional.
    pub fn address(&self) -> Option<usize> {
        // SAFETY: the slot is a word of the plugin's; the compiler does not know who fills it.
        match unsafe { self.0.get().read_volatile() } {
            0 => None,
            address => Some(address),
        }
    }

    /// The function.
    ///
    /// # Safety
    /// F is its type, such as `extern "C" fn() -> i32`.
    pub unsafe fn function<F: Copy>(&self) -> Option<F> {
        assert!(size_of::<F>() == size_of::<usize>());
        self.address().map(|address| transmute_copy(&address))
    }
}

/// Declares a symbol of a library, by its SONAME, file name or path, or of the program itself (""): `required`, or
/// `optional`. Library code runs from PRE_SIGRETURN_THREAD on.
///
///     crpie::import!(RAND_POLL, "RAND_poll", "libcrypto.so.3", optional);
///
///     if let Some(poll) = unsafe { RAND_POLL.function::<extern "C" fn() -> i32>() } {
///         poll();
///     }
#[macro_export]
macro_rules! import {
    ($name:ident, $symbol:expr, $library:expr, required) => {
        $crate::import!($name, $symbol, $library, 1u32);
    };
    ($name:ident, $symbol:expr, $library:expr, optional) => {
        $crate::import!($name, $symbol, $library, 0u32);
    };
    ($name:ident, $symbol:expr, $library:expr, $flags:expr) => {
        #[used]
        #[link_section = ".data.crpie_slots"]
        static $name: $crate::import::Slot = $crate::import::Slot::new();
        const _: () = {
            #[used]
            #[link_section = "crpie_imports"]
            static RECORD: $crate::abi::ImportRecord = $crate::abi::ImportRecord {
                size: core::mem::size_of::<$crate::abi::ImportRecord>() as u32,
                abi: 4,
                flags: $flags,
                reserved: 0,
                slot: &$name,
                symbol: $crate::abi::text($symbol),
                library: $crate::abi::text($library),
            };
        };
    };
}
