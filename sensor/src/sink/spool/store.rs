//! The spool's file.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::{Progress, Slot, Spooled};

/// Sequence number to time in milliseconds, id and document.
const ALERTS: TableDefinition<'_, u64, (i64, &str, &str)> = TableDefinition::new("alerts");
/// Output to the sequence number of the first alert that it has not delivered, and what it wants to remember.
const OUTPUTS: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("outputs");

/// Alerts are written once and read once: what a cache would hold is not asked for again.
const CACHE_BYTES: usize = 4 << 20;

/// Why the file cannot be used. redb's own message says what failed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct StoreError(#[from] redb::Error);

impl StoreError {
    /// Whether the file is damaged, and would be the next time too.
    fn is_corrupt(&self) -> bool {
        match &self.0 {
            redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TypeDefinitionChanged { .. } => true,
            redb::Error::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
            _ => false,
        }
    }

    /// What the system said, if it was the system.
    pub(super) fn io(&self) -> Option<&std::io::Error> {
        if let redb::Error::Io(error) = &self.0 { Some(error) } else { None }
    }
}

/// redb has an error type for each of its functions.
trait OrStoreError<T> {
    fn or_store(self) -> Result<T, StoreError>;
}

impl<T, E: Into<redb::Error>> OrStoreError<T> for Result<T, E> {
    fn or_store(self) -> Result<T, StoreError> {
        self.map_err(|error| StoreError(error.into()))
    }
}

#[derive(Debug)]
pub(super) struct Store {
    database: Database,
}

/// What a file held when it was opened.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) slots: Vec<Slot>,
    pub(super) outputs: BTreeMap<String, Progress>,
    /// Where a damaged file was moved, in whose place this one is.
    pub(super) damaged: Option<PathBuf>,
}

impl Store {
    /// Opens the file, or makes one. A damaged file is set aside: an alert that comes now is worth more than what it held.
    pub(super) fn open(path: &Path) -> Result<(Self, Contents), StoreError> {
        match Self::open_file(path) {
            Err(error) if error.is_corrupt() => {
                let aside = path.with_extension("damaged");
                fs::rename(path, &aside).or_store()?;
                let (store, contents) = Self::open_file(path)?;
                Ok((store, Contents { damaged: Some(aside), ..contents }))
            }
            other => other,
        }
    }

    fn open_file(path: &Path) -> Result<(Self, Contents), StoreError> {
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).or_store()?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .or_store()?;
        // So that the file itself outlives a power cut.
        File::open(directory).and_then(|directory| directory.sync_all()).or_store()?;
        let backend = FileBackend::new(file).or_store()?;
        let database =
            Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend).or_store()?;
        let store = Self { database };
        let contents = store.contents()?;
        Ok((store, contents))
    }

    fn contents(&self) -> Result<Contents, StoreError> {
        let transaction = self.database.begin_write().or_store()?;
        let mut contents = Contents::default();
        {
            let alerts = transaction.open_table(ALERTS).or_store()?;
            for entry in alerts.iter().or_store()? {
                let (sequence, value) = entry.or_store()?;
                let (time, id, line) = value.value();
                let bytes = super::size(id, line);
                contents.slots.push(Slot { sequence: sequence.value(), time, bytes });
            }
            let outputs = transaction.open_table(OUTPUTS).or_store()?;
            for entry in outputs.iter().or_store()? {
                let (output, value) = entry.or_store()?;
                let (position, memory) = value.value();
                let progress = Progress { position, memory: memory.to_vec() };
                contents.outputs.insert(output.value().to_owned(), progress);
            }
        }
        transaction.commit().or_store()?;
        Ok(contents)
    }

    /// Adds `alerts`, forgets those before `first`, and replaces the outputs' progress, all or nothing; on return it is on
    /// the disk.
    pub(super) fn save<'a>(
        &self,
        alerts: impl Iterator<Item = &'a (u64, std::sync::Arc<Spooled>)>,
        first: u64,
        outputs: &BTreeMap<String, Progress>,
    ) -> Result<(), StoreError> {
        let transaction = self.database.begin_write().or_store()?;
        {
            let mut table = transaction.open_table(ALERTS).or_store()?;
            for (sequence, alert) in alerts {
                let value = (alert.time, alert.id.as_str(), alert.line.as_str());
                table.insert(sequence, value).or_store()?;
            }
            table.retain_in(..first, |_, _| false).or_store()?;
            let mut table = transaction.open_table(OUTPUTS).or_store()?;
            table.retain(|output, _| outputs.contains_key(output)).or_store()?;
            for (output, progress) in outputs {
                table.insert(output.as_str(), (progress.position, progress.memory.as_slice())).or_store()?;
            }
        }
        transaction.commit().or_store()
    }

    /// The alerts from `first` on, at most `count`, and no more once they have `bytes`.
    pub(super) fn read(
        &self,
        first: u64,
        count: usize,
        bytes: usize,
    ) -> Result<Vec<(u64, Spooled)>, StoreError> {
        let transaction = self.database.begin_read().or_store()?;
        let table = transaction.open_table(ALERTS).or_store()?;
        let mut found = Vec::new();
        let mut size = 0;
        for entry in table.range(first..).or_store()?.take(count) {
            let (sequence, value) = entry.or_store()?;
            let (time, id, line) = value.value();
            size += super::size(id, line);
            if size > bytes && !found.is_empty() {
                break;
            }
            let (id, line) = (id.to_owned(), line.to_owned());
            found.push((sequence.value(), Spooled { time, id, line, is_summary: false }));
        }
        Ok(found)
    }
}
