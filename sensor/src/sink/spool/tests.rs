//! Nothing is lost in silence: not by crashes, full disks, damage or slowness.

use std::fs;
use std::path::PathBuf;

use super::*;

const ALL: BatchLimits = BatchLimits { count: 1000, bytes: usize::MAX };
const SOON: Duration = Duration::from_mins(1);

struct Rig {
    directory: tempfile::TempDir,
    options: SpoolOptions,
    metrics: Metrics,
}

impl Rig {
    /// A file is where the directory was.
    fn take_disk_away(&self) {
        let (state, aside) = (self.directory.path().join("state"), self.directory.path().join("aside"));
        fs::rename(&state, &aside).unwrap();
        fs::write(&state, "").unwrap();
    }

    fn bring_disk_back(&self) {
        let (state, aside) = (self.directory.path().join("state"), self.directory.path().join("aside"));
        fs::remove_file(&state).unwrap();
        fs::rename(&aside, &state).unwrap();
    }

    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options =
            SpoolOptions { path: directory.path().join("state/spool.redb"), ..SpoolOptions::default() };
        Self { directory, options, metrics: Metrics::default() }
    }

    fn open(&self, outputs: &[&'static str]) -> Spool {
        Spool::open(&self.options, outputs, &self.metrics, self.metrics.spool_bytes())
    }

    fn dropped(&self, output: &str) -> u64 {
        self.metrics.output(output).dropped.get()
    }
}

fn append(spool: &Spool, numbers: Range<usize>) {
    spool.append(numbers.map(|number| (number.to_string(), format!("{{\"n\":{number}}}"))));
}

fn next(spool: &Spool, output: &str) -> Batch {
    match spool.next(output, ALL, Some(Instant::now())) {
        Next::Batch(batch) => batch,
        other => panic!("nothing for {output}: {other:?}"),
    }
}

fn ids(batch: &Batch) -> Vec<usize> {
    batch.alerts.iter().map(|alert| alert.id.parse().unwrap()).collect()
}

/// What `output` gets until there is nothing.
fn take(spool: &Spool, output: &str) -> Vec<usize> {
    let mut taken = Vec::new();
    while let Next::Batch(batch) = spool.next(output, ALL, Some(Instant::now())) {
        taken.extend(ids(&batch));
        spool.advance(output, &batch, Vec::new());
    }
    taken
}

#[test]
fn each_output_goes_at_its_own_pace_and_goes_on_where_it_was() {
    let rig = Rig::new();
    let spool = rig.open(&["fast", "slow"]);
    append(&spool, 0..5);
    assert_eq!(take(&spool, "fast"), [0, 1, 2, 3, 4]);
    let two = BatchLimits { count: 2, ..ALL };
    let Next::Batch(batch) = spool.next("slow", two, None) else { panic!("nothing") };
    assert_eq!(ids(&batch), [0, 1]);
    assert_eq!(spool.next("slow", two, None), Next::Batch(batch.clone()), "until it is done with");
    spool.advance("slow", &batch, Vec::new());
    append(&spool, 5..7);
    assert_eq!((spool.waiting("fast"), spool.waiting("slow")), (2, 5));
    drop(spool);

    let spool = rig.open(&["fast", "slow"]);
    assert_eq!((take(&spool, "fast"), take(&spool, "slow")), (vec![5, 6], vec![2, 3, 4, 5, 6]));
    drop(spool);
    let spool = rig.open(&["fast", "slow", "new"]);
    append(&spool, 7..8);
    assert_eq!(
        (take(&spool, "fast"), take(&spool, "new")),
        (vec![7], vec![7]),
        "numbers go on after a restart"
    );
    assert_eq!((rig.dropped("fast"), rig.dropped("slow")), (0, 0));
}

#[test]
fn a_batch_is_bounded_but_never_empty() {
    let rig = Rig::new();
    let spool = rig.open(&["output"]);
    append(&spool, 0..10);
    let size = size("0", "{\"n\":0}");
    for (bytes, expected) in [(3 * size, 3), (3 * size - 1, 2), (1, 1)] {
        let Next::Batch(batch) = spool.next("output", BatchLimits { count: 5, bytes }, None) else {
            panic!()
        };
        assert_eq!(batch.alerts.len(), expected);
    }
    let Next::Batch(batch) = spool.next("output", BatchLimits { count: 5, ..ALL }, None) else { panic!() };
    assert_eq!(batch.alerts.len(), 5);
}

#[test]
fn an_output_that_is_no_more_keeps_nothing_waiting() {
    let rig = Rig::new();
    append(&rig.open(&["stays", "goes"]), 0..3);
    let spool = rig.open(&["stays"]);
    assert_eq!(take(&spool, "stays"), [0, 1, 2]);
    assert_eq!(rig.metrics.spool_bytes().get(), 0);
    drop(spool);
    assert_eq!(take(&rig.open(&["stays", "goes"]), "goes"), [0_usize; 0]);
}

fn take_one(spool: &Spool) -> Vec<usize> {
    let Next::Batch(batch) = spool.next("output", ALL, Some(Instant::now() + SOON)) else { panic!() };
    spool.advance("output", &batch, Vec::new());
    ids(&batch)
}

#[test]
fn whoever_waits_hears_of_an_alert_and_of_the_end() {
    let rig = Rig::new();
    let spool = rig.open(&["output"]);
    assert_eq!(spool.next("output", ALL, Some(Instant::now())), Next::Due);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| (take_one(&spool), spool.next("output", ALL, None)));
        append(&spool, 0..1);
        spool.close();
        assert_eq!(waiter.join().unwrap(), (vec![0], Next::Closed));
    });
}

#[test]
fn what_does_not_fit_goes_oldest_first_and_is_counted_for_those_that_did_not_have_it() {
    let mut rig = Rig::new();
    let size = size("0", "{\"n\":0}");
    rig.options.max_bytes = (4 * size as u64).try_into().unwrap();
    let spool = rig.open(&["fast", "slow"]);
    append(&spool, 0..4);
    assert_eq!(take(&spool, "fast"), [0, 1, 2, 3]);
    append(&spool, 4..6);
    assert_eq!((rig.dropped("fast"), rig.dropped("slow")), (0, 2));
    assert_eq!((take(&spool, "fast"), take(&spool, "slow")), (vec![4, 5], vec![2, 3, 4, 5]));
}

#[test]
fn what_an_output_is_at_work_on_while_it_goes_is_no_confusion() {
    let mut rig = Rig::new();
    rig.options.max_bytes = (2 * size("0", "{\"n\":0}") as u64).try_into().unwrap();
    let spool = rig.open(&["output"]);
    append(&spool, 0..2);
    let batch = next(&spool, "output");
    append(&spool, 2..4);
    spool.advance("output", &batch, Vec::new());
    assert_eq!(take(&spool, "output"), [2, 3]);
}

#[test]
fn what_is_too_old_goes_even_if_nothing_new_comes() {
    let mut rig = Rig::new();
    append(&rig.open(&["works", "output"]), 0..3);
    rig.options.max_age = "1ms".to_owned().try_into().unwrap();
    let raised = Instant::now();
    while raised.elapsed() < Duration::from_millis(5) {
        std::thread::yield_now();
    }
    let spool = rig.open(&["works", "output"]);
    assert_eq!(rig.dropped("output"), 0, "it has not failed to deliver them");
    while rig.dropped("output") < 3 {
        spool.wait_unless_closed("output", Duration::from_millis(1));
    }
    assert_eq!((rig.dropped("output"), take(&spool, "output")), (3, vec![]));
    assert_eq!(rig.metrics.output_waiting("output").get(), 0);
    assert_eq!((rig.dropped("works"), take(&spool, "works")), (0, vec![0, 1, 2]));
}

const YEAR: i64 = 365 * 24 * 3600 * 1000;

/// As if the clock had been set `ahead` after the last alert.
fn set_clock(rig: &Rig, ahead: i64) {
    let (store, contents) = store::Store::open(&rig.options.path).unwrap();
    let alerts: Vec<_> = store.read(0, 1000, usize::MAX).unwrap();
    let moved = |(sequence, alert): (u64, Spooled)| {
        (sequence, Arc::new(Spooled { time: alert.time - ahead, ..alert }))
    };
    let alerts: Vec<_> = alerts.into_iter().map(moved).collect();
    store.save(alerts.iter(), 0, &contents.outputs).unwrap();
}

#[test]
fn a_clock_that_jumps_makes_nothing_old_that_can_be_delivered() {
    for ahead in [10 * YEAR, -YEAR] {
        let rig = Rig::new();
        append(&rig.open(&["output"]), 0..3);
        set_clock(&rig, ahead);
        let spool = rig.open(&["output"]);
        // The server is away for a moment.
        assert!(!spool.wait_unless_closed("output", Duration::ZERO));
        append(&spool, 3..4);
        let batch = next(&spool, "output");
        assert!(batch.alerts.iter().all(|alert| alert.time <= spool.now()), "none is from the future");
        assert_eq!((take(&spool, "output"), rig.dropped("output")), (vec![0, 1, 2, 3], 0), "{ahead}");
    }
}

#[test]
fn the_file_is_private_and_does_not_grow_without_end() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut rig = Rig::new();
    rig.options.max_bytes = (1 << 20).try_into().unwrap();
    let spool = rig.open(&["output"]);
    let line = "x".repeat(10_000);
    for number in 0..100 {
        spool.append((0..10).map(|part| (format!("{number}-{part}"), line.clone())));
    }
    let metadata = fs::metadata(&rig.options.path).unwrap();
    assert!(metadata.len() < 4 << 20, "{} bytes after 10 MB went through 1 MB", metadata.len());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    let directory = fs::metadata(rig.options.path.parent().unwrap()).unwrap();
    assert_eq!(directory.permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_damaged_file_is_set_aside() {
    let rig = Rig::new();
    fs::create_dir(rig.options.path.parent().unwrap()).unwrap();
    fs::write(&rig.options.path, "no database".repeat(1000)).unwrap();
    let spool = rig.open(&["output"]);
    append(&spool, 0..1);
    assert_eq!(take(&spool, "output"), [0]);
    assert!(rig.options.path.with_extension("damaged").exists());
}

/// A directory that becomes usable later, with what the test does meanwhile.
fn without_a_disk(rig: &Rig, spool: &Spool) {
    append(spool, 0..3);
    assert!(!spool.is_saved());
    assert!(rig.metrics.spool_errors().get() > 0);
    assert_eq!(take(spool, "fast"), [0, 1, 2], "a disk that fails must not blind the outputs");
    append(spool, 3..5);
}

#[test]
fn where_the_disk_does_not_work_alerts_are_kept_in_memory_until_it_does() {
    let rig = Rig::new();
    let obstacle = rig.directory.path().join("state");
    fs::write(&obstacle, "a file where a directory should be").unwrap();
    let spool = rig.open(&["fast", "slow"]);
    without_a_disk(&rig, &spool);
    fs::remove_file(obstacle).unwrap();
    while !spool.is_saved() {
        spool.wait_unless_closed("slow", Duration::from_millis(10));
    }
    drop(spool);
    let spool = rig.open(&["fast", "slow"]);
    let fast = take(&spool, "fast");
    assert!(fast.ends_with(&[3, 4]), "{fast:?}");
    assert_eq!(take(&spool, "slow"), [0, 1, 2, 3, 4]);
}

/// With a small machine's memory, the daemon would be killed instead.
#[test]
fn where_the_disk_does_not_work_memory_keeps_the_newest() {
    const COUNT: usize = 64;
    const LENGTH: usize = 1 << 20;
    let rig = Rig::new();
    append(&rig.open(&["fast", "slow"]), 100..102);
    rig.take_disk_away();
    let spool = rig.open(&["fast", "slow"]);
    for number in 0..COUNT {
        spool.append([(number.to_string(), "x".repeat(LENGTH))]);
        if number == COUNT / 4 {
            take(&spool, "fast");
        }
    }
    let kept = rig.metrics.spool_bytes().get() as usize;
    assert!((30 << 20..=32 << 20).contains(&kept), "{kept} bytes");
    let fits = kept / LENGTH;
    assert_eq!(rig.dropped("slow") as usize, COUNT - fits);
    assert_eq!(rig.dropped("fast") as usize, COUNT - fits - COUNT / 4 - 1);
    rig.bring_disk_back();
    while !spool.is_saved() {
        spool.wait_unless_closed("slow", Duration::from_millis(10));
    }
    let expected: Vec<_> = [100, 101].into_iter().chain(COUNT - fits..COUNT).collect();
    assert_eq!(take(&spool, "slow"), expected, "what is in the file is not concerned");
    assert_eq!(rig.dropped("slow") as usize, COUNT - fits);
}

#[test]
fn what_an_earlier_daemon_left_comes_first_once_it_can_be_read() {
    let rig = Rig::new();
    append(&rig.open(&["fast", "slow"]), 100..102);
    rig.take_disk_away();
    let spool = rig.open(&["fast", "slow"]);
    without_a_disk(&rig, &spool);
    let overtaken = next(&spool, "slow");
    rig.bring_disk_back();
    while !spool.is_saved() {
        spool.wait_unless_closed("slow", Duration::from_millis(10));
    }
    spool.advance("slow", &overtaken, Vec::new());
    let slow = take(&spool, "slow");
    for number in [100, 101, 0, 1, 2, 3, 4] {
        assert!(slow.contains(&number) || ids(&overtaken).contains(&number), "{number} is lost: {slow:?}");
    }
    assert_eq!(rig.dropped("slow"), 0);
}

#[test]
#[ignore = "run by the test below"]
fn a_daemon_that_appends_until_it_is_killed() {
    let path = PathBuf::from(std::env::var_os("LDSENTRY_TEST_SPOOL").unwrap());
    let options = SpoolOptions { path, ..SpoolOptions::default() };
    let spool = Spool::open(&options, &["output"], &Metrics::default(), Handle::default());
    println!();
    for number in 0.. {
        append(&spool, number..number + 1);
        println!("{number}");
    }
}

#[test]
fn what_was_appended_before_a_sigkill_is_there_after_it() {
    use std::io::{BufRead as _, BufReader};
    let rig = Rig::new();
    let mut kept = 0;
    for kill_after in [1, 10, 50] {
        let mut child = crate::testing::rerun("sink::spool::tests::a_daemon_that_appends_until_it_is_killed")
            .env("LDSENTRY_TEST_SPOOL", &rig.options.path)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut confirmed: Vec<usize> = Vec::new();
        for line in lines {
            confirmed.extend(line.unwrap().parse::<usize>());
            if confirmed.len() == kill_after {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let spool = rig.open(&["output"]);
        let found = take(&spool, "output");
        assert!(found.len() >= confirmed.len(), "{} of {}", found.len(), confirmed.len());
        assert_eq!(found, (0..found.len()).collect::<Vec<_>>(), "in order, none missing");
        kept += found.len();
    }
    assert!(kept >= 61);
}
