//! The lab: stock Debian kernels in QEMU, with a real Debian root, the daemon and whatever a scenario does to it.
//!
//! The host side boots ([`Guest`]) and reads what the guest's first process, `lab-agent`, sends ([`Frame`]): the
//! daemon's and the scripts' output, byte for byte, in the order in which they happened. What the agent
//! is to do is in its [`Plan`].

mod apt;
mod build;
mod frame;
mod guest;
mod kernel;
mod payload;
mod plan;
mod root;
mod script;

pub use build::{Binaries, build, build_for};
pub use frame::{Frame, Kind, ReadError};
pub use guest::{Guest, GuestOptions, Machine, SILENCE_LIMIT, StaleBreakpoint};
pub use kernel::{Kernel, Series};
pub use payload::Payload;
pub use plan::{Attach, LAB, MARKER, Plan, Scenario};
pub use root::Root;
pub(crate) use script::daemon_command;
pub use script::{ScriptOptions, run_script, shell};

use std::path::PathBuf;

/// Where the lab keeps kernels and disk images between runs.
pub(crate) fn cache() -> PathBuf {
    crate::command::target_directory().join("lab")
}
