//! The ABI between the kernel programs and the daemon: what a record in the ring looks like, what the daemon tells
//! the programs, and the filter that both evaluate.
//!
//! Everything here is `repr(C)` with fixed widths, explicit padding and no `bool`, `usize` or Rust enum, so that two
//! compilers for two targets have nothing to disagree on. `record` is what the kernel says, `offsets` and `filter`
//! what the daemon says.
#![no_std]

pub mod code;
pub mod counters;
pub mod filter;
pub mod offsets;
pub mod record;
