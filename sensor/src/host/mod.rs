//! Facts about this host that events are enriched with: who a user id is, what time it was, what a process runs.
//!
//! [`Procfs`] reads them from the running system and never through NSS, which may wait for the network.

mod clock;
mod containers;
#[cfg(test)]
pub(crate) mod fake;
mod names;
mod process;
mod procfs;

use std::sync::Arc;

use crate::event;

pub use clock::boot_ns;
pub use process::ProcessStat;
pub use procfs::Procfs;

/// A source of facts about the host. What cannot be learned is `None`, never an error: an event without
/// its process's arguments is still an event.
pub trait Host {
    /// The host itself, as it was at start.
    fn describe(&self) -> Arc<event::Host>;

    /// Inode number of the host's mount namespace: that of its first process.
    fn mount_namespace(&self) -> Option<u32>;

    /// What a container and its pod are called.
    fn container_names(&mut self, container: &event::Container) -> event::ContainerNames;

    /// What is asked from now on is about what happened at this time, in nanoseconds since boot; `None`: about the present. A file that
    /// was looked at after that time is not looked at again: what is told may be older than the question, and never older than the
    /// event.
    fn ask_about(&mut self, _boot_ns: Option<u64>) {}

    /// The user with this id.
    fn user(&mut self, uid: u32) -> event::User;

    /// The group with this id.
    fn group(&mut self, gid: u32) -> event::Group;

    /// The wall-clock time of an instant that is given in nanoseconds since boot, suspend included.
    fn wall_clock(&mut self, boot_ns: u64) -> jiff::Timestamp;

    /// What the process table says of `pid` now.
    ///
    /// It may be another process than the one of an event by then; [`ProcessStat::is`] tells.
    fn process(&mut self, pid: u32) -> Option<ProcessStat>;

    /// The arguments of `pid`, each ended by a NUL byte, at most `limit` bytes of them; none for a kernel thread.
    fn command_line(&mut self, pid: u32, limit: usize) -> Option<Vec<u8>>;

    /// The file that `pid` runs.
    fn executable(&mut self, pid: u32) -> event::Executable;
}
