//! Alerts that a server refused for good, kept with the reason for somebody to look at.

use std::sync::{Mutex, PoisonError};

use serde_json::{json, value::RawValue};

use crate::config::{FileMode, FileOptions, SpoolOptions};
use crate::sink::file::FileSink;
use crate::sink::spool::Spooled;
use crate::sink::{Record, Sink as _, SinkError};

/// The file's size, and that of the one before it.
const FILE_BYTES: u64 = 64 << 20;

/// The file for all outputs.
#[derive(Debug)]
pub(in crate::sink) struct DeadLetters(Mutex<FileSink>);

impl DeadLetters {
    pub(in crate::sink) fn new(options: &SpoolOptions) -> Self {
        let options = FileOptions {
            path: options.dead_letters.clone(),
            mode: FileMode::PRIVATE,
            rotate_bytes: FILE_BYTES.try_into().ok(),
            rotate_age: None,
            rotate_keep: const { std::num::NonZeroU32::new(1).unwrap() },
        };
        Self(Mutex::new(FileSink::named("dead_letters", "spool.dead_letters", &options)))
    }

    /// Writes down that `output`'s server refused `alert`.
    pub(in crate::sink) fn write(
        &self,
        output: &str,
        alert: &Spooled,
        reason: &str,
    ) -> Result<(), SinkError> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.deliver(&Letter { output, alert, reason })
    }
}

#[derive(Debug)]
struct Letter<'a> {
    output: &'a str,
    alert: &'a Spooled,
    reason: &'a str,
}

impl Record for Letter<'_> {
    fn id(&self) -> &str {
        &self.alert.id
    }

    fn to_line(&self) -> String {
        let Self { output, alert, reason } = self;
        let document = serde_json::from_str::<&RawValue>(&alert.line).ok();
        let now = jiff::Timestamp::now().to_string();
        json!({"@timestamp": now, "output": output, "reason": reason, "id": alert.id, "alert": document})
            .to_string()
    }

    fn to_pretty(&self, _color: bool) -> String {
        self.to_line()
    }
}
