//! Whether the sensor still sees: every few minutes it makes a file of its own, which has to arrive through hook, ring,
//! decode and detect.
//!
//! A state machine that is given the time; who has it makes the file and tells what arrived.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::event::{Host, SELF_TEST};
use crate::rule::{Parsed, Rule};

/// The id of [`rule`].
pub const RULE_ID: &str = "5d0f0a52-8f1e-4a60-9d3a-6f6a1f2c7c11";

/// The file that is made, in a directory that is the sensor's own.
const FILE: &str = "/run/ldsentry/self-test";

/// How long it may take to arrive, on a busy host.
const DEADLINE: Duration = Duration::from_secs(30);

/// The rule that matches the test, and whose alert says that the test failed.
pub fn rule() -> Option<Rule> {
    // It is part of the program, and a test reads it.
    match Rule::parse("self-test", include_str!("rule.toml")) {
        Parsed::Rule(rule, _) => Some(*rule),
        Parsed::Skipped(_) | Parsed::Invalid(_) => None,
    }
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Wait,
    /// Make the file.
    Perform,
    /// The file was made and nobody saw it.
    Fail,
}

/// Tests in an interval.
#[derive(Debug)]
pub struct SelfTest {
    interval: Duration,
    next: Duration,
    /// Until when the one under way has to arrive.
    deadline: Option<Duration>,
}

impl SelfTest {
    /// The first test is due at once.
    pub fn new(interval: Duration) -> Self {
        Self { interval, next: Duration::ZERO, deadline: None }
    }

    /// When there is something to do.
    pub fn due(&self) -> Duration {
        self.deadline.unwrap_or(self.next)
    }

    /// What there is to do at `now`.
    pub fn step(&mut self, now: Duration) -> Step {
        match self.deadline {
            Some(deadline) if deadline <= now => Step::Fail,
            None if self.next <= now => {
                self.next = now + self.interval;
                self.deadline = Some(now + DEADLINE);
                Step::Perform
            }
            Some(_) | None => Step::Wait,
        }
    }

    /// The file was seen. Whether one was awaited.
    pub fn arrived(&mut self) -> bool {
        self.deadline.take().is_some()
    }
}

/// Makes the file. It stays until it was seen: fanotify tells of a name, and then looks what it is.
pub fn perform() -> io::Result<()> {
    make(Path::new(FILE))
}

/// Removes the file.
pub fn clean_up() {
    // One that stays is removed before the next one.
    let _ = fs::remove_file(FILE);
}

fn make(path: &Path) -> io::Result<()> {
    // One that a killed sensor left would not be made again.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::File::create_new(path).map(drop)
}

/// The document of the event that did not come.
pub fn failure(host: &Host, now: jiff::Timestamp) -> Map<String, Value> {
    let document = json!({
        "@timestamp": now.to_string(),
        "message": "ldsentry does not see what happens on this host",
        "event": {
            "kind": "event",
            "category": ["host"],
            "type": ["error"],
            "action": "self-test",
            "outcome": "failure",
            "id": format!("self-test-{}", now.as_millisecond()),
            "module": "ldsentry",
            "dataset": "ldsentry.file",
        },
        "file": {"path": FILE, "name": SELF_TEST},
        "host": {
            "id": host.id,
            "name": host.hostname,
            "hostname": host.hostname,
            "boot": {"id": host.boot_id},
            "os": {"type": "linux"},
        },
        "agent": {"type": "ldsentry", "version": env!("CARGO_PKG_VERSION")},
    });
    let Value::Object(document) = document else { return Map::new() };
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_arrives_is_followed_by_the_next_and_one_that_does_not_fails() {
        let seconds = Duration::from_secs;
        let mut test = SelfTest::new(seconds(300));
        assert_eq!((test.due(), test.step(seconds(1))), (seconds(0), Step::Perform));
        assert_eq!((test.due(), test.step(seconds(2))), (seconds(31), Step::Wait));
        assert!(test.arrived());
        assert!(!test.arrived(), "somebody else made such a file");
        assert_eq!((test.due(), test.step(seconds(300))), (seconds(301), Step::Wait));
        assert_eq!(test.step(seconds(301)), Step::Perform);
        assert_eq!(test.step(seconds(330)), Step::Wait);
        assert_eq!((test.due(), test.step(seconds(331))), (seconds(331), Step::Fail));
    }

    #[test]
    fn the_rule_is_the_one_for_the_file() {
        let rule = rule().unwrap();
        assert_eq!(rule.id, RULE_ID);
        assert!(rule.query.source().contains(FILE) && FILE.ends_with(SELF_TEST));
        let alert = crate::alert::Alert::new(
            &rule,
            crate::alert::Source {
                document: failure(&crate::testing::event().host, jiff::Timestamp::UNIX_EPOCH),
                id: None,
                index: None,
                decided_by: "",
                not_honoured: None,
            },
            jiff::Timestamp::UNIX_EPOCH,
        );
        insta::assert_snapshot!(alert.document["kibana.alert.reason"].as_str().unwrap(), @"host event with file self-test, on h1 created critical alert ldsentry does not see its own test.");
    }

    #[test]
    fn the_file_is_made_again_whatever_was_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("self-test");
        fs::write(&path, "left").unwrap();
        make(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
    }
}
