//! The kernel's filter, as derived from rules: which names make an entry worth a look.
//!
//! See `sensor_common::filter` for what the kernel does with it.

use std::collections::BTreeSet;

use sensor_common::filter::{DIRECTORY, ENTRY, Key, Lengths, MAX_DEPTH, fold, keep, length_bit};

/// Names that rules ask for; what has none of them is dismissed in the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Names of entries.
    pub entries: BTreeSet<Vec<u8>>,
    /// Names of directories above entries.
    pub directories: BTreeSet<Vec<u8>>,
    /// Some rule cannot be pushed down: everything passes.
    pub everything: bool,
    /// Some rule asks for the old path of a rename.
    pub original: bool,
}

impl Filter {
    /// What the kernel reads first.
    pub fn lengths(&self, generation: u32) -> Lengths {
        let bits = |names: &BTreeSet<Vec<u8>>| {
            names.iter().fold(0, |bits, name| bits | length_bit(name.len() as u32))
        };
        Lengths {
            entry: bits(&self.entries),
            directory: bits(&self.directories),
            generation,
            everything: u32::from(self.everything),
            original: u32::from(self.original),
            reserved: 0,
        }
    }

    /// The names, as the kernel looks them up.
    pub fn keys(&self, generation: u32) -> impl Iterator<Item = Key> {
        let entries = self.entries.iter().map(|name| (name, ENTRY));
        let directories = self.directories.iter().map(|name| (name, DIRECTORY));
        entries.chain(directories).map(move |(name, role)| key(name, role, generation))
    }

    /// Adds what another filter passes.
    pub fn extend(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.directories.extend(other.directories);
        self.everything |= other.everything;
        self.original |= other.original;
    }

    /// What the kernel answers for an entry at a path within its file system. For tests and for `rules check`.
    pub fn passes(&self, path: &[u8]) -> bool {
        let lengths = self.lengths(0);
        let keys: BTreeSet<_> = self.keys(0).map(|key| (key.head, key.length, key.role)).collect();
        let is_known = |name: &[u8], role| {
            let key = key(name, role, 0);
            keys.contains(&(key.head, key.length, key.role))
        };
        let mut names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).rev();
        let Some(entry) = names.next() else { return self.everything };
        self.everything
            || (lengths.entry & length_bit(entry.len() as u32) != 0 && is_known(entry, ENTRY))
            || (lengths.directory != 0
                && names.enumerate().any(|(depth, name)| {
                    depth as u32 >= MAX_DEPTH
                        || (lengths.directory & length_bit(name.len() as u32) != 0
                            && is_known(name, DIRECTORY))
                }))
    }
}

fn key(name: &[u8], role: u16, generation: u32) -> Key {
    let mut head = [0; 8];
    let length = name.len().min(8);
    head[..length].copy_from_slice(&name[..length]);
    let head = keep(fold(u64::from_ne_bytes(head)), name.len() as u32);
    Key { head, generation, length: name.len() as u16, role }
}
