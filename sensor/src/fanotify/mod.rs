//! The source for kernels that take no hooks: fanotify on the directories in which the rules' files are.
//!
//! It tells what was done, after it was done: an event's outcome is always success. What it cannot see stands in
//! docs/sources.md.

mod error;
mod event;
mod file;
mod marks;
mod mounts;
mod process;
mod self_test;
mod system;
mod writers;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

pub use self::error::FanotifyError;
use self::event::{Entry, Notification, Notifications};
use self::file::{file, views};
use self::marks::{Appeared, Facts, FileSystem, Marks, Masks, join};
pub use self::process::Recall;
use self::process::{Pidfd, Who};
use self::system::Abilities;
use self::writers::Writers;
use crate::event::{Action, Event, EventId, File, Origin, Outcome, SELF_TEST};
use crate::host::{Host, boot_ns};
use crate::prefix::Prefix;

/// Some hundred notifications.
const BUFFER: usize = 64 << 10;
/// After an overflow the directories are looked through when the queue is empty; under a flood that never ends, after
/// this many buffers.
const PATIENCE: u32 = 256;
/// The longest time between two ticks of a kernel's clock.
const TICK: Duration = Duration::from_millis(10);

/// What was counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FanotifyCounters {
    /// Times that the queue was full: each lost at least one notification.
    pub overflows: u64,
    /// Times that directories were looked through for what had no notification.
    pub rescans: u64,
    /// Notifications that were not understood.
    pub not_understood: u64,
    /// Directories that could not be marked.
    pub refused: u64,
}

/// Notifications about the directories that rules lead to.
pub struct Fanotify {
    group: OwnedFd,
    abilities: Abilities,
    marks: Marks,
    /// What rules ask for.
    actions: BTreeSet<Action>,
    writers: Writers,
    recall: Option<Recall>,
    buffer: Vec<u8>,
    /// Files that were found by looking and whose notifications may still come.
    appeared: BTreeMap<Vec<u8>, Appeared>,
    /// Files that were there at the start, until it is known whether another daemon has watched them.
    there: Vec<Appeared>,
    /// Everything is to be looked through, at the latest after so many more buffers.
    rescan: Option<u32>,
    /// When the queue was last seen to be whole, boot clock.
    whole_ns: u64,
    sequence: u64,
    counters: FanotifyCounters,
}

impl Fanotify {
    /// Marks the directories that lead to `prefixes`, after having seen that fanotify works, so that it tells of `actions`. Who is
    /// gone when a notification is read, `recall` may still know.
    pub fn open(
        prefixes: Vec<Prefix>,
        actions: BTreeSet<Action>,
        recall: Option<Recall>,
    ) -> Result<Self, FanotifyError> {
        if prefixes.is_empty() {
            return Err(FanotifyError::NothingToWatch);
        }
        self_test::run()?;
        let (group, abilities) = system::new_group().map_err(FanotifyError::Refused)?;
        let marks = Marks::new(masks(abilities, &actions), prefixes).map_err(FanotifyError::Mounts)?;
        let mut fanotify = Self {
            group,
            abilities,
            marks,
            actions,
            writers: Writers::default(),
            recall,
            buffer: vec![0; BUFFER],
            appeared: BTreeMap::new(),
            there: Vec::new(),
            rescan: None,
            whole_ns: boot_ns(),
            sequence: 0,
            counters: FanotifyCounters::default(),
        };
        fanotify.there = fanotify.marks.cover_all(&fanotify.group);
        if fanotify.marks.len() == 0
            && let Some((path, error)) = fanotify.marks.take_refused().into_iter().next()
        {
            let path = PathBuf::from(String::from_utf8_lossy(&path).into_owned());
            return Err(FanotifyError::Mark { path, error });
        }
        fanotify.report_refused();
        Ok(fanotify)
    }

    /// Tells, of the files that are there already, which have changed since a daemon last watched them; without such a time, of
    /// none: they did not just appear.
    pub fn look_back(&mut self, since: Option<Timestamp>) {
        let there = std::mem::take(&mut self.there);
        let Some(since) = since else { return };
        // A file's time is that of the clock's last tick.
        let since = since.saturating_sub(TICK).unwrap_or(Timestamp::MIN);
        self.wait_for_notifications(there.into_iter().filter(|file| file.changed >= since).collect());
    }

    /// Whether this process may still mark directories.
    pub fn may_mark(&self) -> bool {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // The way to every path begins here, so it is marked already.
        let root = rustix::fs::open("/", flags, Mode::empty());
        root.is_ok_and(|root| {
            system::mark(&self.group, root.as_fd(), masks(self.abilities, &self.actions).way).is_ok()
        })
    }

    /// Watches what leads to other paths instead, and tells of other actions.
    pub fn watch(&mut self, prefixes: Vec<Prefix>, actions: BTreeSet<Action>) {
        if self.marks.prefixes() == prefixes && self.actions == actions {
            return;
        }
        self.marks.change(masks(self.abilities, &actions), prefixes);
        self.actions = actions;
        // What other rules ask for did not just appear.
        drop(self.marks.cover_all(&self.group));
        self.report_refused();
    }

    /// How many directories are marked.
    pub fn directories(&self) -> usize {
        self.marks.len()
    }

    /// What was counted.
    pub fn counters(&self) -> FanotifyCounters {
        self.counters
    }

    /// A descriptor that becomes readable when there are notifications.
    pub fn notifications(&self) -> io::Result<OwnedFd> {
        self.group.try_clone()
    }

    /// A descriptor that has priority data when the mounts have changed.
    pub fn mounts(&self) -> io::Result<OwnedFd> {
        self.marks.mounts.as_fd().try_clone_to_owned()
    }

    /// Something was mounted or unmounted somewhere.
    pub fn mounts_changed(&mut self) {
        match self.marks.mounts_changed() {
            Ok(false) => {}
            Ok(true) => self.rescan = Some(PATIENCE),
            Err(error) => tracing::error!("cannot read /proc/self/mountinfo: {error}"),
        }
    }

    /// Adds what has happened to `events`. False if there is nothing more to be read or done.
    pub fn read(&mut self, host: &mut impl Host, events: &mut Vec<Event>) -> Result<bool, FanotifyError> {
        if let Some(patience) = &mut self.rescan {
            if *patience == 0 {
                self.rescan_all();
            } else {
                *patience -= 1;
            }
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = rustix::io::read(&self.group, &mut buffer);
        let more = match read {
            Ok(0) | Err(Errno::AGAIN) => self.look_again(host, events),
            Err(Errno::INTR) => true,
            Ok(length) => {
                self.take_all(&buffer[..length], host, events);
                true
            }
            Err(error) => return Err(FanotifyError::Read(error.into())),
        };
        self.buffer = buffer;
        self.report_refused();
        Ok(more)
    }

    /// The queue is empty: whatever was found by looking, and has had no notification by now, will have none.
    fn look_again(&mut self, host: &mut impl Host, events: &mut Vec<Event>) -> bool {
        if self.rescan.is_some() {
            self.rescan_all();
            return true;
        }
        self.whole_ns = boot_ns();
        let appeared = std::mem::take(&mut self.appeared);
        let found = !appeared.is_empty();
        for (_, appeared) in appeared {
            events.push(self.found(appeared, Action::Creation, Origin::Rescan, &Who::unknown(0), host));
        }
        found
    }

    fn rescan_all(&mut self) {
        self.rescan = None;
        self.counters.rescans += 1;
        let appeared = self.marks.cover_all(&self.group);
        self.wait_for_notifications(appeared);
    }

    fn wait_for_notifications(&mut self, appeared: Vec<Appeared>) {
        self.appeared.extend(appeared.into_iter().map(|appeared| (appeared.path.clone(), appeared)));
    }

    fn take_all(&mut self, bytes: &[u8], host: &mut impl Host, events: &mut Vec<Event>) {
        for notification in Notifications(bytes) {
            match notification {
                Ok(notification) => self.take(&notification, host, events),
                Err(error) => {
                    self.counters.not_understood += 1;
                    self.rescan.get_or_insert(PATIENCE);
                    tracing::error!("{error}: looking through all directories");
                }
            }
        }
    }

    fn take(&mut self, notification: &Notification<'_>, host: &mut impl Host, events: &mut Vec<Event>) {
        let pidfd = notification.pidfd.map(system::adopt);
        if notification.mask & libc::FAN_Q_OVERFLOW != 0 {
            self.overflow(host);
            return;
        }
        if notification.mask & libc::FAN_DELETE_SELF != 0 {
            // It is told of by its own handle, with a dot for a name.
            if let Some(entry) = notification.entry {
                self.marks.deleted(entry.directory);
            }
            return;
        }
        // What the daemon does itself concerns no rule but the one that sees whether it still sees.
        let is_test = notification.entry.is_some_and(|entry| entry.name == SELF_TEST.as_bytes());
        if notification.pid == std::process::id() && !is_test {
            return;
        }
        if notification.mask & libc::FAN_ONDIR != 0 {
            self.take_directory(notification, pidfd.as_ref(), host, events);
            return;
        }
        let Some(entry) = notification.entry else {
            // Renamed to where nothing is marked.
            if let Some(original) = notification.original {
                self.marks.note(original.directory, original.name, None);
            }
            return;
        };
        let paths = self.paths(entry);
        if !paths.iter().any(|path| self.marks.wants(path)) {
            return;
        }
        let actions = self.actions(notification, entry);
        if actions.is_empty() {
            return;
        }
        let who = self.who(notification.pid, pidfd.as_ref(), host);
        // Of a file that is gone, what was known of it is left.
        let known = self.marks.known(entry.directory, entry.name);
        let facts = self.facts(entry, notification.target);
        self.marks.note(entry.directory, entry.name, facts.clone());
        for path in &paths {
            self.appeared.remove(path);
        }
        let original_paths = notification.original.map(|entry| self.paths(entry)).unwrap_or_default();
        if let Some(original) = notification.original {
            self.marks.note(original.directory, original.name, None);
        }
        for action in actions {
            let facts = if action == Action::Deletion { known.clone() } else { facts.clone() };
            let file = file(&paths, &original_paths, facts, self.file_system(entry), &who);
            events.push(self.event(action, Origin::Notification, file, who.clone(), host));
        }
    }

    /// What was done to a file, in the order in which it can have been: the kernel tells of several things at once.
    fn actions(&mut self, notification: &Notification<'_>, entry: Entry<'_>) -> Vec<Action> {
        let mask = notification.mask;
        let mut actions = Vec::new();
        let came = is_rename(notification) || mask & libc::FAN_CREATE != 0;
        if came {
            actions.push(if is_rename(notification) { Action::Rename } else { Action::Creation });
        }
        // Whoever made a file writes to it next.
        let writes = mask & WRITES != 0 || mask & libc::FAN_CREATE != 0;
        if writes && self.actions.contains(&Action::Modification) {
            let closed = mask & libc::FAN_CLOSE_WRITE != 0;
            let first = self.writers.is_first(entry.directory, entry.name, notification.pid, closed);
            if first && !came {
                actions.push(Action::Modification);
            }
        }
        if mask & libc::FAN_DELETE != 0 {
            self.writers.forget(entry.directory, entry.name);
            actions.push(Action::Deletion);
        }
        actions
    }

    /// A directory came, or moved.
    fn take_directory(
        &mut self,
        notification: &Notification<'_>,
        pidfd: Option<&OwnedFd>,
        host: &mut impl Host,
        events: &mut Vec<Event>,
    ) {
        let original_paths = notification.original.map(|entry| self.paths(entry)).unwrap_or_default();
        let paths = notification.entry.map(|entry| self.paths(entry)).unwrap_or_default();
        for path in &original_paths {
            self.marks.moved_away(path, notification.target);
        }
        if notification.mask & (libc::FAN_CREATE | RENAMES) == 0 {
            // It went, or its attributes are another's matter.
            return;
        }
        let wanted = paths.iter().any(|path| self.marks.wants(path));
        if !wanted && !paths.iter().any(|path| self.marks.leads_through(path)) {
            return;
        }
        if !is_rename(notification) {
            // Made just now; what is in it already was made by whoever.
            for path in &paths {
                let appeared = self.marks.cover(&self.group, path);
                self.wait_for_notifications(appeared);
            }
            return;
        }
        let who = self.who(notification.pid, pidfd, host);
        let appeared: Vec<_> = paths.iter().flat_map(|path| self.marks.cover(&self.group, path)).collect();
        if wanted && let Some(entry) = notification.entry {
            let facts = self.facts(entry, notification.target);
            let file = file(&paths, &original_paths, facts, self.file_system(entry), &who);
            events.push(self.event(Action::Rename, Origin::Notification, file, who.clone(), host));
        }
        for appeared in appeared {
            let rest = paths.iter().find_map(|path| appeared.path.strip_prefix(path.as_slice()));
            let original = original_paths.first().zip(rest).map(|(path, rest)| [path, rest].concat());
            let mut event = self.found(appeared, Action::Rename, Origin::DirectoryRename, &who, host);
            event.file.original_paths = original.map(|path| views(&[path], &who)).unwrap_or_default();
            events.push(event);
        }
    }

    fn who(&self, pid: u32, pidfd: Option<&OwnedFd>, host: &mut impl Host) -> Who {
        let pidfd = match pidfd {
            Some(pidfd) => Pidfd::Open(pidfd),
            None if self.abilities.pidfds => Pidfd::Gone,
            None => Pidfd::Unsupported,
        };
        if pid == 0 { Who::unknown(0) } else { Who::find(pid, pidfd, self.recall.as_ref(), host) }
    }

    fn overflow(&mut self, host: &mut impl Host) {
        self.counters.overflows += 1;
        self.rescan.get_or_insert(PATIENCE);
        let (start, end) = (host.wall_clock(self.whole_ns), host.wall_clock(boot_ns()));
        tracing::warn!(
            "gap: the queue of fanotify was full, notifications between {start} and {end} are lost; looking through \
             the watched directories for files that appeared (`sysctl fs.fanotify.max_queued_events` makes the queue longer)"
        );
    }

    /// The entry's paths, in all places where its directory is.
    fn paths(&self, entry: Entry<'_>) -> Vec<Vec<u8>> {
        let directory = self.marks.get(entry.directory);
        directory.map_or(Vec::new(), |directory| {
            directory.paths.iter().map(|path| join(path, entry.name)).collect()
        })
    }

    fn file_system(&self, entry: Entry<'_>) -> FileSystem {
        let directory = self.marks.get(entry.directory);
        directory.map(|directory| directory.file_system.clone()).unwrap_or_default()
    }

    fn facts(&self, entry: Entry<'_>, target: Option<&[u8]>) -> Option<Facts> {
        let directory = self.marks.get(entry.directory)?.paths.first()?;
        marks::facts(directory, entry.name, target)
    }

    fn found(
        &mut self,
        appeared: Appeared,
        action: Action,
        origin: Origin,
        who: &Who,
        host: &mut impl Host,
    ) -> Event {
        let file = file(&[appeared.path], &[], Some(appeared.facts), appeared.file_system, who);
        self.event(action, origin, file, who.clone(), host)
    }

    fn event(&mut self, action: Action, origin: Origin, file: File, who: Who, host: &mut impl Host) -> Event {
        let boot_ns = boot_ns();
        self.sequence += 1;
        Event {
            id: EventId { boot_ns, cpu: 0, sequence: self.sequence, part: 0 },
            time: host.wall_clock(boot_ns),
            action,
            outcome: Outcome::Success,
            origin,
            file,
            process: who.process,
            ancestors: who.ancestors,
            host: host.describe(),
        }
    }

    fn report_refused(&mut self) {
        for (path, error) in self.marks.take_refused() {
            self.counters.refused += 1;
            tracing::error!("cannot watch {}: {error}", String::from_utf8_lossy(&path).escape_debug());
        }
    }
}

const RENAMES: u64 = libc::FAN_RENAME | libc::FAN_MOVED_TO;
/// A write or a truncation, and the end of what was opened for writing, which a mapping leaves as its only trace.
const WRITES: u64 = libc::FAN_MODIFY | libc::FAN_CLOSE_WRITE;

/// What is asked for in marked directories.
fn masks(abilities: Abilities, actions: &BTreeSet<Action>) -> Masks {
    let renames = if abilities.renames { libc::FAN_RENAME } else { libc::FAN_MOVED_TO };
    let way = libc::FAN_CREATE | renames | libc::FAN_DELETE_SELF | libc::FAN_ONDIR;
    let mut files = way;
    if actions.contains(&Action::Modification) {
        files |= WRITES | libc::FAN_EVENT_ON_CHILD;
    }
    if actions.contains(&Action::Deletion) {
        files |= libc::FAN_DELETE;
    }
    Masks { way, files }
}

fn is_rename(notification: &Notification<'_>) -> bool {
    notification.mask & RENAMES != 0
}
