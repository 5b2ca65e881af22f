//! A file of NDJSON: one alert a line, whole lines only, whatever happens to the file or its disk meanwhile.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use self::rotation::Rotation;
use super::{Failure, Record, Sink, SinkError};
use crate::config::FileOptions;

mod rotation;

/// Appends to a file. Before each alert it looks whether its path still leads to the file that it has open, so that
/// logrotate needs to tell it nothing.
#[derive(Debug)]
pub(super) struct FileSink {
    name: &'static str,
    /// Which key of the configuration has the path.
    key: &'static str,
    path: PathBuf,
    mode: u32,
    open: Option<OpenFile>,
    rotation: Rotation,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    /// Device and inode.
    identity: (u64, u64),
}

impl FileSink {
    pub(super) fn new(options: &FileOptions) -> Self {
        Self::named("file", "output.file.path", options)
    }

    /// One for what raised no alert.
    pub(super) fn for_suppressed(options: &FileOptions) -> Self {
        Self::named("suppressed", "output.suppressed.path", options)
    }

    /// `name` is what the log calls it, `key` the configuration's key for its path.
    pub(super) fn named(name: &'static str, key: &'static str, options: &FileOptions) -> Self {
        let (path, mode) = (options.path.clone(), options.mode.bits());
        Self { name, key, path, mode, open: None, rotation: Rotation::new(name, options) }
    }

    fn failure(&self, doing: &str, source: io::Error) -> SinkError {
        failure(format!("{doing} the file for alerts {}", self.path.display()), source, &self.path, self.key)
    }

    fn open_file(&self) -> Result<OpenFile, SinkError> {
        let failure = |source| self.failure("cannot open", source);
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(self.mode)
            // Opening must not wait for the other side of a FIFO, which is refused below.
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open(&self.path)
            .map_err(failure)?;
        let metadata = file.metadata().map_err(failure)?;
        if !metadata.is_file() {
            return Err(failure(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
        }
        repair(&mut file, &self.path).map_err(failure)?;
        Ok(OpenFile { file, identity: (metadata.dev(), metadata.ino()) })
    }

    /// The file that the path leads to now.
    fn current_file(&mut self) -> Result<&mut File, SinkError> {
        let current = fs::metadata(&self.path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
        let open = match self.open.take() {
            Some(open) if Some(open.identity) == current => open,
            _ => self.open_file()?,
        };
        Ok(&mut self.open.insert(open).file)
    }
}

impl Sink for FileSink {
    fn name(&self) -> &'static str {
        self.name
    }

    fn open(&mut self) -> Result<(), SinkError> {
        self.current_file().map(|_| ())
    }

    fn deliver(&mut self, alert: &dyn Record) -> Result<(), SinkError> {
        let line = alert.ended_line();
        if self.rotation.rotate(&self.path, line.len() as u64) {
            self.open = None;
        }
        let file = self.current_file()?;
        append(file, line.as_bytes()).map_err(|source| {
            // Whatever the trouble is, a fresh start finds out how the file ends.
            self.open = None;
            self.failure("cannot write to", source)
        })
    }
}

/// Appends `line` as a whole or not at all.
fn append(file: &mut File, line: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while written < line.len() {
        match file.write(&line[written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                if written > 0 {
                    take_back(file, written as u64);
                }
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Removes the `written` bytes at the end, unless somebody else has appended since. If that fails too, the next start
/// repairs the file.
fn take_back(file: &mut File, written: u64) {
    // Appending leaves the position behind what was written.
    if let (Ok(end), Ok(metadata)) = (file.stream_position(), file.metadata())
        && end == metadata.len()
    {
        let _ = file.set_len(end.saturating_sub(written));
    }
}

/// Sees to it that the file ends with a whole line: the daemon or its host may have died while it wrote.
fn repair(file: &mut File, path: &Path) -> io::Result<()> {
    let length = file.metadata()?.len();
    let tail = match unfinished_line(file, length)? {
        Some(tail) if tail.is_empty() => return Ok(()),
        Some(tail) => tail,
        None => return append(file, b"\n"),
    };
    let whole = serde_json::from_slice::<serde::de::IgnoredAny>(&tail).is_ok();
    if tail.starts_with(b"{") && !whole {
        file.set_len(length - tail.len() as u64)?;
        tracing::warn!(
            "removed {} bytes of an unfinished alert from the end of {}",
            tail.len(),
            path.display()
        );
        Ok(())
    } else {
        append(file, b"\n")
    }
}

/// What follows the last line end; `None` if that is longer than any alert.
fn unfinished_line(file: &mut File, length: u64) -> io::Result<Option<Vec<u8>>> {
    const BLOCK: u64 = 64 << 10;
    const LONGEST_ALERT: usize = 16 << 20;
    let mut tail = Vec::new();
    let mut start = length;
    while start > 0 {
        let size = BLOCK.min(start);
        start -= size;
        let mut block = Vec::with_capacity(size as usize);
        file.seek(SeekFrom::Start(start))?;
        Read::by_ref(file).take(size).read_to_end(&mut block)?;
        let line_end = block.iter().rposition(|&byte| byte == b'\n');
        block.drain(..line_end.map_or(0, |position| position + 1));
        block.append(&mut tail);
        tail = block;
        if line_end.is_some() {
            break;
        }
        if tail.len() > LONGEST_ALERT {
            return Ok(None);
        }
    }
    Ok(Some(tail))
}

fn failure(attempt: String, source: io::Error, path: &Path, key: &str) -> SinkError {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = directory.display();
    let remedy = match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) => {
            format!("create its directory (`install -d -m 0750 {directory}`) or correct {key}")
        }
        Some(Errno::NOTDIR) => format!("a part of the path is no directory: correct {key}"),
        Some(Errno::ACCESS | Errno::PERM) => format!(
            "let the user that runs ldsentry write to {directory}, and restart ldsentry if that directory is newer than it"
        ),
        Some(Errno::NOSPC | Errno::DQUOT) => format!("free space on the file system of {directory}"),
        Some(Errno::ROFS) => {
            format!("the file system is mounted read-only: remount it, or correct {key}")
        }
        Some(Errno::FBIG) => "the file is as big as it may be: rotate it".to_owned(),
        Some(Errno::ISDIR | Errno::NXIO) => format!("correct {key}: it must be a regular file"),
        None if source.kind() == io::ErrorKind::InvalidInput => format!("correct {key}"),
        _ => format!("see what is wrong with the disk of {directory}, or correct {key}"),
    };
    SinkError::Temporary(Failure { attempt, source: source.into(), remedy })
}
