//! `/proc/self/mountinfo`: what a file system is called, and whether something was mounted on the way to a watched path.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd, BorrowedFd};

use crate::mountinfo::{self, Mount};

/// The daemon's mounts.
#[derive(Debug)]
pub(super) struct Mounts {
    /// Kept open: it becomes ready with priority data when the mounts change.
    file: File,
    text: Vec<u8>,
}

impl Mounts {
    pub(super) fn open() -> io::Result<Self> {
        let mut mounts = Self { file: File::open("/proc/self/mountinfo")?, text: Vec::new() };
        mounts.read()?;
        Ok(mounts)
    }

    /// Reads them anew.
    pub(super) fn read(&mut self) -> io::Result<()> {
        self.text.clear();
        self.file.rewind()?;
        self.file.read_to_end(&mut self.text)?;
        Ok(())
    }

    /// Those whose mount points `wanted` wants.
    pub(super) fn at(&self, wanted: impl Fn(&[u8]) -> bool) -> BTreeSet<Mount> {
        self.all().filter(|mount| wanted(&mount.point)).collect()
    }

    /// Type of the file system of the mount with that id.
    pub(super) fn file_system(&self, id: u64) -> Option<String> {
        self.all().find(|mount| mount.id == id).map(|mount| mount.file_system)
    }

    fn all(&self) -> impl Iterator<Item = Mount> {
        mountinfo::parse(&self.text)
    }
}

impl AsFd for Mounts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_mounts_are_read() {
        let mounts = Mounts::open().unwrap();
        assert_eq!(mounts.at(|point| point == b"/proc").first().unwrap().file_system, "proc");
    }
}
