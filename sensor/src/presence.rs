//! Until when this host was watched, for the next daemon: in a file that is gone after a boot, as what it is about is.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::host::boot_ns;

/// Where it stands.
const FILE: &str = "/run/ldsentry/last-seen";

/// As long as it ever is: it is written in one piece, so that a daemon that is killed leaves no half of it.
const LENGTH: usize = 512;

/// What a daemon had seen when it was last known to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSeen {
    /// The boot that it is about.
    pub boot_id: String,
    /// Boot clock, nanoseconds: what happened until then was seen.
    pub boot_ns: u64,
    /// The same by the wall clock of then, milliseconds since 1970.
    pub wall_ms: i64,
    /// Pinned links that there were.
    pub links: usize,
    /// What the kernel had counted as lost, and had been told of.
    pub lost: u64,
}

/// The file, open for as long as the daemon runs.
#[derive(Debug)]
pub struct Presence {
    file: Option<File>,
    boot_id: String,
}

impl Presence {
    /// Opens it. Gives also what the daemon before left, if that was since the boot.
    pub fn open(boot_id: &str) -> (Self, Option<LastSeen>) {
        Self::open_at(Path::new(FILE), boot_id)
    }

    fn open_at(path: &Path, boot_id: &str) -> (Self, Option<LastSeen>) {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = match options.custom_flags(OFlags::NOFOLLOW.bits() as i32).open(path) {
            Ok(file) => file,
            Err(error) => {
                tracing::warn!("cannot note in {} until when this host is watched: {error}", path.display());
                return (Self { file: None, boot_id: boot_id.to_owned() }, None);
            }
        };
        let mut bytes = [0; LENGTH];
        let length = file.read_at(&mut bytes, 0).unwrap_or(0);
        let before: Option<LastSeen> = serde_json::from_slice(&bytes[..length]).ok();
        let before = before.filter(|before| before.boot_id == boot_id);
        (Self { file: Some(file), boot_id: boot_id.to_owned() }, before)
    }

    /// Until then, boot clock, everything was seen.
    pub fn note(&self, boot_ns: u64, links: usize, lost: u64) {
        let Some(file) = &self.file else { return };
        let since_ns = self::boot_ns().saturating_sub(boot_ns);
        // Rather too early: who looks for what changed since is to miss nothing.
        let wall_ms = Timestamp::now().as_millisecond() - since_ns.div_ceil(1_000_000).cast_signed();
        let seen = LastSeen { boot_id: self.boot_id.clone(), boot_ns, wall_ms, links, lost };
        let mut text = serde_json::to_vec(&seen).unwrap_or_default();
        text.resize(LENGTH, b' ');
        // Who cannot write to memory has other troubles, and says so.
        let _ = file.write_at(&text, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_daemon_of_the_same_boot_learns_what_the_last_one_noted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("last-seen");
        let (first, before) = Presence::open_at(&path, "boot");
        assert_eq!(before, None);
        first.note(boot_ns(), 13, 5);
        first.note(boot_ns(), 7, 1_000_000);
        let (_, before) = Presence::open_at(&path, "boot");
        let before = before.unwrap();
        assert_eq!((before.links, before.lost), (7, 1_000_000));
        assert!(before.boot_ns <= boot_ns() && boot_ns() - before.boot_ns < 60_000_000_000);
        assert_eq!(Presence::open_at(&path, "another boot").1, None);
        std::fs::write(&path, "what is this?").unwrap();
        let (presence, before) = Presence::open_at(&path, "boot");
        assert_eq!(before, None);
        presence.note(boot_ns(), 1, 2);
        assert_eq!(Presence::open_at(&path, "boot").1.unwrap().links, 1);
    }

    #[test]
    fn where_nothing_can_be_written_it_does_without() {
        let (presence, before) = Presence::open_at(Path::new("/nonexistent/last-seen"), "boot");
        assert_eq!(before, None);
        presence.note(boot_ns(), 1, 2);
    }
}
