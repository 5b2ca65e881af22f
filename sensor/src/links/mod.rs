//! The links in `/proc/PID`: what a process runs, its root directory, its namespaces.
//!
//! The kernel shows them to who may trace the process, and to nobody whom Landlock confines, whatever capabilities that
//! one has. So a sensor in its sandbox has them read by a process of its own, which can do nothing else: see
//! [`server`]. It is asked for a process and one of the links below, and never for a path.

mod server;

use std::ffi::OsString;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags, SocketType,
    recvmsg, send, socketpair,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How long an answer may take. A file system that never answers must not hold the pipeline for good.
const PATIENCE: Duration = Duration::from_secs(2);
/// `PATH_MAX`.
const MAX_TARGET: usize = 4096;
const REQUEST: usize = 10;
const HEADER: usize = 8;

/// The process that reads, if there is one.
static READER: OnceLock<Reader> = OnceLock::new();

/// A link of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// The file that it runs.
    Executable,
    /// Its root directory.
    Root,
    /// Its mount namespace.
    MountNamespace,
    /// Its pid namespace.
    PidNamespace,
}

impl Link {
    const ALL: [Self; 4] = [Self::Executable, Self::Root, Self::MountNamespace, Self::PidNamespace];

    fn name(self) -> &'static str {
        match self {
            Self::Executable => "exe",
            Self::Root => "root",
            Self::MountNamespace => "ns/mnt",
            Self::PidNamespace => "ns/pid",
        }
    }

    fn of(self, proc: &Path, pid: u32) -> PathBuf {
        proc.join(pid.to_string()).join(self.name())
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// Its text.
    Target,
    /// What it leads to, opened so that nothing but looking is possible (`O_PATH`).
    Open,
}

/// The process that reads, from this side.
#[derive(Debug)]
struct Reader {
    client: Mutex<Client>,
    /// Closed at the other end when that process ends.
    life: OwnedFd,
    /// What it could not give up, and why.
    kept: Vec<String>,
}

/// Has links be read by a process of its own from now on. To be called while the process has one thread.
pub fn start_reader() -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let (life, their_life) = io::pipe()?;
    let (life, their_life) = (OwnedFd::from(life), OwnedFd::from(their_life));
    // SAFETY: there is one thread, so nothing is in the middle of anything; the child never returns from here.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            drop(ours);
            server::run(&theirs, &their_life)
        }
        _ => {
            drop((theirs, their_life));
            let client = Client { socket: ours, sequence: 0, unanswered: false };
            // Its first word is what it could not give up.
            let (_, first) = client.receive(RecvFlags::empty())?;
            let kept = String::from_utf8_lossy(&first?.0).lines().map(str::to_owned).collect();
            let patience = rustix::net::sockopt::Timeout::Recv;
            rustix::net::sockopt::set_socket_timeout(&client.socket, patience, Some(PATIENCE))?;
            let _ = READER.set(Reader { client: Mutex::new(client), life, kept });
            Ok(())
        }
    }
}

/// What the process that reads could not give up, and why.
pub fn kept_by_reader() -> &'static [String] {
    READER.get().map_or(&[], |reader| &reader.kept)
}

/// Readable when the process that reads has ended. None if there is no such process.
pub fn watch_reader() -> io::Result<Option<AsyncFd<BorrowedFd<'static>>>> {
    let life = READER.get().map(|reader| reader.life.as_fd());
    // SAFETY: the descriptor is never closed.
    life.map(|life| Ok(unsafe { AsyncFd::register_with_interest(life, Interest::READABLE) }?)).transpose()
}

/// The link's text. `proc` is the process file system: `/proc` except in tests.
pub fn target(proc: &Path, pid: u32, link: Link) -> io::Result<PathBuf> {
    match reader(proc) {
        None => std::fs::read_link(link.of(proc, pid)),
        Some(mut reader) => {
            let (text, _) = reader.ask(pid, link, Question::Target)?;
            Ok(OsString::from_vec(text).into())
        }
    }
}

/// What the link leads to, opened with `O_PATH`.
pub fn open(proc: &Path, pid: u32, link: Link) -> io::Result<OwnedFd> {
    match reader(proc) {
        None => Ok(openat(CWD, link.of(proc, pid), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?),
        Some(mut reader) => {
            let (_, descriptor) = reader.ask(pid, link, Question::Open)?;
            descriptor.ok_or_else(|| io::ErrorKind::NotFound.into())
        }
    }
}

/// The number of a namespace, which is its inode's.
pub fn namespace(proc: &Path, pid: u32, link: Link) -> Option<u64> {
    namespace_number(&target(proc, pid, link).ok()?)
}

fn reader(proc: &Path) -> Option<MutexGuard<'static, Client>> {
    let reader = READER.get().filter(|_| proc == Path::new("/proc"))?;
    Some(reader.client.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Where a descriptor can be reached as a path.
pub fn path_of(descriptor: &OwnedFd) -> PathBuf {
    Path::new("/proc/self/fd").join(descriptor.as_raw_fd().to_string())
}

/// `mnt:[4026531841]`
fn namespace_number(target: &Path) -> Option<u64> {
    target.to_str()?.split_once(":[")?.1.strip_suffix(']')?.parse().ok()
}

/// A text, or what was opened.
type Answer = (Vec<u8>, Option<OwnedFd>);

/// This side of the conversation: one question, one answer.
#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    sequence: u32,
    /// The last question's answer did not come in time, and still can.
    unanswered: bool,
}

impl Client {
    fn ask(&mut self, pid: u32, link: Link, question: Question) -> io::Result<Answer> {
        while self.unanswered {
            // Not before it is known to be at leisure again.
            let (sequence, _) = self.receive(RecvFlags::DONTWAIT)?;
            self.unanswered = sequence != self.sequence;
        }
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = [0; REQUEST];
        request[..4].copy_from_slice(&self.sequence.to_ne_bytes());
        request[4..8].copy_from_slice(&pid.to_ne_bytes());
        request[8..].copy_from_slice(&[link as u8, question as u8]);
        send(&self.socket, &request, SendFlags::NOSIGNAL)?;
        let answer = self.receive(RecvFlags::empty());
        self.unanswered = matches!(&answer, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        answer?.1
    }

    fn receive(&self, flags: RecvFlags) -> io::Result<(u32, io::Result<Answer>)> {
        let mut bytes = vec![0; HEADER + MAX_TARGET];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        let length = loop {
            match recvmsg(&self.socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
                Err(Errno::INTR) => {}
                received => break received?.bytes,
            }
        };
        let descriptor = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let (Some(sequence), Some(errno)) = (bytes.first_chunk::<4>(), bytes[4..].first_chunk::<4>()) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        if length < HEADER {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (sequence, errno) = (u32::from_ne_bytes(*sequence), i32::from_ne_bytes(*errno));
        bytes.truncate(length);
        bytes.drain(..HEADER);
        let answer =
            if errno == 0 { Ok((bytes, descriptor)) } else { Err(io::Error::from_raw_os_error(errno)) };
        Ok((sequence, answer))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use rustix::event::{PollFd, PollFlags, Timespec};
    use rustix::process::{Pid, Signal};

    use super::*;

    /// In a process of its own: it has one thread, and this is how it reads from then on.
    #[test]
    #[ignore = "run by the test below"]
    fn a_process_with_a_reader() {
        let (own, proc) = (std::process::id(), Path::new("/proc"));
        let direct = [Link::Executable, Link::Root].map(|link| target(proc, own, link).unwrap());
        start_reader().unwrap();
        assert_eq!([Link::Executable, Link::Root].map(|link| target(proc, own, link).unwrap()), direct);
        let number = fs::metadata("/proc/self/ns/mnt").unwrap().ino();
        assert_eq!(namespace(proc, own, Link::MountNamespace), Some(number));
        assert!(namespace(proc, own, Link::PidNamespace).is_some());
        let root = open(proc, own, Link::Root).unwrap();
        assert_eq!(fs::metadata(path_of(&root)).unwrap().ino(), fs::metadata("/").unwrap().ino());
        assert_eq!(target(proc, 0x3fff_ffff, Link::Root).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(open(proc, 0x3fff_ffff, Link::Root).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(kept_by_reader(), [""; 0]);
        let life = READER.get().unwrap().life.as_fd();
        let mut poll = [PollFd::new(&life, PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut poll, Some(&Timespec::default())).unwrap(), 0, "it has ended");
        let children = fs::read_to_string("/proc/thread-self/children").unwrap();
        let reader = Pid::from_raw(children.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(reader, Signal::KILL).unwrap();
        rustix::event::poll(&mut poll, None).unwrap();
        assert!(poll[0].revents().contains(PollFlags::HUP));
    }

    #[test]
    fn a_reader_says_what_the_links_say() {
        let test = "links::tests::a_process_with_a_reader";
        let status = crate::testing::rerun(test).arg("--test-threads=1").status().unwrap();
        assert!(status.success());
    }

    #[test]
    fn namespaces_are_told_by_their_number() {
        assert_eq!(namespace_number(Path::new("mnt:[4026531841]")), Some(4_026_531_841));
        for other in ["mnt:[]", "/proc/1", "mnt:[1"] {
            assert_eq!(namespace_number(Path::new(other)), None, "{other}");
        }
    }
}
