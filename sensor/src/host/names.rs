//! Names of users and groups from files in the format of passwd(5) and group(5).

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::clock::boot_ns;

/// The names in one file, read again when the file changes.
#[derive(Debug)]
pub(super) struct NameFile {
    path: PathBuf,
    version: Option<Version>,
    /// When it was looked at last, boot clock.
    looked_ns: Option<u64>,
    names: HashMap<u32, String>,
}

impl NameFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, version: None, looked_ns: None, names: HashMap::new() }
    }

    /// The name with this id, as the file has it now, or had it at some time after `since_ns`.
    pub(super) fn get(&mut self, id: u32, since_ns: Option<u64>) -> Option<String> {
        let is_known = since_ns.zip(self.looked_ns).is_some_and(|(since, looked)| since < looked);
        if !is_known {
            self.look();
        }
        self.names.get(&id).cloned()
    }

    fn look(&mut self) {
        // Before: what is asked about can happen while it is looked at.
        self.looked_ns = Some(boot_ns());
        let version = std::fs::metadata(&self.path).ok().map(|metadata| Version::of(&metadata));
        if version != self.version {
            self.names = std::fs::read(&self.path).map(|text| parse(&text)).unwrap_or_default();
            self.version = version;
        }
    }
}

/// What changes when a file is replaced or written.
#[derive(Debug, PartialEq)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// The first and third field of each line; of several names with one id the first counts, as in getpwuid(3).
fn parse(text: &[u8]) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in text.split(|&byte| byte == b'\n') {
        let mut fields = line.split(|&byte| byte == b':');
        let (Some(name), Some(_), Some(id)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let id = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
        if let (Some(id), false) = (id, name.is_empty()) {
            names.entry(id).or_insert_with(|| String::from_utf8_lossy(name).into_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_found_and_foreign_lines_passed_over() {
        let text = b"root:x:0:0:root:/root:/bin/sh\n# comment\n\n:x:1:\nno id:x:\nbig:x:4294967296:\n\
                     toor:x:0:0::/:\nj\xfcrgen:x:1000:1000::/:\n+::::::\nlast:x:7";
        let names = parse(text);
        assert_eq!(names.get(&0).map(String::as_str), Some("root"), "the first of two names");
        assert_eq!(names.get(&1000).map(String::as_str), Some("j\u{fffd}rgen"));
        assert_eq!(names.get(&7).map(String::as_str), Some("last"));
        assert_eq!(names.len(), 3, "{names:?}");
    }

    #[test]
    fn a_file_that_is_written_replaced_or_removed_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwd");
        let mut names = NameFile::new(path.clone());
        assert_eq!(names.get(1, None), None, "no file yet");
        std::fs::write(&path, "ann:x:1:").unwrap();
        assert_eq!(names.get(1, None).as_deref(), Some("ann"));
        std::fs::write(&path, "ann:x:1:\nbob:x:2:").unwrap();
        assert_eq!(names.get(2, None).as_deref(), Some("bob"));
        let next = directory.path().join("passwd.new");
        std::fs::write(&next, "eve:x:1:\nbob:x:2:").unwrap();
        std::fs::rename(&next, &path).unwrap();
        assert_eq!(names.get(1, None).as_deref(), Some("eve"));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(names.get(1, None), None);
    }

    #[test]
    fn what_happened_before_the_file_was_looked_at_is_answered_without_looking() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwd");
        let mut names = NameFile::new(path.clone());
        let before = boot_ns();
        std::fs::write(&path, "ann:x:1:").unwrap();
        assert_eq!(names.get(1, Some(before)).as_deref(), Some("ann"), "it was never looked at");
        std::fs::write(&path, "evelyn:x:1:").unwrap();
        assert_eq!(names.get(1, Some(before)).as_deref(), Some("ann"));
        assert_eq!(
            names.get(1, Some(boot_ns())).as_deref(),
            Some("evelyn"),
            "what happened after it changed"
        );
        std::fs::write(&path, "bob:x:1:").unwrap();
        assert_eq!(names.get(1, None).as_deref(), Some("bob"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse(&text);
        }

        #[test]
        fn what_was_written_is_found(entries in proptest::collection::hash_map(any::<u32>(), "[a-z_][a-z0-9-]{0,8}", 0..20)) {
            let lines: Vec<_> = entries.iter().map(|(id, name)| format!("{name}:x:{id}:rest")).collect();
            prop_assert_eq!(parse(lines.join("\n").as_bytes()), entries);
        }
    }
}
