//! Files that get other paths because a directory above them is renamed: an event for each, found by looking into the
//! directory.
//!
//! That can take as long as who made the file system likes, so it is done beside the event path, by a thread of its own.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::enrich::text_path;
use crate::event::{self, Action, Event, Origin, Outcome, View};

/// Files below one directory that get an event.
const MAX_FILES: usize = 1000;
/// Directories that are looked into for them.
const MAX_DIRECTORIES: usize = 1000;
const FORMAT: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;

/// A directory to look into.
#[derive(Debug)]
pub struct Search {
    event: Event,
    /// Where it could be reached.
    places: Vec<PathBuf>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// An event for each file.
    pub events: Vec<Event>,
    /// Why there can be more.
    pub incomplete: Option<String>,
}

impl Search {
    /// What there is to look into after an event. `proc` is the process file system.
    pub fn after(event: &Event, proc: &Path) -> Option<Self> {
        // Of the second half of an exchange it is not known what it is.
        let can_be_directory = event.file.mode.is_none_or(|mode| mode & FORMAT == DIRECTORY);
        let is_it = event.action == Action::Rename
            && event.origin == Origin::Hook
            && event.outcome != Outcome::Failure
            && can_be_directory;
        is_it.then(|| Self { event: event.clone(), places: places(event, proc) })
    }

    /// Looks.
    pub fn run(self) -> Found {
        let shown = &self.event.file.paths[0].text;
        let mut reason = "it has no path here".to_owned();
        for place in &self.places {
            match self.look_into(place) {
                Ok((files, complete)) => {
                    let events = (2..).zip(&files).map(|(part, file)| self.derive(part, file)).collect();
                    let incomplete = (!complete)
                        .then(|| format!("only {} files below {shown} were looked at", files.len()));
                    return Found { events, incomplete };
                }
                Err(error)
                    if error.kind() == io::ErrorKind::NotADirectory && self.event.file.mode.is_none() =>
                {
                    return Found::default();
                }
                Err(error) => reason = error.to_string(),
            }
        }
        let incomplete = format!("the directory {shown} was renamed, and cannot be looked into: {reason}");
        Found { events: Vec::new(), incomplete: Some(incomplete) }
    }

    /// The files in a directory and the directories in it, and whether they are all.
    fn look_into(&self, place: &Path) -> io::Result<(Vec<File>, bool)> {
        let top = fs::read_dir(place)?;
        if self.event.file.inode.is_some_and(|inode| fs::metadata(place).is_ok_and(|top| top.ino() != inode))
        {
            return Err(io::Error::other("another one is there now"));
        }
        let mut files = Vec::new();
        let mut directories = vec![(Vec::new(), top)];
        let mut looked_into = 0;
        while let Some((path, entries)) = directories.pop() {
            for entry in entries.flatten() {
                let path = [path.as_slice(), b"/", entry.file_name().as_bytes()].concat();
                if !entry.file_type().is_ok_and(|r#type| r#type.is_dir()) {
                    files.push(File { path, inode: entry.ino() });
                } else if let Ok(entries) = fs::read_dir(entry.path()) {
                    looked_into += 1;
                    directories.push((path, entries));
                }
                if files.len() > MAX_FILES || looked_into > MAX_DIRECTORIES {
                    files.truncate(MAX_FILES);
                    return Ok((files, false));
                }
            }
        }
        Ok((files, true))
    }

    fn derive(&self, part: u16, file: &File) -> Event {
        let mut event = self.event.clone();
        event.id.part = part;
        event.origin = Origin::DirectoryRename;
        for path in event.file.paths.iter_mut().chain(&mut event.file.original_paths) {
            let bytes = path.raw.take().unwrap_or_else(|| path.text.clone().into_bytes());
            *path = text_path(&[&bytes, file.path.as_slice()].concat(), path.view, path.truncated);
        }
        (event.file.mode, event.file.inode) = (None, Some(file.inode));
        event
    }
}

/// A file below the directory.
struct File {
    /// From the directory on, with a slash first.
    path: Vec<u8>,
    inode: u64,
}

fn places(event: &Event, proc: &Path) -> Vec<PathBuf> {
    let process = &event.process;
    let host = || {
        fs::metadata(proc.join("1/ns/mnt"))
            .is_ok_and(|namespace| namespace.ino() == u64::from(process.mount_namespace))
    };
    let paths = event.file.paths.iter().filter(|path| !path.truncated);
    let has_host_view = event.file.paths.iter().any(|path| path.view == View::Host);
    let mut places = Vec::new();
    for path in paths {
        match path.view {
            View::Process => {
                places.push(below_root(proc, process.pid, path));
                // The process can be gone. Its root directory is the host's if there is no other view.
                if !has_host_view && host() {
                    places.push(below_root(proc, 1, path));
                }
            }
            View::Host => places.push(below_root(proc, 1, path)),
            View::Other => {}
        }
    }
    places
}

fn below_root(proc: &Path, pid: u32, path: &event::Path) -> PathBuf {
    let bytes = path.raw.as_deref().unwrap_or(path.text.as_bytes());
    let mut place = proc.join(pid.to_string()).join("root").into_os_string().into_vec();
    place.extend_from_slice(bytes);
    PathBuf::from(OsStr::from_bytes(&place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn renamed(directory: &Path) -> Event {
        let mut event = testing::event();
        event.action = Action::Rename;
        event.outcome = Outcome::Success;
        event.process.pid = std::process::id();
        event.file.mode = Some(DIRECTORY | 0o755);
        event.file.inode = Some(fs::metadata(directory).unwrap().ino());
        let path = |path: &Path| text_path(path.as_os_str().as_bytes(), View::Process, false);
        event.file.paths = vec![path(directory)];
        event.file.original_paths = vec![path(Path::new("/prepared"))];
        event
    }

    #[test]
    fn each_file_below_gets_an_event_with_both_paths() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("in")).unwrap();
        fs::write(directory.path().join("a"), "").unwrap();
        fs::write(directory.path().join(OsStr::from_bytes(b"in/\xff")), "").unwrap();
        let found = Search::after(&renamed(directory.path()), Path::new("/proc")).unwrap().run();
        assert_eq!(found.incomplete, None);
        let mut paths: Vec<_> = found
            .events
            .iter()
            .map(|event| (event.file.original_paths[0].text.clone(), event.file.paths[0].raw.is_some()))
            .collect();
        paths.sort();
        assert_eq!(paths, [("/prepared/a".to_owned(), false), ("/prepared/in/\u{fffd}".to_owned(), true)]);
        assert!(found.events.iter().all(|event| event.origin == Origin::DirectoryRename));
        assert_ne!(found.events[0].id, found.events[1].id);
    }

    #[test]
    fn what_cannot_be_looked_into_or_is_too_much_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let mut event = renamed(directory.path());
        event.file.inode = Some(1);
        let found = Search::after(&event, Path::new("/proc")).unwrap().run();
        assert!(found.incomplete.unwrap().contains("another one is there now"));
        for number in 0..=MAX_FILES {
            fs::write(directory.path().join(number.to_string()), "").unwrap();
        }
        let found = Search::after(&renamed(directory.path()), Path::new("/proc")).unwrap().run();
        assert_eq!(found.events.len(), MAX_FILES);
        assert!(found.incomplete.unwrap().contains("only 1000 files"));
    }

    #[test]
    fn files_and_failures_are_not_looked_into() {
        let directory = tempfile::tempdir().unwrap();
        let mut event = renamed(directory.path());
        event.outcome = Outcome::Failure;
        assert!(Search::after(&event, Path::new("/proc")).is_none());
        event.outcome = Outcome::Unknown;
        event.file.mode = Some(0o100_644);
        assert!(Search::after(&event, Path::new("/proc")).is_none());
    }
}
