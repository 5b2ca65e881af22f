//! Setting a full or old file aside, under the names that logrotate would give: `alerts.ndjson.1` is the newest.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::config::FileOptions;
use crate::sink::throttle::Throttle;

/// How often the log says that files cannot be set aside.
const LOG_INTERVAL: Duration = Duration::from_mins(5);

/// When a file has to go, and how many that have gone are kept.
#[derive(Debug)]
pub(super) struct Rotation {
    output: &'static str,
    bytes: Option<u64>,
    age: Option<Duration>,
    keep: u32,
    trouble: Throttle,
}

impl Rotation {
    pub(super) fn new(output: &'static str, options: &FileOptions) -> Self {
        Self {
            output,
            bytes: options.rotate_bytes.map(std::num::NonZeroU64::get),
            age: options.rotate_age.map(crate::config::Span::get),
            keep: options.rotate_keep.get(),
            trouble: Throttle::new(LOG_INTERVAL),
        }
    }

    /// Whether the file at `path` was set aside because `more` bytes do not fit into it, or because it is too old. One
    /// that cannot be set aside grows on: a long file is better than a lost alert.
    pub(super) fn rotate(&mut self, path: &Path, more: u64) -> bool {
        if self.bytes.is_none() && self.age.is_none() {
            return false;
        }
        // A file that has gone meanwhile needs nothing.
        let Ok(metadata) = fs::metadata(path) else { return false };
        if !self.is_due(metadata.len(), age(&metadata), more) {
            return false;
        }
        match set_aside(path, self.keep) {
            Ok(()) => true,
            Err(error) => {
                if self.trouble.admit(Instant::now()).is_some() {
                    let (path, directory) = (path.display(), path.parent().unwrap_or(path).display());
                    tracing::error!(
                        output = self.output,
                        "cannot rotate {path}: {error}; it grows on; let ldsentry rename files in {directory}"
                    );
                }
                false
            }
        }
    }

    fn is_due(&self, length: u64, age: Duration, more: u64) -> bool {
        let full = self.bytes.is_some_and(|bytes| length.saturating_add(more) > bytes);
        let old = self.age.is_some_and(|limit| age >= limit);
        length > 0 && (full || old)
    }
}

/// How long ago the file was made. A file system that does not say, and a clock that was set back, make it new.
fn age(metadata: &Metadata) -> Duration {
    let made = metadata.created().unwrap_or_else(|_| SystemTime::now());
    SystemTime::now().duration_since(made).unwrap_or_default()
}

/// Moves each file one number on, the last one over the one before it.
fn set_aside(path: &Path, keep: u32) -> io::Result<()> {
    for number in (1..keep).rev() {
        match fs::rename(numbered(path, number), numbered(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, numbered(path, 1))
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_when_it_is_full_or_old_but_never_empty() {
        let rotation = |bytes: Option<u64>, age: Option<u64>| Rotation {
            output: "file",
            bytes,
            age: age.map(Duration::from_secs),
            keep: 1,
            trouble: Throttle::new(LOG_INTERVAL),
        };
        let seconds = Duration::from_secs;
        let by_size = rotation(Some(100), None);
        assert!(!by_size.is_due(50, seconds(1_000_000), 50));
        assert!(by_size.is_due(50, Duration::ZERO, 51));
        assert!(
            !by_size.is_due(0, Duration::ZERO, 101),
            "an alert that is longer than a file gets one of its own"
        );
        let by_age = rotation(None, Some(60));
        assert!(!by_age.is_due(u64::MAX, seconds(59), u64::MAX));
        assert!(by_age.is_due(1, seconds(60), 0));
        assert!(!by_age.is_due(0, seconds(60), 1));
    }

    #[test]
    fn as_many_files_are_kept_as_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alerts.ndjson");
        for content in ["a", "b", "c", "d"] {
            fs::write(&path, content).unwrap();
            set_aside(&path, 2).unwrap();
        }
        assert!(!path.exists());
        assert_eq!(fs::read_to_string(numbered(&path, 1)).unwrap(), "d");
        assert_eq!(fs::read_to_string(numbered(&path, 2)).unwrap(), "c");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
