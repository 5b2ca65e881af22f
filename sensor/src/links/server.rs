//! The process that reads links. It answers questions of its parent as long as that one lives, and may do nothing else: of
//! capabilities it has `CAP_SYS_PTRACE`, of system calls those below.

use std::ffi::CStr;
use std::io::{IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat_raw};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg};

use super::{HEADER, Link, MAX_TARGET, Question, REQUEST};
use crate::sandbox;

const NAME: &CStr = c"ldsentry-reader";

/// Serves until the other end is gone. `life` ends with this process, and is for nothing else.
pub(super) fn run(socket: &OwnedFd, life: &OwnedFd) -> ! {
    let _ = rustix::thread::set_name(NAME);
    // The lock, and an output that somebody waits to end, are the parent's alone.
    let kept = [socket, life].map(OwnedFd::as_raw_fd);
    for descriptor in 0..=1023 {
        if !kept.contains(&descriptor) {
            // SAFETY: nothing in this process uses them any more.
            unsafe { libc::close(descriptor) };
        }
    }
    // What is said to the whole group, at a terminal or by a service manager, is for the parent.
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1] {
        // SAFETY: no handler is set.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let kept = sandbox::confine_reader();
    if answer(socket, [0; 4], 0, kept.join("\n").as_bytes(), None).is_ok() {
        serve(socket);
    }
    // SAFETY: ends this process, and runs nothing of what the parent registered for its end.
    unsafe { libc::_exit(0) }
}

fn serve(socket: &OwnedFd) {
    let mut request = [0_u8; REQUEST];
    loop {
        match recv(socket, &mut request, RecvFlags::empty()) {
            Ok((_, REQUEST)) => {}
            Err(Errno::INTR) => continue,
            // The parent is gone.
            Ok(_) | Err(_) => return,
        }
        let [s0, s1, s2, s3, p0, p1, p2, p3, link, question] = request;
        let sequence = [s0, s1, s2, s3];
        let pid = u32::from_ne_bytes([p0, p1, p2, p3]);
        let link = Link::ALL.into_iter().find(|known| *known as u8 == link);
        let Some(link) = link else { return };
        let sent = if question == Question::Open as u8 {
            match open(pid, link) {
                Ok(found) => answer(socket, sequence, 0, &[], Some(&found)),
                Err(errno) => answer(socket, sequence, errno.raw_os_error(), &[], None),
            }
        } else {
            let mut buffer = [MaybeUninit::uninit(); MAX_TARGET];
            match read(pid, link, &mut buffer) {
                Ok(text) => answer(socket, sequence, 0, text, None),
                Err(errno) => answer(socket, sequence, errno.raw_os_error(), &[], None),
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

fn answer(
    socket: &OwnedFd,
    sequence: [u8; 4],
    errno: i32,
    text: &[u8],
    descriptor: Option<&OwnedFd>,
) -> Result<usize, Errno> {
    let errno = errno.to_ne_bytes();
    let parts: [IoSlice<'_>; 3] = [IoSlice::new(&sequence), IoSlice::new(&errno), IoSlice::new(text)];
    const { assert!(HEADER == 8) };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.map(|descriptor| [descriptor.as_fd()]);
    if let Some(descriptors) = &descriptors {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL)
}

fn read(pid: u32, link: Link, buffer: &mut [MaybeUninit<u8>; MAX_TARGET]) -> Result<&[u8], Errno> {
    let mut path = [0; 64];
    let (text, _) = readlinkat_raw(CWD, path_of(pid, link, &mut path)?, &mut buffer[..])?;
    Ok(text)
}

fn open(pid: u32, link: Link) -> Result<OwnedFd, Errno> {
    let mut path = [0; 64];
    openat(CWD, path_of(pid, link, &mut path)?, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

fn path_of(pid: u32, link: Link, buffer: &mut [u8; 64]) -> Result<&CStr, Errno> {
    let mut rest = &mut buffer[..];
    let name = link.name();
    write!(rest, "/proc/{pid}/{name}\0").map_err(|_| Errno::NAMETOOLONG)?;
    CStr::from_bytes_until_nul(buffer).map_err(|_| Errno::INVAL)
}
