//! Why the daemon does not run.

use crate::fanotify::FanotifyError;
use crate::instance::InstanceError;
use crate::kernel::KernelError;
use crate::sink::OutputsError;
use crate::status::ServerError;

/// Why the daemon did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The kernel cannot be watched.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// fanotify does not work.
    #[error(transparent)]
    Fanotify(#[from] FanotifyError),
    /// Nothing works: why there are no hooks, and why there is no fanotify.
    #[error("{}\n{}", .0.0, .0.1)]
    NoSource(Box<(KernelError, FanotifyError)>),
    /// Another sensor runs.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// Alerts would go nowhere.
    #[error(transparent)]
    Outputs(#[from] OutputsError),
    /// The sensor does not see what it does itself.
    #[error(
        "the sensor does not see its own test, so it sees nothing: it ends, to be started afresh; if that goes on, see who \
         detaches its programs (`bpftool link`)"
    )]
    Blind,
    /// What reads links in /proc is gone.
    #[error(
        "the process that reads /proc for the sensor (`ldsentry-reader`) is gone: the daemon ends, to be started afresh; if that \
         goes on, see who kills it"
    )]
    ReaderGone,
    /// It cannot be seen when that process ends.
    #[error("cannot watch over the process that reads /proc (`ldsentry-reader`): {0}")]
    Reader(std::io::Error),
    /// Metrics cannot be served.
    #[error(transparent)]
    Status(#[from] ServerError),
    /// All outputs have gone.
    #[error("the last output is gone, alerts would go nowhere: the daemon ends")]
    OutputsGone,
    /// Signals cannot be received.
    #[error("cannot receive signals: {0}")]
    Signals(std::io::Error),
}

impl PipelineError {
    /// Why there are no hooks, if that is what it is about.
    pub fn about_hooks(&self) -> Option<&KernelError> {
        match self {
            Self::Kernel(error) => Some(error),
            Self::NoSource(errors) => Some(&errors.0),
            Self::Fanotify(_)
            | Self::Instance(_)
            | Self::Outputs(_)
            | Self::Blind
            | Self::ReaderGone
            | Self::Reader(_)
            | Self::Status(_)
            | Self::OutputsGone
            | Self::Signals(_) => None,
        }
    }
}
