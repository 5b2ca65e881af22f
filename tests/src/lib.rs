//! Whole-program tests: what scenarios are, and how they are run.
//!
//! The scenarios themselves are in `tests/lab/`, and what they do to the guest is in `src/bin/attack.rs` and `src/lib.sh`.

mod alert;
mod boot;
pub mod command_line;
mod guest;
pub mod native;
pub mod raw_bpf;
mod scenario;
pub mod server;

pub use alert::{compare, lookup};
pub use boot::{Boot, Outcome};
pub use guest::Alone;
pub use scenario::{CHANGES_IN_PLACE, Scenario};
