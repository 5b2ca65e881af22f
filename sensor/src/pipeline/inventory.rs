//! The pipeline tells what was there when it began to watch.

use std::path::Path;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::Pipeline;
use crate::alert::{Alert, Source, State};
use crate::config;
use crate::detect::Engine;
use crate::host::Host as _;
use crate::inventory::{self, Facts, Inventory, PRELOAD};
use crate::metrics::Counter;
use crate::self_test::RULE_ID as SELF_TEST_RULE_ID;
use crate::sink::Record;

/// Looks, if it is wanted, on a thread of its own.
pub(super) fn begin(wanted: config::Inventory, engine: &Engine) -> JoinSet<Inventory> {
    let mut under_way = JoinSet::new();
    if wanted == config::Inventory::Off {
        return under_way;
    }
    let mut prefixes = Vec::new();
    for (index, rule) in engine.rules().enumerate().filter(|(_, rule)| rule.id != SELF_TEST_RULE_ID) {
        if let Some(found) = engine.rule_prefixes(index) {
            prefixes.extend(found);
        } else {
            tracing::warn!(
                "the inventory leaves out what `{}` is about: its query names no directory that `file.path` begins with",
                rule.name
            );
        }
    }
    under_way.spawn_blocking(move || inventory::look(&prefixes, Path::new("/")));
    under_way
}

impl Pipeline<'_> {
    /// Tells what was found.
    pub(super) fn tell(&mut self, found: Inventory) {
        let now = jiff::Timestamp::now();
        let host = self.host.describe();
        for file in &found.files {
            use std::os::unix::fs::MetadataExt as _;
            let (owner, group) = (self.host.user(file.metadata.uid()), self.host.group(file.metadata.gid()));
            let facts = Facts { host: &host, owner: owner.name, group: group.name, now };
            let document = inventory::document(file, &facts);
            self.metrics.increment(Counter::InventoryFiles);
            let state: Arc<dyn Record> = Arc::new(State::new(document.clone()));
            self.outputs.send(&state);
            let is_preload = file.path.eq_ignore_ascii_case(PRELOAD.as_bytes());
            if self.settings.sensor.inventory == config::Inventory::Alert
                && is_preload
                && let Some(rule) = inventory::rule()
            {
                self.metrics.alerts(&rule.id).increment();
                let source =
                    Source { document, id: None, index: None, decided_by: "inventory", not_honoured: None };
                let alert: Arc<dyn Record> = Arc::new(Alert::new(&rule, source, now));
                self.outputs.send(&alert);
            }
        }
        tracing::info!("{} files were there already", found.files.len());
        if let Some(reason) = found.incomplete {
            self.metrics.increment(Counter::InventoryIncomplete);
            tracing::warn!("the inventory is not complete: {reason}");
        }
    }
}
