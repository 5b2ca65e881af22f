//! The system calls of fanotify, which no crate at hand has.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use super::event::FILE_SYSTEM_ID;

/// `AT_HANDLE_FID` of Linux 6.5: the handle need not be good for opening the file, so that more file systems have one.
const AT_HANDLE_FID: i32 = 0x200;
/// `MAX_HANDLE_SZ`.
const MAX_HANDLE: usize = 128;

/// What this kernel's fanotify tells, beside the directory and the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abilities {
    /// Renames with both names, and the file itself (Linux 5.17).
    pub(super) renames: bool,
    /// Descriptors of processes (Linux 5.15).
    pub(super) pidfds: bool,
}

/// A new group, with all that the kernel can do.
pub(super) fn new_group() -> io::Result<(OwnedFd, Abilities)> {
    let fixed = libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK | libc::FAN_UNLIMITED_MARKS;
    let mut refused = None;
    for (renames, pidfds) in [(true, true), (true, false), (false, true), (false, false)] {
        let names = if renames { libc::FAN_REPORT_DFID_NAME_TARGET } else { libc::FAN_REPORT_DFID_NAME };
        let flags = fixed | names | if pidfds { libc::FAN_REPORT_PIDFD } else { 0 };
        let event_flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_LARGEFILE;
        // SAFETY: takes numbers only.
        let group = unsafe { libc::fanotify_init(flags, event_flags as u32) };
        if group >= 0 {
            // SAFETY: a new descriptor that nobody else has.
            return Ok((unsafe { OwnedFd::from_raw_fd(group) }, Abilities { renames, pidfds }));
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINVAL) {
            return Err(error);
        }
        refused = Some(error);
    }
    Err(refused.unwrap_or_else(|| io::ErrorKind::Unsupported.into()))
}

/// Marks an open directory.
pub(super) fn mark(group: &OwnedFd, directory: BorrowedFd<'_>, mask: u64) -> io::Result<()> {
    let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_ONLYDIR;
    let here: &CStr = c".";
    // SAFETY: two open descriptors and a string that ends with NUL.
    let result =
        unsafe { libc::fanotify_mark(group.as_raw_fd(), flags, mask, directory.as_raw_fd(), here.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// File system and handle of an open file, as notifications name it.
pub(super) fn handle(file: BorrowedFd<'_>) -> io::Result<Box<[u8]>> {
    #[repr(C)]
    struct FileHandle {
        length: u32,
        kind: i32,
        bytes: [u8; MAX_HANDLE],
    }
    let ask = |flags: i32| {
        let mut handle = FileHandle { length: MAX_HANDLE as u32, kind: 0, bytes: [0; MAX_HANDLE] };
        let mut mount: i32 = 0;
        // SAFETY: an open descriptor, a string that ends with NUL, a structure that says how much room it has, and a
        // number to write to.
        let result = unsafe {
            libc::syscall(
                libc::SYS_name_to_handle_at,
                file.as_raw_fd(),
                c"".as_ptr(),
                &raw mut handle,
                &raw mut mount,
                libc::AT_EMPTY_PATH | flags,
            )
        };
        if result == 0 { Ok(handle) } else { Err(io::Error::last_os_error()) }
    };
    let found = match ask(AT_HANDLE_FID) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => ask(0)?,
        other => other?,
    };
    let mut bytes = Vec::with_capacity(FILE_SYSTEM_ID + 8 + MAX_HANDLE);
    bytes.extend(file_system_id(file)?);
    bytes.extend(found.length.to_ne_bytes());
    bytes.extend(found.kind.to_ne_bytes());
    bytes.extend(&found.bytes[..MAX_HANDLE.min(found.length as usize)]);
    Ok(bytes.into())
}

fn file_system_id(file: BorrowedFd<'_>) -> io::Result<[u8; FILE_SYSTEM_ID]> {
    let mut facts = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: an open descriptor, and room for the structure.
    if unsafe { libc::fstatfs(file.as_raw_fd(), facts.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it filled in the structure; the id is two integers without padding.
    Ok(unsafe { std::mem::transmute::<libc::fsid_t, [u8; FILE_SYSTEM_ID]>(facts.assume_init().f_fsid) })
}

/// Takes over a descriptor that came with a notification.
pub(super) fn adopt(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel opened it for whoever reads the notification, and each is read once.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// Whether something is there to be read.
pub(super) fn wait(group: &impl AsFd, milliseconds: i64) -> bool {
    let time =
        rustix::time::Timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
    let mut polled = [rustix::event::PollFd::new(group, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut polled, Some(&time)).is_ok_and(|ready| ready > 0)
}
