//! Whether fanotify works: a sandbox can accept every call and never tell anything.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::event::Notifications;
use super::{FanotifyError, masks, system};

/// Where a file can be made: what is there on every host, the tidiest first.
const DIRECTORIES: [&str; 4] = ["/run", "/dev/shm", "/tmp", "/var/tmp"];
/// Where it works this ends at once.
const DEADLINE: Duration = Duration::from_secs(5);

/// Creates and renames a file in a directory of its own and must be told of both.
pub(super) fn run() -> Result<(), FanotifyError> {
    let (group, abilities) = system::new_group().map_err(FanotifyError::Refused)?;
    let directory = make_directory().map_err(FanotifyError::SelfTest)?;
    let result = see_work(&group, masks(abilities, &BTreeSet::new()).way, &directory);
    // Of what is left behind by a test that failed, nothing harms.
    let _ = fs::remove_dir_all(&directory);
    result
}

fn see_work(group: &OwnedFd, mask: u64, directory: &Path) -> Result<(), FanotifyError> {
    let refused = |error: io::Error| FanotifyError::Mark { path: directory.to_owned(), error };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory, flags, Mode::empty()).map_err(|error| refused(error.into()))?;
    system::mark(group, opened.as_fd(), mask).map_err(refused)?;
    let own = system::handle(opened.as_fd()).map_err(refused)?;
    let (from, to) = (directory.join("created"), directory.join("renamed"));
    File::create_new(&from).and_then(|_| fs::rename(&from, &to)).map_err(FanotifyError::SelfTest)?;

    let (mut created, mut renamed) = (false, false);
    let mut buffer = [0; 4096];
    let deadline = Instant::now() + DEADLINE;
    while !(created && renamed) && Instant::now() < deadline {
        if !system::wait(group, 100) {
            continue;
        }
        let length = rustix::io::read(group, &mut buffer).unwrap_or_default();
        for notification in Notifications(&buffer[..length]).flatten() {
            drop(notification.pidfd.map(system::adopt));
            let Some(entry) = notification.entry.filter(|entry| *entry.directory == *own) else { continue };
            created |= entry.name == b"created" && notification.mask & libc::FAN_CREATE != 0;
            renamed |= entry.name == b"renamed";
        }
    }
    let silent = |operation| Err(FanotifyError::Silent { operation, directory: directory.to_owned() });
    match (created, renamed) {
        (true, true) => Ok(()),
        (false, _) => silent("created"),
        (true, false) => silent("renamed"),
    }
}

fn make_directory() -> io::Result<PathBuf> {
    let mut first = None;
    for directory in DIRECTORIES {
        let path = Path::new(directory).join(format!(".ldsentry-self-test-{}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
}
