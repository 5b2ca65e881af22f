//! How fast rules decide, in one run with what it is compared with: `cargo bench -p sensor --bench throughput`.
//!
//! - `detect`: the built-in rules, and 60 rules of the size of Elastic's, on decoded events.
//! - `replay`: the same events as lines of JSON, beside `serde_json` parsing the same lines into values.
//!
//! Each figure is the processor time of the best of several rounds, so that what else the machine does counts as little as
//! possible.
//! `python_eql.py` beside this file compares `detect` with `PyPI`'s `eql`, on the events and rules that this program
//! writes. `LDSENTRY_BENCH_RULES` names a directory of rules to measure beside these.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a program that prints"
)]

mod corpus;

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use sensor::detect::{Engine, Verdict};
use sensor::event::Event;
use sensor::load::load;
use sensor::replay::{Format, replay};

const EVENTS: usize = 50_000;
const RULES: usize = 60;
const ROUNDS: usize = 15;

/// The system's allocator, counted.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
    let generated = directory.join("rules");
    corpus::rules::write(&generated, RULES).expect("the rules are written");
    let events = corpus::events(EVENTS);
    let lines = corpus::lines(&events);
    std::fs::write(directory.join("events.ndjson"), &lines).expect("the events are written");
    println!("{}", directory.display());
    println!("{EVENTS} events of {} bytes as JSON, on average", lines.len() / EVENTS);

    println!(
        "\n{:<12} {:>5} {:>12} {:>12} {:>10} {:>12}",
        "detect", "rules", "events/s", "ns/event", "alerts", "allocations"
    );
    let builtin = load(&[], &[]).expect("the rules load").engine;
    let one = measure("builtin", &builtin, &events);
    let many = measure("generated", &load(&[generated], &[]).expect("the rules load").engine, &events);
    if let Some(rules) = std::env::var_os("LDSENTRY_BENCH_RULES").map(PathBuf::from) {
        measure("given", &load(&[rules], &[]).expect("the rules load").engine, &events);
    }
    println!("{RULES} rules cost {:.2} times as much as one", many.as_secs_f64() / one.as_secs_f64());

    let replayed = best(|| replay_all(&builtin, &lines));
    let parsed = best(|| parse_all(&lines));
    let row = |what: &str, time: Duration| {
        println!("{what:<12} {:>18.0} {:>12.0}", rate(time), lines.len() as f64 / 1e6 / time.as_secs_f64());
    };
    println!("\n{:<12} {:>18} {:>12}", "JSON", "events/s", "MB/s");
    row("replay", replayed);
    row("serde_json", parsed);
    println!("replay is {:.2} times as fast as serde_json", parsed.as_secs_f64() / replayed.as_secs_f64());
}

/// Prints a line about rules and gives the time that they take for all events.
fn measure(name: &str, engine: &Engine, events: &[Event]) -> Duration {
    let alerts = detect(engine, events);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    detect(engine, events);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    let time = best(|| detect(engine, events));
    let nanoseconds = time.as_nanos() as f64 / EVENTS as f64;
    let rules = engine.rules().len();
    println!("{name:<12} {rules:>5} {:>12.0} {nanoseconds:>12.1} {alerts:>10} {allocations:>12}", rate(time));
    time
}

fn rate(time: Duration) -> f64 {
    EVENTS as f64 / time.as_secs_f64()
}

fn best(mut work: impl FnMut() -> u64) -> Duration {
    let rounds = (0..ROUNDS).map(|_| {
        let start = processor_time();
        black_box(work());
        processor_time().saturating_sub(start)
    });
    rounds.min().unwrap_or_default()
}

/// What this process has used of processors.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn detect(engine: &Engine, events: &[Event]) -> u64 {
    let mut alerts = 0;
    for event in events {
        engine.detect_event(black_box(event), Timestamp::UNIX_EPOCH, |detection| {
            alerts += u64::from(detection.verdict == Verdict::Alert);
        });
    }
    alerts
}

fn replay_all(engine: &Engine, lines: &[u8]) -> u64 {
    let mut sink = io::sink();
    let summary = replay(
        engine,
        lines,
        Format::Alerts,
        &mut sink,
        || Timestamp::UNIX_EPOCH,
        |error| {
            eprintln!("{error}");
        },
    );
    summary.expect("reading from memory does not fail").alerts
}

fn parse_all(lines: &[u8]) -> u64 {
    let values = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    values.map(|line| u64::from(serde_json::from_slice::<serde_json::Value>(black_box(line)).is_ok())).sum()
}
