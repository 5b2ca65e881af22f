//! Outputs are changed while others go on: those whose settings stay the same keep their threads, queues and positions.

use std::sync::Arc;

use super::file::FileSink;
use super::network::{Elasticsearch, NetworkSink};
use super::{Network, Outputs, OutputsError, Sink, SinkError, Sinks, start_local, start_suppressed};
use crate::config::{FileOptions, OutputOptions, SpoolOptions};
use crate::metrics::Metrics;

/// Outputs that are ready to take the place of others.
pub struct Change {
    /// Outputs that end.
    ended: Vec<&'static str>,
    new: Sinks,
    /// Whether the output for what raised no alert changes, and to what.
    suppressed_changes: bool,
    suppressed: Option<FileOptions>,
    /// What the network outputs are then.
    network: Vec<&'static str>,
    /// For the events themselves.
    events: Option<Box<dyn NetworkSink>>,
}

/// Why outputs cannot be changed.
#[derive(Debug, thiserror::Error)]
#[error("the output {output} does not work: {failure}")]
pub struct ChangeError {
    output: &'static str,
    failure: String,
}

impl Outputs {
    /// Makes ready what differs between `old`, which is in force, and `new`.
    pub fn prepare(&self, old: &OutputOptions, new: &OutputOptions) -> Result<Change, ChangeError> {
        let sections = [
            ("stdout", old.stdout == new.stdout),
            ("file", old.file == new.file),
            ("elasticsearch", old.elasticsearch == new.elasticsearch),
            ("syslog", old.syslog == new.syslog),
            ("webhook", old.webhook == new.webhook),
            ("alertmanager", old.alertmanager == new.alertmanager),
        ];
        let ended: Vec<_> = sections.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect();
        let Sinks { mut local, mut network } = Sinks::of(new);
        if local.is_empty() && network.is_empty() {
            return Err(ChangeError { output: "stdout", failure: OutputsError::None.to_string() });
        }
        let network_names = network.iter().map(|sink| sink.name()).collect();
        local.retain(|sink| ended.contains(&sink.name()));
        network.retain(|sink| ended.contains(&sink.name()));
        open_all(&mut local, &mut network)?;
        Ok(Change {
            ended,
            new: Sinks { local, network },
            suppressed_changes: old.suppressed != new.suppressed,
            suppressed: new.suppressed.clone(),
            network: network_names,
            events: new
                .elasticsearch
                .as_ref()
                .and_then(Elasticsearch::for_events)
                .map(|sink| Box::new(sink) as _),
        })
    }

    /// Replaces outputs. What those that end still have, they deliver, or leave in the spool for those of their name.
    pub fn apply(&mut self, change: Change, spool: &SpoolOptions, metrics: &Metrics) {
        self.flush();
        let Change { ended, new, suppressed_changes, suppressed, network: names, events } = change;
        let Sinks { local, network } = new;
        let added = local.len() + network.len();
        self.working.send_modify(|working| *working += added);
        let mut old = Vec::new();
        for worker in std::mem::take(&mut self.workers) {
            if ended.contains(&worker.name()) { &mut old } else { &mut self.workers }.push(worker);
        }
        for sink in local {
            match start_local(sink, metrics, self.tuning, &self.working) {
                Ok(worker) => self.workers.push(worker),
                Err(error) => self.failed(&error),
            }
        }
        let removed = self.change_network(&ended, network, &names, spool, metrics);
        self.working.send_modify(|working| *working -= removed);
        if ended.contains(&"elasticsearch") {
            self.change_events(events, spool, metrics);
        }
        if suppressed_changes {
            old.extend(self.suppressed.take());
            let started = suppressed.map(|file| start_suppressed(FileSink::for_suppressed(&file), metrics));
            match started.transpose() {
                Ok(worker) => self.suppressed = worker,
                Err(error) => tracing::error!("{error}"),
            }
        }
        old.iter().for_each(super::Worker::stop);
        self.retired.retain(|worker| !worker.is_idle());
        self.retired.extend(old);
    }

    /// Gives how many have ended.
    fn change_network(
        &mut self,
        ended: &[&'static str],
        new: Vec<Box<dyn NetworkSink>>,
        names: &[&'static str],
        spool: &SpoolOptions,
        metrics: &Metrics,
    ) -> usize {
        let mut removed = 0;
        if let Some(network) = &mut self.network {
            let (spool, before) = (Arc::clone(&network.spool), network.workers.len());
            network.workers.retain(|worker| {
                let stays = !ended.contains(&worker.name());
                if !stays {
                    worker.stop(&spool);
                }
                stays
            });
            removed = before - network.workers.len();
            spool.set_outputs(names, metrics);
            for sink in new {
                if let Err(error) = network.add(sink, metrics, self.tuning) {
                    self.working.send_modify(|working| *working -= 1);
                    tracing::error!("{error}");
                }
            }
            if network.workers.is_empty() {
                self.network = None;
            }
        } else if !new.is_empty() {
            let count = new.len();
            match Network::start(new, spool, metrics, self.tuning) {
                Ok(network) => self.network = Some(network),
                Err(error) => {
                    self.working.send_modify(|working| *working -= count);
                    tracing::error!("{error}");
                }
            }
        }
        removed
    }

    fn change_events(&mut self, new: Option<Box<dyn NetworkSink>>, spool: &SpoolOptions, metrics: &Metrics) {
        let Some(mut network) = self.events.take() else {
            let started = new.map(|sink| Network::start_for_events(sink, spool, metrics, self.tuning));
            self.events = started.transpose().inspect_err(|error| tracing::error!("{error}")).ok().flatten();
            return;
        };
        for worker in network.workers.drain(..) {
            worker.stop(&network.spool);
        }
        if let Some(sink) = new {
            if let Err(error) = network.add(sink, metrics, self.tuning) {
                tracing::error!("{error}");
            }
            self.events = Some(network);
        }
    }

    fn failed(&self, error: &OutputsError) {
        self.working.send_modify(|working| *working -= 1);
        tracing::error!("{error}");
    }
}

fn open_all(local: &mut [Box<dyn Sink>], network: &mut [Box<dyn NetworkSink>]) -> Result<(), ChangeError> {
    for sink in local {
        sink.open()
            .map_err(|error: SinkError| ChangeError { output: sink.name(), failure: error.to_string() })?;
    }
    for sink in network {
        sink.open().map_err(|error| ChangeError { output: sink.name(), failure: error.to_string() })?;
    }
    Ok(())
}
