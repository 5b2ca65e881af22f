//! Looks for files, and into them. What is looked at is bounded; what is left out is said.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::linker::{self, Kind};
use super::{Contents, File, Inventory};
use crate::ecs::hex;
use crate::prefix::Prefix;

/// Files that are looked at.
const MAX_FILES: usize = 1000;
/// Directories that are looked into.
const MAX_DIRECTORIES: usize = 1000;
/// Longer files are not hashed.
const MAX_HASHED: u64 = 64 << 20;
/// Bytes that are read in all.
const MAX_READ: u64 = 512 << 20;
/// Bytes of a file that names others in which names are looked for.
const MAX_NAMES: usize = 64 << 10;
/// Bytes of a file that are told.
const HEAD: usize = 256;

/// The files that begin so, below `root`.
pub fn look(prefixes: &[Prefix], root: &Path) -> Inventory {
    let mut search = Search {
        root,
        found: Inventory::default(),
        known: HashMap::new(),
        directories: Vec::new(),
        looked_into: 0,
        read: 0,
    };
    search.directories.push(Directory { path: Vec::new(), known_as: Vec::new(), linked_by: None });
    while let Some(directory) = search.directories.pop() {
        search.look_into(&directory, prefixes);
    }
    search.found
}

struct Search<'r> {
    root: &'r Path,
    found: Inventory,
    /// Where in the list the file is.
    known: HashMap<Vec<u8>, usize>,
    /// Still to be looked into.
    directories: Vec<Directory>,
    looked_into: usize,
    read: u64,
}

struct Directory {
    /// Without a slash at the end.
    path: Vec<u8>,
    /// What rules call it. Another one only behind a symbolic link.
    known_as: Vec<u8>,
    /// That symbolic link.
    linked_by: Option<Vec<u8>>,
}

impl Search<'_> {
    fn look_into(&mut self, directory: &Directory, prefixes: &[Prefix]) {
        if self.looked_into >= MAX_DIRECTORIES {
            self.leave_out(&format!("more than {MAX_DIRECTORIES} directories can hold files of rules"));
            return;
        }
        self.looked_into += 1;
        let shown = if directory.path.is_empty() { b"/".as_slice() } else { directory.path.as_slice() };
        let entries = match fs::read_dir(self.place(shown)) {
            Ok(entries) => entries,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    self.leave_out(&format!(
                        "{} cannot be looked into: {error}",
                        String::from_utf8_lossy(shown)
                    ));
                }
                return;
            }
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let below = |parent: &[u8]| [parent, b"/", name.as_bytes()].concat();
            let (path, known_as) = (below(&directory.path), below(&directory.known_as));
            let Ok(kind) = entry.file_type() else { continue };
            let leads = prefixes.iter().any(|prefix| prefix.leads_through(&known_as));
            if kind.is_dir() {
                if leads {
                    let linked_by = directory.linked_by.clone();
                    self.directories.push(Directory { path, known_as, linked_by });
                }
                continue;
            }
            let covered = prefixes.iter().any(|prefix| prefix.covers(&known_as));
            let elsewhere = if leads && kind.is_symlink() { self.directory_behind(&path) } else { None };
            if covered || elsewhere.is_some() {
                self.add(path.clone(), directory.linked_by.clone());
            }
            // One step: what is behind a link in there is not where rules look either.
            if let Some(elsewhere) = elsewhere
                && directory.linked_by.is_none()
            {
                self.directories.push(Directory { path: elsewhere, known_as, linked_by: Some(path) });
            }
        }
    }

    /// Notes a file, and what it names.
    fn add(&mut self, path: Vec<u8>, named_by: Option<Vec<u8>>) {
        let kind = Kind::of(&path);
        self.add_as(path, named_by, kind);
    }

    fn add_as(&mut self, path: Vec<u8>, named_by: Option<Vec<u8>>, kind: Option<Kind>) {
        if let Some(&index) = self.known.get(&path) {
            // What a rule names needs nothing else to name it.
            if named_by.is_none() {
                self.found.files[index].named_by = None;
            }
            return;
        }
        if self.found.files.len() >= MAX_FILES {
            self.leave_out(&format!("more than {MAX_FILES} files are there"));
            return;
        }
        let place = self.place(&path);
        // What is gone by now was not there at the start.
        let Ok(metadata) = fs::symlink_metadata(&place) else { return };
        let target = fs::read_link(&place).ok().map(|target| target.into_os_string().into_vec());
        let (contents, names) =
            if metadata.is_file() { self.read(&path, &place, metadata.len()) } else { (None, Vec::new()) };
        self.known.insert(path.clone(), self.found.files.len());
        self.found.files.push(File {
            path: path.clone(),
            named_by,
            metadata,
            target: target.clone(),
            contents,
        });
        if let Some(target) = target
            && kind.is_some()
        {
            // The file that is read is the one behind it.
            let beside = Path::new(OsStr::from_bytes(&path))
                .parent()
                .map(|parent| parent.join(OsStr::from_bytes(&target)));
            let behind = beside.map(|path| path.into_os_string().into_vec()).unwrap_or_default();
            if self.known.len() < MAX_FILES {
                self.add_as(behind, Some(path), kind);
            }
            return;
        }
        let Some(kind) = kind else { return };
        for name in linker::named(kind, &path, &names) {
            match kind {
                Kind::Preload => self.add_as(name, Some(path.clone()), None),
                Kind::Configuration => {
                    for included in self.expand(&name) {
                        self.add_as(included, Some(path.clone()), Some(kind));
                    }
                }
            }
        }
    }

    /// What a regular file holds, and as much of it as names are looked for in.
    fn read(&mut self, path: &[u8], place: &Path, length: u64) -> (Option<Contents>, Vec<u8>) {
        match read(place, MAX_READ.saturating_sub(self.read).min(MAX_HASHED)) {
            Ok((contents, names)) => {
                self.read += length.min(MAX_HASHED);
                (Some(contents), names)
            }
            Err(error) => {
                self.leave_out(&format!("{} cannot be read: {error}", String::from_utf8_lossy(path)));
                (None, Vec::new())
            }
        }
    }

    /// The files that a pattern stands for.
    fn expand(&mut self, pattern: &[u8]) -> Vec<Vec<u8>> {
        let Ok(text) = std::str::from_utf8(pattern) else {
            self.leave_out("a name in the dynamic linker's configuration is no text");
            return Vec::new();
        };
        let root = self.root.to_str().unwrap_or_default().trim_end_matches('/');
        let pattern = format!("{}{text}", glob::Pattern::escape(root));
        let paths = glob::glob(&pattern).into_iter().flatten().flatten().take(MAX_FILES);
        paths.filter_map(|path| self.name(&path)).collect()
    }

    /// The directory that a symbolic link points to.
    fn directory_behind(&self, path: &[u8]) -> Option<Vec<u8>> {
        let place = fs::canonicalize(self.place(path)).ok()?;
        if place.is_dir() { self.name(&place) } else { None }
    }

    fn place(&self, path: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(path.strip_prefix(b"/").unwrap_or(path)))
    }

    /// The path that a place below the root has.
    fn name(&self, place: &Path) -> Option<Vec<u8>> {
        let below = place.strip_prefix(self.root).ok()?;
        Some([b"/", below.as_os_str().as_bytes()].concat())
    }

    /// The first reason is the one that is told.
    fn leave_out(&mut self, reason: &str) {
        self.found.incomplete.get_or_insert_with(|| reason.to_owned());
    }
}

/// Nobody is waited for: what was a regular file a moment ago may be a pipe.
fn read(place: &Path, limit: u64) -> io::Result<(Contents, Vec<u8>)> {
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(place)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("another one is there now"));
    }
    let mut hash = Sha256::new();
    let (mut head, mut total) = (Vec::new(), 0);
    let mut buffer = vec![0; 64 << 10];
    let mut rest = file.take(limit.max(MAX_NAMES as u64).saturating_add(1));
    loop {
        let length = rest.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        hash.update(&buffer[..length]);
        total += length as u64;
        let wanted = MAX_NAMES.saturating_sub(head.len()).min(length);
        head.extend_from_slice(&buffer[..wanted]);
        if metadata.size() > limit && head.len() >= MAX_NAMES {
            break;
        }
    }
    let whole = total <= limit && total >= metadata.size().min(limit);
    let sha256 = (whole && metadata.size() <= limit).then(|| hex(&hash.finalize()));
    Ok((Contents { sha256, head: head[..HEAD.min(head.len())].to_vec() }, head))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn prefixes() -> Vec<Prefix> {
        [("/etc/ld.so.preload", false), ("/etc/ld.so.conf", false), ("/etc/ld.so.conf.d/", true)]
            .map(|(text, open)| Prefix { text: text.into(), open })
            .to_vec()
    }

    fn host() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc/ld.so.conf.d")).unwrap();
        root
    }

    fn paths(inventory: &Inventory) -> Vec<(String, Option<String>)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut paths: Vec<_> = inventory
            .files
            .iter()
            .map(|file| (text(&file.path), file.named_by.as_deref().map(text)))
            .collect();
        paths.sort();
        paths
    }

    fn named(path: &str, by: Option<&str>) -> (String, Option<String>) {
        (path.to_owned(), by.map(str::to_owned))
    }

    #[test]
    fn what_rules_name_is_found_with_what_it_holds() {
        let root = host();
        let write = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
        write("etc/LD.so.preload", "");
        write("etc/ld.so.conf.d/a.conf", "abc");
        write("etc/passwd", "no");
        let found = look(&prefixes(), root.path());
        assert_eq!(
            paths(&found),
            [named("/etc/LD.so.preload", None), named("/etc/ld.so.conf.d/a.conf", None)]
        );
        let contents = found
            .files
            .iter()
            .find(|file| file.path.ends_with(b"a.conf"))
            .unwrap()
            .contents
            .as_ref()
            .unwrap();
        assert_eq!(
            contents.sha256.as_deref(),
            Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        );
        assert_eq!(contents.head, b"abc");
        assert_eq!(found.incomplete, None);
    }

    #[test]
    fn what_the_linkers_files_name_is_found_wherever_it_is() {
        let root = host();
        let write = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
        fs::create_dir(root.path().join("opt")).unwrap();
        write("etc/ld.so.preload", "/opt/evil.so /opt/missing.so\n");
        write("opt/evil.so", "library");
        write("etc/ld.so.conf", "include /opt/*.conf\n");
        write("opt/x.conf", "include y\n");
        write("opt/y", "include /opt/x.conf\n");
        write("opt/z.conf", "include /etc/ld.so.conf.d/*\n");
        write("etc/ld.so.conf.d/a", "");
        let found = look(&prefixes(), root.path());
        assert_eq!(
            paths(&found),
            [
                named("/etc/ld.so.conf", None),
                named("/etc/ld.so.conf.d/a", None),
                named("/etc/ld.so.preload", None),
                named("/opt/evil.so", Some("/etc/ld.so.preload")),
                named("/opt/x.conf", Some("/etc/ld.so.conf")),
                named("/opt/y", Some("/opt/x.conf")),
                named("/opt/z.conf", Some("/etc/ld.so.conf")),
            ]
        );
    }

    #[test]
    fn a_directory_that_is_elsewhere_is_followed_and_so_is_a_file() {
        let root = host();
        fs::remove_dir(root.path().join("etc/ld.so.conf.d")).unwrap();
        fs::create_dir_all(root.path().join("opt/conf.d")).unwrap();
        fs::write(root.path().join("opt/conf.d/a.conf"), "/x").unwrap();
        symlink(root.path().join("opt/conf.d"), root.path().join("etc/ld.so.conf.d")).unwrap();
        fs::write(root.path().join("opt/list"), "/opt/none").unwrap();
        symlink("../opt/list", root.path().join("etc/ld.so.preload")).unwrap();
        let found = look(&prefixes(), root.path());
        assert_eq!(
            paths(&found),
            [
                named("/etc/../opt/list", Some("/etc/ld.so.preload")),
                named("/etc/ld.so.conf.d", None),
                named("/etc/ld.so.preload", None),
                named("/opt/conf.d/a.conf", Some("/etc/ld.so.conf.d")),
            ]
        );
    }

    #[test]
    fn behind_a_link_on_the_way_only_what_rules_name_is_looked_at() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("usr/lib/x86_64-linux-gnu/perl")).unwrap();
        fs::create_dir_all(root.path().join("usr/lib/other")).unwrap();
        symlink(root.path().join("usr/lib"), root.path().join("lib")).unwrap();
        for name in [
            "ld-linux.so.2",
            "libc.so.6",
            "x86_64-linux-gnu/ld.so",
            "x86_64-linux-gnu/perl/ld.so",
            "other/ld.so",
        ] {
            fs::write(root.path().join("usr/lib").join(name), "").unwrap();
        }
        let prefixes = [("/lib/ld-", true), ("/lib/x86_64-linux-gnu/ld.so", false)]
            .map(|(text, open)| Prefix { text: text.into(), open });
        let found = look(&prefixes, root.path());
        assert_eq!(
            paths(&found),
            [
                named("/lib", None),
                named("/usr/lib/ld-linux.so.2", Some("/lib")),
                named("/usr/lib/x86_64-linux-gnu/ld.so", Some("/lib")),
            ]
        );
    }

    #[test]
    fn pipes_are_not_read_and_too_many_files_are_said() {
        let root = host();
        let pipe = root.path().join("etc/ld.so.preload");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        for number in 0..MAX_FILES {
            fs::write(root.path().join(format!("etc/ld.so.conf.d/{number}")), "").unwrap();
        }
        let found = look(&prefixes(), root.path());
        assert_eq!(found.files.len(), MAX_FILES);
        assert!(found.incomplete.unwrap().contains("more than 1000 files"));
        assert!(found.files.iter().all(|file| !file.path.ends_with(b"preload") || file.contents.is_none()));
    }

    #[test]
    fn a_file_that_is_too_long_has_no_hash() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("long");
        fs::write(&place, vec![b'x'; 200_000]).unwrap();
        let (contents, names) = read(&place, 100_000).unwrap();
        assert_eq!((contents.sha256, contents.head.len(), names.len()), (None, HEAD, MAX_NAMES));
        assert!(read(&place, 200_000).unwrap().0.sha256.is_some());
    }
}
