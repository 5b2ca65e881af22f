//! Whether the sensor still sees: every few minutes it makes a file of its own, which has to arrive through hook, ring,
//! decode and detect.
//!
//! A state machine that is given the time; who has it makes the file and tells what arrived.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::ecs;
use crate::event::{Action, Host, SELF_TEST};
use crate::rule::{Parsed, Rule};

/// The id of [`rule`].
pub const RULE_ID: &str = "5d0f0a52-8f1e-4a60-9d3a-6f6a1f2c7c11";

/// The file that is made, in a directory that is the sensor's own.
const FILE: &str = "/run/ldsentry/self-test";

/// Its name before, where it gets its name by a rename.
const BEFORE: &str = "/run/ldsentry/self-test.new";

/// How long it may take to arrive, on a busy host.
const DEADLINE: Duration = Duration::from_secs(30);

/// Tests in a row that may have been lost with other events: then the sensor sees, if not all.
const PATIENCE: u32 = 10;

/// What the file is made by: what is watched anyway, so that no hook is attached for the test alone. None if none of it is.
pub fn action(watched: impl Iterator<Item = Action>) -> Option<Action> {
    watched.filter(|action| matches!(action, Action::Creation | Action::Rename)).min()
}

/// The rule that matches the test, and whose alert says that the test failed.
pub fn rule(action: Action) -> Option<Rule> {
    let text = include_str!("rule.toml");
    let text =
        if action == Action::Rename { text.replace("\"creation\"", "\"rename\"") } else { text.to_owned() };
    // It is part of the program, and a test reads it.
    match Rule::parse("self-test", &text) {
        Parsed::Rule(rule, _) => Some(*rule),
        Parsed::Skipped(_) | Parsed::Invalid(_) => None,
    }
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Wait,
    /// Make the file, by this.
    Perform(Action),
    /// The file was made and nobody saw it.
    Fail,
}

/// Tests in an interval.
#[derive(Debug)]
pub struct SelfTest {
    interval: Duration,
    action: Action,
    next: Duration,
    under_way: Option<UnderWay>,
    /// Tests in a row that were lost.
    lost: u32,
}

/// A test that has been made and not seen yet.
#[derive(Debug)]
struct UnderWay {
    deadline: Duration,
    /// Events that had been lost before.
    lost: u64,
}

impl SelfTest {
    /// The first test is due at once.
    pub fn new(interval: Duration, action: Action) -> Self {
        Self { interval, action, next: Duration::ZERO, under_way: None, lost: 0 }
    }

    /// The same in another interval, or by other means, from now on.
    #[must_use]
    pub fn changed(self, interval: Duration, action: Action) -> Self {
        Self { interval, action, ..self }
    }

    /// When there is something to do.
    pub fn due(&self) -> Duration {
        self.under_way.as_ref().map_or(self.next, |test| test.deadline)
    }

    /// What there is to do at `now`. `lost` counts the events that were lost since the start: it is asked for where it matters only.
    pub fn step(&mut self, now: Duration, lost: impl FnOnce() -> u64) -> Step {
        if now < self.due() {
            return Step::Wait;
        }
        let lost = lost();
        match &self.under_way {
            // It may be among those that are lost: that is said elsewhere, and does not make the sensor blind.
            Some(test) if test.lost < lost && self.lost < PATIENCE => {
                self.lost += 1;
                self.begin(now, lost)
            }
            Some(_) => Step::Fail,
            None => self.begin(now, lost),
        }
    }

    fn begin(&mut self, now: Duration, lost: u64) -> Step {
        self.next = now + self.interval;
        self.under_way = Some(UnderWay { deadline: now + DEADLINE, lost });
        Step::Perform(self.action)
    }

    /// Whether a file with these paths can be the one that is awaited. It concerns no other rule.
    pub fn is_about<'p>(&self, mut paths: impl Iterator<Item = &'p str>) -> bool {
        self.under_way.is_some() && paths.any(|path| path == FILE)
    }

    /// The file was seen. Whether one was awaited.
    pub fn arrived(&mut self) -> bool {
        self.lost = 0;
        self.under_way.take().is_some()
    }
}

/// Makes the file. It stays until it was seen: fanotify tells of a name, and then looks what it is.
pub fn perform(action: Action) -> io::Result<()> {
    make(action, Path::new(FILE), Path::new(BEFORE))
}

/// Removes the file.
pub fn clean_up() {
    // One that stays is removed before the next one.
    let _ = fs::remove_file(FILE);
}

fn make(action: Action, path: &Path, before: &Path) -> io::Result<()> {
    // One that a killed sensor left would not be made again.
    for left in [path, before] {
        match fs::remove_file(left) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    if action == Action::Rename {
        fs::File::create_new(before)?;
        return fs::rename(before, path);
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
        "host": ecs::host(host),
        "agent": {"type": "ldsentry", "version": env!("CARGO_PKG_VERSION")},
    });
    let Value::Object(document) = document else { return Map::new() };
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAKE: Step = Step::Perform(Action::Creation);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_test_that_arrives_is_followed_by_the_next_and_one_that_does_not_fails() {
        let mut test = SelfTest::new(seconds(300), Action::Creation);
        assert_eq!((test.due(), test.step(seconds(1), || 0)), (seconds(0), MAKE));
        assert_eq!((test.due(), test.step(seconds(2), || 0)), (seconds(31), Step::Wait));
        assert!(test.arrived());
        assert!(!test.arrived(), "somebody else made such a file");
        assert_eq!((test.due(), test.step(seconds(300), || 0)), (seconds(301), Step::Wait));
        assert_eq!(test.step(seconds(301), || 0), MAKE);
        assert_eq!(test.step(seconds(330), || 0), Step::Wait);
        assert_eq!((test.due(), test.step(seconds(331), || 0)), (seconds(331), Step::Fail));
    }

    #[test]
    fn a_test_that_may_be_lost_with_others_is_made_again_but_not_for_ever() {
        let mut test = SelfTest::new(seconds(300), Action::Creation);
        let mut lost = 7;
        assert_eq!(test.step(seconds(0), || lost), MAKE);
        for round in 1..=10 {
            lost += 1;
            assert_eq!(test.step(seconds(30 * round), || lost), MAKE, "round {round}");
        }
        assert_eq!(test.step(seconds(330), || lost + 1), Step::Fail);
        assert!(test.arrived(), "late, but it is seen");
        assert_eq!(test.step(seconds(600), || lost), MAKE);
        assert_eq!(test.step(seconds(630), || lost), Step::Fail, "nothing was lost");
    }

    #[test]
    fn the_test_is_made_by_what_is_watched_anyway() {
        use Action::{Creation, Rename};
        assert_eq!(action([Rename, Creation].into_iter()), Some(Creation));
        assert_eq!(action([Rename].into_iter()), Some(Rename));
        assert_eq!(action([].into_iter()), None);
        let source = |action| rule(action).unwrap().query.source().to_owned();
        assert!(source(Creation).contains("event.action == \"creation\""), "{}", source(Creation));
        assert!(source(Rename).contains("event.action == \"rename\""), "{}", source(Rename));
    }

    #[test]
    fn the_rule_is_the_one_for_the_file() {
        let rule = rule(Action::Creation).unwrap();
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
        let (path, before) = (directory.path().join("self-test"), directory.path().join("self-test.new"));
        for action in [Action::Creation, Action::Rename] {
            fs::write(&path, "left").unwrap();
            fs::write(&before, "left").unwrap();
            make(action, &path, &before).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"");
            assert!(!before.exists());
        }
    }
}
