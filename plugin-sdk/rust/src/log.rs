// SPDX-License-Identifier: Apache-2.0
//! Lines of crpie's log.
use crate::{abi, Context};
use core::fmt::{self, Write};

/// Log levels, CRPIE_LOG_*.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Level {
    Error = 1,
    Warn = 2,
    Info = 3,
    Debug = 4,
}

/// Text of at most the length of a log line; what is more is cut, at a character.
pub struct Line {
    bytes: [u8; abi::LOG_LINE_MAX - 1],
    len: usize,
}

impl Line {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Line {
        Line { bytes: [0; abi::LOG_LINE_MAX - 1], len: 0 }
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}

impl Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = self.bytes.len() - self.len;
        let mut n = s.len().min(room);
        while !s.is_char_boundary(n) {
            n -= 1;
        }
        if let (Some(to), Some(from)) = (self.bytes.get_mut(self.len..self.len + n), s.as_bytes().get(..n)) {
            to.copy_from_slice(from);
            self.len += n;
        }
        if n == s.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

impl Context {
    /// Writes a line of crpie's log, at every stage; it needs no descriptor. The macros info! and its kin call this.
    pub fn log(&self, level: Level, text: fmt::Arguments<'_>) {
        let mut line = Line::new();
        let _ = line.write_fmt(text); // what does not fit is cut
        let bytes = line.as_bytes();
        (self.0.log)(&self.0, level as u32, bytes.as_ptr(), bytes.len() as u64);
    }
}

#[macro_export]
macro_rules! error { ($ctx:expr, $($text:tt)*) => { $ctx.log($crate::Level::Error, format_args!($($text)*)) } }
#[macro_export]
macro_rules! warn { ($ctx:expr, $($text:tt)*) => { $ctx.log($crate::Level::Warn, format_args!($($text)*)) } }
#[macro_export]
macro_rules! info { ($ctx:expr, $($text:tt)*) => { $ctx.log($crate::Level::Info, format_args!($($text)*)) } }
#[macro_export]
macro_rules! debug { ($ctx:expr, $($text:tt)*) => { $ctx.log($crate::Level::Debug, format_args!($($text)*)) } }
