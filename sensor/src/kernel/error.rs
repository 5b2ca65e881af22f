//! Why the kernel cannot be watched.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use aya::programs::ProgramError;
use rustix::io::Errno;

use super::{AttachMode, OffsetError, PinsError};

/// Why the kernel cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Structures are not known.
    #[error(transparent)]
    Offsets(#[from] OffsetError),
    /// The kernel did not take the maps or the object.
    #[error("the kernel refused the eBPF maps: {}", chain(.0))]
    Load(Box<aya::EbpfError>),
    /// fentry names functions by their number in the kernel's own BTF.
    #[error("fentry needs the kernel's own BTF, and cannot read {}: {}", .0.path.display(), .0.reason)]
    NoKernelBtf(OffsetError),
    /// The kernel did not take a program.
    #[error("the kernel refused to {step} the {mode} program for `{function}`: {reason}")]
    Program {
        /// Its kind.
        mode: AttachMode,
        /// The function that it hooks.
        function: &'static str,
        /// What was being done with it.
        step: Step,
        /// What the kernel answered.
        errno: Option<Errno>,
        /// The whole answer, for people.
        reason: String,
    },
    /// A program is attached and does not run.
    #[error("{mode} programs were attached but did not run when a test file was {operation} in {}", directory.display())]
    Silent {
        /// Their kind.
        mode: AttachMode,
        /// What was not seen.
        operation: &'static str,
        /// Where.
        directory: PathBuf,
    },
    /// The test could not be done.
    #[error("cannot create a file to test the hooks with: {0}")]
    SelfTest(io::Error),
    /// No kind of programs works.
    #[error("no way to attach works:\n  {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  "))]
    NoMode(Vec<KernelError>),
    /// A map cannot be used.
    #[error("cannot {doing}: {source}")]
    Map {
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        source: aya::maps::MapError,
    },
    /// What is pinned cannot be removed.
    #[error("{0}")]
    Pins(#[from] PinsError),
    /// What is pinned cannot be gone on with.
    #[error("{0}")]
    Adopt(String),
    /// The ring is another kind of map.
    #[error("the map of records is no ring buffer")]
    NoRing,
    /// The memory of the programs that are loaded is not enough for more of them.
    #[error("the programs for other actions have to be loaded together with those that are")]
    NotTogether,
    /// What the programs say about themselves cannot be read.
    #[error("cannot read the programs' diagnostics: {0}")]
    Diagnostics(#[from] aya_log::Error),
    /// The ring cannot be waited for.
    #[error("cannot wait for the ring buffer: {0}")]
    Wait(io::Error),
}

/// What is done with a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The verifier looks at it.
    Load,
    /// It is tied to a function.
    Attach,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Load => "load",
            Self::Attach => "attach",
        })
    }
}

impl KernelError {
    pub(super) fn program(mode: AttachMode, function: &'static str, error: &ProgramError) -> Self {
        let step = match error {
            ProgramError::LoadError { .. } | ProgramError::Btf(_) => Step::Load,
            _ => Step::Attach,
        };
        Self::Program { mode, function, step, errno: errno(error), reason: describe(error) }
    }

    /// The kind of programs that it is about.
    pub fn mode(&self) -> Option<AttachMode> {
        match self {
            Self::Program { mode, .. } | Self::Silent { mode, .. } => Some(*mode),
            Self::NoKernelBtf(_) => Some(AttachMode::Fentry),
            Self::Offsets(_)
            | Self::Load(_)
            | Self::SelfTest(_)
            | Self::NoMode(_)
            | Self::Map { .. }
            | Self::Pins(_)
            | Self::Adopt(_)
            | Self::NoRing
            | Self::NotTogether
            | Self::Diagnostics(_)
            | Self::Wait(_) => None,
        }
    }

    /// What the kernel answered, where it was the kernel that said no.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Load(error) => errno(&**error),
            Self::Program { errno, .. } => *errno,
            Self::SelfTest(error) | Self::Wait(error) => Errno::from_io_error(error),
            Self::Map { source, .. } => errno(source),
            Self::Diagnostics(error) => errno(error),
            Self::Pins(_)
            | Self::Adopt(_)
            | Self::NoRing
            | Self::NotTogether
            | Self::Offsets(_)
            | Self::NoKernelBtf(_)
            | Self::Silent { .. }
            | Self::NoMode(_) => None,
        }
    }
}

impl From<aya::EbpfError> for KernelError {
    fn from(error: aya::EbpfError) -> Self {
        Self::Load(Box::new(error))
    }
}

pub(super) fn errno(error: &(dyn Error + 'static)) -> Option<Errno> {
    causes(error).find_map(|error| error.downcast_ref::<io::Error>()).and_then(Errno::from_io_error)
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// Of a verifier's log the end, which has the reason; else the whole chain of causes in one line.
pub(super) fn describe(error: &ProgramError) -> String {
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        let log = verifier_log.to_string();
        let lines: Vec<_> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        let end = lines[lines.len().saturating_sub(12)..].join("\n    ");
        return if end.is_empty() { io_error.to_string() } else { format!("{io_error}\n    {end}") };
    }
    chain(error)
}

/// An error and its causes. Some errors already say their cause: that is not said twice.
fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error)
        .map(ToString::to_string)
        .reduce(|text, cause| if text.ends_with(&cause) { text } else { format!("{text}: {cause}") })
        .unwrap_or_default()
}
