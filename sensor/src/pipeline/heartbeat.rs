//! The pipeline tells that it watches.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Pipeline;
use crate::heartbeat::{self, Heartbeat};
use crate::host::Host as _;
use crate::sink::Record;

impl Pipeline<'_> {
    /// Sends a heartbeat if one is due. Gives when the next one is.
    pub(super) fn heartbeat(&mut self) -> Option<Duration> {
        let interval = self.settings.sensor.heartbeat.get()?;
        let now = self.start.elapsed();
        let last = match self.last_heartbeat {
            Some(last) if now < last + interval => last,
            _ => {
                let heartbeat = Heartbeat {
                    interval: interval.as_secs(),
                    source: self.watcher.describe(),
                    uptime: now.as_secs(),
                    lost: self.events_lost(),
                };
                let document = heartbeat::document(&self.host.describe(), &heartbeat, Timestamp::now());
                let state: Arc<dyn Record> = Arc::new(document);
                self.outputs.send(&state);
                self.outputs.flush();
                now
            }
        };
        self.last_heartbeat = Some(last);
        Some(last + interval)
    }
}
