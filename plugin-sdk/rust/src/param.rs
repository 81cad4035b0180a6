// SPDX-License-Identifier: Apache-2.0
//! Declarations of parameters, for `params:` of [`crate::plugin!`].
//!
//!     params: [
//!         param::string("var", Need::Required, "name of the variable"),
//!         param::int("count", Need::Default("3"), 1, 10, "how many"),
//!         param::choice("mode", Need::Optional, "set add", "what to do"),
//!     ],
//!
//! Mistakes in `--pie-plugin hook.o,key=value` are then refused before a process exists.
use crate::abi::{text, ParamRecord};

/// Whether a parameter has to be given.
pub enum Need {
    Optional,
    Required,
    /// crpie hands the plugin this text if it is not given.
    Default(&'static str),
}

const fn record(kind: u32, name: &str, need: Need, values: &str, help: &str) -> ParamRecord {
    let (abi, flags, def) = match need {
        Need::Optional => (2, 0, ""),
        Need::Required => (2, 1, ""),
        Need::Default(def) => (3, 2, def),
    };
    let size = core::mem::size_of::<ParamRecord>() as u32;
    ParamRecord { size, abi, kind, flags, min: 0, max: 0, name: text(name), values: text(values), help: text(help),
                  def: text(def) }
}

/// Says that there are no parameters; `params: []` does that.
pub const fn none() -> ParamRecord {
    record(0, "", Need::Optional, "", "")
}

pub const fn string(name: &str, need: Need, help: &str) -> ParamRecord {
    record(1, name, need, "", help)
}

/// A number from min to max, decimal or with 0x.
pub const fn int(name: &str, need: Need, min: u64, max: u64, help: &str) -> ParamRecord {
    let mut r = record(2, name, need, "", help);
    r.min = min;
    r.max = max;
    r
}

/// yes or no.
pub const fn boolean(name: &str, need: Need, help: &str) -> ParamRecord {
    record(3, name, need, "", help)
}

/// One word of values, which are separated by blanks.
pub const fn choice(name: &str, need: Need, values: &str, help: &str) -> ParamRecord {
    record(4, name, need, values, help)
}

/// Bytes, from min to max: digits and perhaps K, M, G or T.
pub const fn size(name: &str, need: Need, min: u64, max: u64, help: &str) -> ParamRecord {
    let mut r = record(5, name, need, "", help);
    r.min = min;
    r.max = max;
    r
}

/// Of the parameters in names at most one may be given, with `Need::Required` exactly one.
pub const fn one_of(names: &str, need: Need) -> ParamRecord {
    record(6, "", need, names, "")
}
