use sensor_common::record::{
    FLAG_UNTRACKED, KIND_CREATE, KIND_LINK, KIND_MODIFY, KIND_RENAME, OVERLAY_MAGIC, SECTION_PATH,
};
use zerocopy::FromZeros as _;

use super::*;
use crate::decode::RawEvent;
use crate::decode::tests::Recorder;
use crate::enrich::enrich;
use crate::host::fake::FakeHost;

const TIMEOUT: Duration = Duration::from_secs(1);
const EXT4: u64 = 0xef53;
const FUSE: u64 = 0x6573_5546;
const THREAD: u64 = 7 << 32 | 8;

struct Bench {
    outcomes: Outcomes,
    settled: Vec<Event>,
    time_ns: u64,
}

impl Bench {
    fn new() -> Self {
        Self { outcomes: Outcomes::new(TIMEOUT), settled: Vec::new(), time_ns: 0 }
    }

    fn begin(&mut self, kind: u8, fs_magic: u64, now: Duration, lost: u64) -> RawEvent {
        self.begin_flagged(kind, 0, fs_magic, now, lost)
    }

    fn begin_flagged(&mut self, kind: u8, flags: u16, fs_magic: u64, now: Duration, lost: u64) -> RawEvent {
        self.time_ns += 1;
        let mut recorder = Recorder::new(kind);
        recorder.fixed.fs_magic = fs_magic;
        recorder.fixed.header.flags |= flags;
        (recorder.fixed.parent, recorder.fixed.name) = (11, 22);
        recorder.fixed.header.time_ns = self.time_ns;
        let raw = recorder.section(SECTION_PATH, 0, 0, b"x\0").event();
        let events = enrich(&raw, &mut FakeHost::default());
        self.outcomes.begin(&raw.fixed, events, now, (lost, || lost), None, &mut self.settled);
        raw
    }

    fn made(&mut self, parent: u64, name: u64) {
        let mut made = Made::new_zeroed();
        made.header.pid_tgid = THREAD;
        (made.parent, made.name, made.inode) = (parent, name, 33);
        self.outcomes.made(&made, &mut self.settled);
    }

    fn outcomes(&mut self) -> Vec<Outcome> {
        self.settled.drain(..).map(|event| event.outcome).collect()
    }
}

#[test]
fn a_creation_succeeds_when_its_inode_is_made() {
    let mut bench = Bench::new();
    bench.begin(KIND_CREATE, EXT4, Duration::ZERO, 0);
    bench.made(11, 99);
    bench.made(99, 22);
    assert_eq!(bench.outcomes(), [], "another name, another directory");
    bench.made(11, 22);
    assert_eq!(bench.settled[0].file.inode, Some(33));
    assert_eq!(bench.outcomes(), [Outcome::Success]);
    assert_eq!(bench.outcomes.deadline(), None);
}

#[test]
fn a_creation_without_a_sign_failed_once_the_thread_goes_on_or_long_after() {
    let mut bench = Bench::new();
    bench.begin(KIND_CREATE, EXT4, Duration::ZERO, 0);
    bench.begin(KIND_CREATE, EXT4, Duration::ZERO, 0);
    assert_eq!(bench.outcomes(), [Outcome::Failure]);
    for _ in 1..PATIENCE {
        bench.outcomes.expire(bench.outcomes.deadline().unwrap(), || 0, &mut bench.settled);
        assert_eq!(bench.outcomes(), []);
    }
    bench.outcomes.expire(bench.outcomes.deadline().unwrap(), || 0, &mut bench.settled);
    assert_eq!(bench.outcomes(), [Outcome::Failure]);
    assert_eq!(bench.outcomes.deadline(), None);
}

#[test]
fn a_creation_whose_sign_may_be_lost_waits_for_one_timeout_only() {
    let mut bench = Bench::new();
    bench.begin(KIND_CREATE, EXT4, Duration::ZERO, 0);
    bench.outcomes.expire(TIMEOUT / 2, || 1, &mut bench.settled);
    assert_eq!(bench.outcomes(), []);
    bench.outcomes.expire(TIMEOUT, || 1, &mut bench.settled);
    assert_eq!(bench.outcomes(), [Outcome::Unknown]);
}

#[test]
fn where_signs_were_lost_or_are_never_given_the_outcome_is_unknown_at_once_or_in_the_end() {
    let mut bench = Bench::new();
    bench.begin(KIND_CREATE, FUSE, Duration::ZERO, 0);
    assert_eq!(bench.outcomes(), [Outcome::Unknown]);
    bench.begin(KIND_CREATE, EXT4, Duration::ZERO, 0);
    bench.outcomes.finish(1, &mut bench.settled);
    assert_eq!(bench.outcomes(), [Outcome::Unknown]);
}

#[test]
fn an_operation_has_the_result_that_its_end_reports() {
    let mut bench = Bench::new();
    for (kind, result, outcome) in [
        (KIND_RENAME, 0, Outcome::Success),
        (KIND_RENAME, -39, Outcome::Failure),
        (KIND_LINK, -17, Outcome::Failure),
    ] {
        let raw = bench.begin(kind, EXT4, Duration::ZERO, 0);
        let mut ended = Ended::new_zeroed();
        ended.header.pid_tgid = THREAD;
        (ended.event_time_ns, ended.event_sequence) = (raw.fixed.header.time_ns + 1, 0);
        bench.outcomes.ended(&ended, &mut bench.settled);
        assert_eq!(bench.outcomes(), [], "the end of another");
        ended.event_time_ns = raw.fixed.header.time_ns;
        ended.result = result;
        bench.outcomes.ended(&ended, &mut bench.settled);
        assert_eq!(bench.outcomes(), [outcome]);
    }
}

#[test]
fn an_operation_whose_end_is_not_told_is_unknown() {
    let mut bench = Bench::new();
    bench.begin(KIND_RENAME, EXT4, Duration::ZERO, 0);
    bench.outcomes.expire(TIMEOUT, || 0, &mut bench.settled);
    assert_eq!(bench.outcomes(), [Outcome::Unknown]);
}

#[test]
fn what_is_told_afterwards_or_has_no_end_is_not_waited_for() {
    let mut bench = Bench::new();
    bench.begin_flagged(KIND_MODIFY, FLAG_DONE, FUSE, Duration::ZERO, 0);
    assert_eq!(bench.outcomes(), [Outcome::Success]);
    bench.begin_flagged(KIND_MODIFY, FLAG_UNTRACKED, EXT4, Duration::ZERO, 0);
    assert_eq!(bench.outcomes(), [Outcome::Unknown]);
    assert_eq!(bench.outcomes.deadline(), None);
}

/// What may wait in the ring until its outcome is there does not alert before.
#[test]
fn the_daemon_is_left_asleep_only_for_what_has_to_wait() {
    let mut asleep = 0;
    for kind in [KIND_CREATE, KIND_LINK, KIND_MODIFY, KIND_RENAME] {
        for flags in [0, FLAG_UNTRACKED, FLAG_DONE] {
            for fs_magic in [EXT4, OVERLAY_MAGIC, FUSE] {
                let mut bench = Bench::new();
                let raw = bench.begin_flagged(kind, flags, fs_magic, Duration::ZERO, 0);
                if raw.fixed.has_outcome_soon() {
                    asleep += 1;
                    assert_ne!(fs_magic, FUSE, "who serves it can take its time");
                    assert_eq!(bench.outcomes(), [], "kind {kind}, flags {flags}, {fs_magic:#x}");
                }
            }
        }
    }
    assert_eq!(asleep, 4 * 2, "each kind, on ext4 and on overlays");
}
