//! A host made up by a test.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Host, ProcessStat};
use crate::event;

/// Answers with what a test put in, and with the boot clock's zero at `boot_time`.
#[derive(Debug, Default)]
pub(crate) struct FakeHost {
    pub(crate) description: Arc<event::Host>,
    pub(crate) mount_namespace: Option<u32>,
    pub(crate) containers: HashMap<String, event::ContainerNames>,
    pub(crate) users: HashMap<u32, String>,
    pub(crate) groups: HashMap<u32, String>,
    pub(crate) boot_time: jiff::Timestamp,
    pub(crate) processes: HashMap<u32, FakeProcess>,
}

/// A process of a [`FakeHost`].
#[derive(Debug)]
pub(crate) struct FakeProcess {
    pub(crate) stat: ProcessStat,
    pub(crate) command_line: Vec<u8>,
    pub(crate) executable: event::Executable,
}

impl Host for FakeHost {
    fn describe(&self) -> Arc<event::Host> {
        Arc::clone(&self.description)
    }

    fn mount_namespace(&self) -> Option<u32> {
        self.mount_namespace
    }

    fn container_names(&mut self, container: &event::Container) -> event::ContainerNames {
        self.containers.get(&container.id).cloned().unwrap_or_default()
    }

    fn user(&mut self, uid: u32) -> event::User {
        event::User { id: uid, name: self.users.get(&uid).cloned() }
    }

    fn group(&mut self, gid: u32) -> event::Group {
        event::Group { id: gid, name: self.groups.get(&gid).cloned() }
    }

    fn wall_clock(&mut self, boot_ns: u64) -> jiff::Timestamp {
        let since_boot = jiff::SignedDuration::from_nanos(boot_ns as i64);
        self.boot_time.saturating_add(since_boot).unwrap_or(jiff::Timestamp::MAX)
    }

    fn process(&mut self, pid: u32) -> Option<ProcessStat> {
        self.processes.get(&pid).map(|process| process.stat.clone())
    }

    fn command_line(&mut self, pid: u32, limit: usize) -> Option<Vec<u8>> {
        let line = &self.processes.get(&pid)?.command_line;
        Some(line[..limit.min(line.len())].to_vec())
    }

    fn executable(&mut self, pid: u32) -> event::Executable {
        self.processes.get(&pid).map_or(event::Executable::Unknown, |process| process.executable.clone())
    }
}
