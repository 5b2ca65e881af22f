//! Why fanotify cannot be used.

use std::io;
use std::path::PathBuf;

/// Why fanotify cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FanotifyError {
    /// The kernel gave no group.
    #[error(
        "the kernel refused fanotify: {0}; it needs root (CAP_SYS_ADMIN) and Linux 5.9 or later with CONFIG_FANOTIFY"
    )]
    Refused(io::Error),
    /// Nothing could be marked.
    #[error("fanotify cannot watch {}: {error}", path.display())]
    Mark {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// No rule says where its files are.
    #[error(
        "fanotify watches directories, and no rule names one: give `file.path` a directory to begin with"
    )]
    NothingToWatch,
    /// It was accepted and stays silent.
    #[error("fanotify was accepted but did not tell when a test file was {operation} in {}", directory.display())]
    Silent {
        /// What was not seen.
        operation: &'static str,
        /// Where.
        directory: PathBuf,
    },
    /// The test could not be done.
    #[error("cannot create a file to test fanotify with: {0}")]
    SelfTest(io::Error),
    /// The mounts are not known.
    #[error("cannot read /proc/self/mountinfo: {0}")]
    Mounts(io::Error),
    /// Notifications cannot be read.
    #[error("cannot read from fanotify: {0}")]
    Read(io::Error),
}
