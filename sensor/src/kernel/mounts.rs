//! Which file systems are mounted below a directory that rules look for, in any mount namespace. For their files the
//! kernel side looks at the directories above the mount; see `sensor-ebpf/src/mount.rs`.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use sensor_common::filter::device_bit;

use crate::links::{self, Link};
use crate::mountinfo;

/// A bit for each of their devices. If it cannot be found out, all count.
pub(super) fn bits_below(directories: &BTreeSet<Vec<u8>>) -> u64 {
    if directories.is_empty() {
        return 0;
    }
    let proc = Path::new("/proc");
    let Ok(processes) = fs::read_dir(proc) else { return u64::MAX };
    let mut seen = HashSet::new();
    let mut bits = 0;
    for process in processes.flatten() {
        // A process that ends meanwhile leaves its mounts to others that have them, or they are gone.
        if let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok())
            && let Some(view) = View::of(proc, pid)
            && seen.insert(view)
            && let Ok(text) = fs::read(process.path().join("mountinfo"))
        {
            bits |= bits_of(&text, directories);
        }
    }
    if seen.is_empty() { u64::MAX } else { bits }
}

/// What a process sees of the mounts: those of its namespace that are below its root directory.
#[derive(PartialEq, Eq, Hash)]
struct View {
    namespace: u64,
    root: PathBuf,
}

impl View {
    fn of(proc: &Path, pid: u32) -> Option<Self> {
        let namespace = links::namespace(proc, pid, Link::MountNamespace)?;
        Some(Self { namespace, root: links::target(proc, pid, Link::Root).ok()? })
    }
}

fn bits_of(mounts: &[u8], directories: &BTreeSet<Vec<u8>>) -> u64 {
    let is_below = |point: &[u8]| {
        point.split(|&byte| byte == b'/').any(|name| directories.contains(&name.to_ascii_lowercase()))
    };
    let below = mountinfo::parse(mounts).filter(|mount| is_below(&mount.point));
    below.fold(0, |bits, mount| bits | device_bit(mount.device.major << 20 | mount.device.minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_counts_if_its_mount_point_is_one_of_the_directories_or_below_one() {
        let directories = BTreeSet::from([b"ld.so.conf.d".to_vec()]);
        let bits =
            |point: &str| bits_of(format!("1 2 8:3 / {point} rw - ext4 x rw\n").as_bytes(), &directories);
        let device = device_bit(8 << 20 | 3);
        assert_eq!(bits("/etc/ld.so.conf.d"), device);
        assert_eq!(bits("/etc/LD.SO.conf.d/a/b"), device, "names are compared without case");
        assert_eq!(bits("/etc"), 0);
        assert_eq!(bits("/etc/ld.so.conf.dir"), 0);
    }

    #[test]
    fn without_directories_nothing_counts_and_this_process_is_seen() {
        assert_eq!(bits_below(&BTreeSet::new()), 0);
        assert!(View::of(Path::new("/proc"), std::process::id()).is_some());
    }
}
