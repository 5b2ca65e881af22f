//! Attacks on the dynamic linker's files that do not make the system call: `io_uring` does it for them, in a thread of the kernel
//! that belongs to the process. Prints `pid=N`, and `errno=NAME` of a failed operation.

use std::ffi::CString;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use io_uring::squeue::{Entry, Flags};
use io_uring::types::Fd;
use io_uring::{IoUring, opcode};

#[derive(Debug, Parser)]
#[command(name = "uring")]
struct Arguments {
    /// Not at once, but by a worker (`IOSQE_ASYNC`)
    #[arg(long)]
    worker: bool,
    /// By a thread that polls for work (`IORING_SETUP_SQPOLL`): nothing is submitted by a system call
    #[arg(long)]
    polled: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// `openat(O_CREAT | O_WRONLY)`
    Create { path: PathBuf },
    /// renameat
    Rename { from: PathBuf, to: PathBuf },
    /// `renameat2(RENAME_EXCHANGE)`
    Exchange { one: PathBuf, other: PathBuf },
    /// linkat
    Link { from: PathBuf, to: PathBuf },
    /// symlinkat
    Symlink { target: PathBuf, path: PathBuf },
}

fn main() -> ExitCode {
    match perform(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("errno={}", error.raw_os_error().unwrap_or_default()));
            say(&format!("error={error}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(arguments: &Arguments) -> io::Result<()> {
    say(&format!("pid={}", std::process::id()));
    let mut builder = IoUring::<Entry>::builder();
    if arguments.polled {
        builder.setup_sqpoll(1000);
    }
    let mut ring = builder.build(2)?;
    let (one, other) = arguments.action.paths();
    let (one, other) = (text(one)?, text(other)?);
    let entry = arguments.action.entry(&one, &other);
    let entry = if arguments.worker { entry.flags(Flags::ASYNC) } else { entry };
    // SAFETY: what the entry points to lives until the operation has been completed below.
    unsafe { ring.submission().push(&entry) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let result = ring.completion().next().ok_or_else(|| io::Error::other("nothing was completed"))?.result();
    // An open file stays open until the end of the process.
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}

impl Action {
    fn paths(&self) -> (&Path, &Path) {
        match self {
            Self::Create { path } => (path, Path::new("")),
            Self::Rename { from, to } | Self::Link { from, to } => (from, to),
            Self::Exchange { one, other } => (one, other),
            Self::Symlink { target, path } => (target, path),
        }
    }

    fn entry(&self, one: &CString, other: &CString) -> Entry {
        let here = Fd(libc::AT_FDCWD);
        let (one, other) = (one.as_ptr(), other.as_ptr());
        match self {
            Self::Create { .. } => {
                let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_CLOEXEC;
                opcode::OpenAt::new(here, one).flags(flags).mode(0o644).build()
            }
            Self::Rename { .. } => opcode::RenameAt::new(here, one, here, other).build(),
            Self::Exchange { .. } => {
                opcode::RenameAt::new(here, one, here, other).flags(libc::RENAME_EXCHANGE).build()
            }
            Self::Link { .. } => opcode::LinkAt::new(here, one, here, other).build(),
            Self::Symlink { .. } => opcode::SymlinkAt::new(here, one, other).build(),
        }
    }
}

fn text(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

fn say(line: &str) {
    // A closed output is no reason not to attack.
    writeln!(io::stdout(), "{line}").ok();
}
