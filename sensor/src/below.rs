//! Files that get other paths because a directory above them is renamed, or because a symbolic link to one is made: an event for
//! each, found by looking into the directory.
//!
//! That can take as long as who made the file system likes, so it is done beside the event path, by a thread of its own.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirEntryExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::enrich::text_path;
use crate::event::{self, Action, Event, Origin, Outcome, View};
use crate::links::{self, Link};
use crate::prefix::Prefix;

/// Files below one directory that get an event.
const MAX_FILES: usize = 1000;
/// Directories that are looked into for them.
const MAX_DIRECTORIES: usize = 1000;
const FORMAT: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const SYMBOLIC_LINK: u32 = 0o120_000;

/// A directory to look into.
#[derive(Debug)]
pub struct Search {
    event: Event,
    places: Vec<Place>,
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
    /// What there is to look into after an event. `proc` is the process file system; `prefixes` are the beginnings of the
    /// paths that rules are about, or nothing if these could be anywhere.
    pub fn after(event: &Event, proc: &Path, prefixes: Option<&[Prefix]>) -> Option<Self> {
        let kind = event.file.mode.map(|mode| mode & FORMAT);
        let can_bring = match event.action {
            // Of the second half of an exchange it is not known what it is.
            Action::Rename => kind.is_none_or(|kind| matches!(kind, DIRECTORY | SYMBOLIC_LINK)),
            Action::Creation => kind == Some(SYMBOLIC_LINK),
            _ => false,
        };
        let is_it = can_bring
            && event.origin == Origin::Hook
            && event.outcome != Outcome::Failure
            && prefixes.is_none_or(|prefixes| concerns(event, prefixes));
        is_it.then(|| Self { event: event.clone(), places: places(event, proc) })
    }

    /// Looks.
    pub fn run(self) -> Found {
        let shown = &self.event.file.paths[0].text;
        let mut reason = "it has no path here".to_owned();
        for place in &self.places {
            let root = match place.root() {
                Ok(root) => root,
                Err(error) => {
                    reason = error.to_string();
                    continue;
                }
            };
            match self.look_into(&root, &place.path) {
                Ok((files, complete)) => {
                    let events = (2..).zip(&files).map(|(part, file)| self.derive(part, file)).collect();
                    let incomplete = (!complete)
                        .then(|| format!("only {} files below {shown} were looked at", files.len()));
                    return Found { events, incomplete };
                }
                Err(error) if self.can_be_none() && is_no_directory(&error) => return Found::default(),
                Err(error) => reason = error.to_string(),
            }
        }
        let incomplete = format!("the directory {shown} has a new path, and cannot be looked into: {reason}");
        Found { events: Vec::new(), incomplete: Some(incomplete) }
    }

    /// The files in a directory and the directories in it, and whether they are all.
    fn look_into(&self, root: &OwnedFd, path: &[u8]) -> io::Result<(Vec<File>, bool)> {
        // A link leads where it leads the process: its root is not this process's.
        let directory = rustix::fs::openat2(root, path, PLACE, Mode::empty(), ResolveFlags::IN_ROOT)?;
        let expected = self.event.file.inode.filter(|_| !self.is_link());
        if expected.is_some_and(|inode| rustix::fs::fstat(&directory).is_ok_and(|top| top.st_ino != inode)) {
            return Err(io::Error::other("another one is there now"));
        }
        let top = fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd()))?;
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
        event.origin = if self.is_link() { Origin::DirectoryLink } else { Origin::DirectoryRename };
        for path in event.file.paths.iter_mut().chain(&mut event.file.original_paths) {
            let bytes = path.raw.take().unwrap_or_else(|| path.text.clone().into_bytes());
            *path = text_path(&[&bytes, file.path.as_slice()].concat(), path.view, path.truncated);
        }
        (event.file.mode, event.file.inode, event.file.target) = (None, Some(file.inode), None);
        event
    }

    fn is_link(&self) -> bool {
        self.event.file.mode.is_some_and(|mode| mode & FORMAT == SYMBOLIC_LINK)
    }

    /// It may be no directory, and then there is nothing to look into.
    fn can_be_none(&self) -> bool {
        self.is_link() || self.event.file.mode.is_none()
    }
}

/// A file below the directory.
struct File {
    /// From the directory on, with a slash first.
    path: Vec<u8>,
    inode: u64,
}

/// Where it could be reached.
#[derive(Debug)]
struct Place {
    proc: PathBuf,
    /// Whose root directory to begin at.
    pid: u32,
    /// A directory below that one which takes its place.
    above: Vec<u8>,
    path: Vec<u8>,
}

impl Place {
    fn of(proc: &Path, pid: u32, path: &[u8]) -> Self {
        Self { proc: proc.to_owned(), pid, above: Vec::new(), path: path.to_vec() }
    }

    fn root(&self) -> io::Result<OwnedFd> {
        let root = links::open(&self.proc, self.pid, Link::Root)?;
        match self.above.strip_prefix(b"/").unwrap_or(&self.above) {
            b"" => Ok(root),
            above => Ok(rustix::fs::openat(&root, above, PLACE, Mode::empty())?),
        }
    }
}

/// What opens a directory, and waits for nobody.
const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Not a directory, or a link that leads nowhere.
fn is_no_directory(error: &io::Error) -> bool {
    [Errno::NOTDIR, Errno::NOENT, Errno::LOOP]
        .iter()
        .any(|no| error.raw_os_error() == Some(no.raw_os_error()))
}

/// Whether what rules are about can be below.
fn concerns(event: &Event, prefixes: &[Prefix]) -> bool {
    event
        .file
        .paths
        .iter()
        .any(|path| path.truncated || prefixes.iter().any(|prefix| prefix.leads_through(bytes(path))))
}

fn bytes(path: &event::Path) -> &[u8] {
    path.raw.as_deref().unwrap_or(path.text.as_bytes())
}

fn places(event: &Event, proc: &Path) -> Vec<Place> {
    let process = &event.process;
    let host = || links::namespace(proc, 1, Link::MountNamespace) == Some(u64::from(process.mount_namespace));
    let paths = event.file.paths.iter().filter(|path| !path.truncated);
    let has_host_view = event.file.paths.iter().any(|path| path.view == View::Host);
    let mut places = Vec::new();
    for path in paths {
        match path.view {
            View::Process => {
                places.push(Place::of(proc, process.pid, bytes(path)));
                // The process can be gone. Its root directory is the host's if there is no other view.
                if !has_host_view && host() {
                    places.push(Place::of(proc, 1, bytes(path)));
                }
            }
            View::Host => places.push(seen_by_host(event, path, proc)),
            View::Other => {}
        }
    }
    places
}

/// A place that does not need the process. Its root is where the host's path goes on as the process's does.
fn seen_by_host(event: &Event, path: &event::Path, proc: &Path) -> Place {
    let path = bytes(path);
    let views = event.file.paths.iter().filter(|path| path.view == View::Process && !path.truncated);
    let rests = views.map(bytes).filter(|rest| path.ends_with(rest));
    let rest = rests.max_by_key(|rest| rest.len()).unwrap_or(path);
    let above = path[..path.len() - rest.len()].to_vec();
    Place { above, ..Place::of(proc, 1, rest) }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::fs::{MetadataExt as _, symlink};

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
        let found = Search::after(&renamed(directory.path()), Path::new("/proc"), None).unwrap().run();
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
        let found = Search::after(&event, Path::new("/proc"), None).unwrap().run();
        assert!(found.incomplete.unwrap().contains("another one is there now"));
        for number in 0..=MAX_FILES {
            fs::write(directory.path().join(number.to_string()), "").unwrap();
        }
        let found = Search::after(&renamed(directory.path()), Path::new("/proc"), None).unwrap().run();
        assert_eq!(found.events.len(), MAX_FILES);
        assert!(found.incomplete.unwrap().contains("only 1000 files"));
    }

    #[test]
    fn files_and_failures_are_not_looked_into() {
        let directory = tempfile::tempdir().unwrap();
        let mut event = renamed(directory.path());
        event.outcome = Outcome::Failure;
        assert!(Search::after(&event, Path::new("/proc"), None).is_none());
        event.outcome = Outcome::Unknown;
        event.file.mode = Some(0o100_644);
        assert!(Search::after(&event, Path::new("/proc"), None).is_none());
    }

    #[test]
    fn a_link_is_followed_to_its_files_and_one_that_leads_nowhere_is_no_loss() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        fs::create_dir(place("made")).unwrap();
        fs::write(place("made/a"), "").unwrap();
        symlink("made", place("conf.d")).unwrap();
        symlink("nowhere", place("dangling")).unwrap();
        symlink("made/a", place("file")).unwrap();
        let found = |name: &str| {
            let mut event = renamed(directory.path());
            event.action = Action::Creation;
            event.file.mode = Some(SYMBOLIC_LINK | 0o777);
            event.file.target = Some("made".into());
            let path = place(name);
            event.file.paths = vec![text_path(path.as_os_str().as_bytes(), View::Process, false)];
            event.file.original_paths = Vec::new();
            Search::after(&event, Path::new("/proc"), None).unwrap().run()
        };
        let through = found("conf.d");
        assert_eq!((through.events.len(), through.incomplete), (1, None));
        let file = &through.events[0].file;
        assert_eq!(file.paths[0].text, place("conf.d/a").to_str().unwrap());
        assert_eq!((file.target.as_ref(), through.events[0].origin), (None, Origin::DirectoryLink));
        for none in ["dangling", "file"] {
            let found = found(none);
            assert_eq!((found.events.len(), found.incomplete), (0, None), "{none}");
        }
    }

    /// The process is gone, and had a root of its own.
    #[test]
    fn a_link_leads_where_it_led_the_process() {
        let root = tempfile::tempdir().unwrap();
        let place = |name: &str| root.path().join(name);
        fs::create_dir_all(place("srv/made")).unwrap();
        fs::create_dir(place("etc")).unwrap();
        fs::write(place("srv/made/a"), "").unwrap();
        symlink("/srv/made", place("etc/conf.d")).unwrap();
        let mut event = renamed(root.path());
        event.process.pid = u32::MAX;
        event.action = Action::Creation;
        event.file.mode = Some(SYMBOLIC_LINK | 0o777);
        let host = place("etc/conf.d");
        event.file.paths = vec![
            text_path(b"/etc/conf.d", View::Process, false),
            text_path(host.as_os_str().as_bytes(), View::Host, false),
        ];
        // A `/proc` in which only the first process is.
        let proc = tempfile::tempdir().unwrap();
        fs::create_dir(proc.path().join("1")).unwrap();
        symlink("/", proc.path().join("1/root")).unwrap();
        let found = Search::after(&event, proc.path(), None).unwrap().run();
        assert_eq!((found.events.len(), found.incomplete), (1, None));
        assert_eq!(found.events[0].file.paths[0].text, "/etc/conf.d/a");
    }

    #[test]
    fn what_no_rule_can_be_about_is_not_looked_into() {
        let directory = tempfile::tempdir().unwrap();
        let after = |text: &[u8]| {
            let prefixes = [Prefix { text: text.to_vec(), open: true }];
            Search::after(&renamed(directory.path()), Path::new("/proc"), Some(&prefixes))
        };
        assert!(after(b"/etc/ld.so.conf.d/").is_none());
        assert!(after(&[directory.path().as_os_str().as_bytes(), b"/x"].concat()).is_some());
        assert!(after(b"/").is_some());
    }
}
