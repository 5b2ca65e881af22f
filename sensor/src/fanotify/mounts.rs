//! `/proc/self/mountinfo`: what a file system is called, and whether something was mounted on the way to a watched path.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd, BorrowedFd};

/// The daemon's mounts.
#[derive(Debug)]
pub(super) struct Mounts {
    /// Kept open: it becomes ready with priority data when the mounts change.
    file: File,
    text: Vec<u8>,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mount {
    pub(super) id: u64,
    pub(super) point: Vec<u8>,
    pub(super) file_system: String,
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
        self.text.split(|&byte| byte == b'\n').filter_map(parse)
    }
}

impl AsFd for Mounts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let point = unescape(fields.nth(3)?);
    // A variable number of optional fields, then a hyphen.
    let file_system = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some(Mount { id, point, file_system: String::from_utf8_lossy(file_system).into_owned() })
}

/// Undoes the kernel's octal escapes.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let code = if let (b'\\', Some(digits)) = (*first, after.get(..3)) {
            std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 8).ok())
        } else {
            None
        };
        plain.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_has_its_mount_point_and_type_whatever_is_between() {
        let line = b"36 35 98:0 /mnt1 /mnt\\040a\\134b rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue";
        let mount = parse(line).unwrap();
        assert_eq!((mount.id, mount.point.as_slice()), (36, &b"/mnt a\\b"[..]));
        assert_eq!(mount.file_system, "ext3");
        assert_eq!(parse(b"36 35 98:0 /mnt1 /mnt2 rw - tmpfs none rw").unwrap().file_system, "tmpfs");
    }

    #[test]
    fn the_hosts_own_mounts_are_read() {
        let mounts = Mounts::open().unwrap();
        assert_eq!(mounts.at(|point| point == b"/proc").first().unwrap().file_system, "proc");
    }

    proptest! {
        #[test]
        fn no_line_panics(line in proptest::collection::vec(prop::sample::select(b" \\-0179a/:".to_vec()), 0..60)) {
            parse(&line);
        }
    }
}
