//! fanotify as somebody would use it who wants to know of new files: a mark, and a reader that throws away what it reads.

use std::ffi::CString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::FromRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Target {
    Directory,
    FileSystem,
}

/// Marks, and reads until it is ended.
pub(crate) fn run(target: Target, path: &Path) -> Result<()> {
    let flags = libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | libc::FAN_REPORT_DFID_NAME;
    // SAFETY: a call without conditions.
    let group = unsafe { libc::fanotify_init(flags, libc::O_RDONLY as u32) };
    if group < 0 {
        return Err(io::Error::last_os_error()).context("fanotify_init");
    }
    let name = CString::new(path.as_os_str().as_bytes())?;
    let whole = if target == Target::FileSystem { libc::FAN_MARK_FILESYSTEM } else { 0 };
    let events = libc::FAN_CREATE | libc::FAN_MOVED_FROM | libc::FAN_MOVED_TO;
    // SAFETY: a string that ends in NUL.
    let marked = unsafe {
        libc::fanotify_mark(group, libc::FAN_MARK_ADD | whole, events, libc::AT_FDCWD, name.as_ptr())
    };
    if marked != 0 {
        return Err(io::Error::last_os_error()).with_context(|| format!("marking {}", path.display()));
    }
    writeln!(io::stdout(), "ready")?;
    // SAFETY: the descriptor is nobody else's.
    let mut group = unsafe { std::fs::File::from_raw_fd(group) };
    let mut buffer = [0; 4096];
    while group.read(&mut buffer).context("reading events")? > 0 {}
    Ok(())
}
