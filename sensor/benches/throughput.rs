//! How fast rules decide, in one run with what it is compared with: `cargo bench -p sensor --bench throughput`.
//!
//! - `detect`: the built-in rules on decoded events.
//! - `replay`: the same events as lines of JSON, beside `serde_json` parsing the same lines into values.
//!
//! Each figure is the best of several rounds, so that what else the machine does counts as little as possible.
//! `python_eql.py` beside this file compares `detect` with `PyPI`'s `eql`, on events that this program writes.
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
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sensor::detect::{Engine, Verdict};
use sensor::event::Event;
use sensor::load::load;
use sensor::replay::{Format, replay};

const EVENTS: usize = 50_000;
const ROUNDS: usize = 7;

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
    let rules: Vec<PathBuf> =
        std::env::var_os("LDSENTRY_BENCH_RULES").map(PathBuf::from).into_iter().collect();
    let engine = load(&rules, &[]).expect("the rules load").engine;
    let events = corpus::events(EVENTS);
    let lines = corpus::lines(&events);
    if let Some(path) = std::env::var_os("LDSENTRY_BENCH_EVENTS") {
        std::fs::write(&path, &lines).expect("the events are written");
    }

    let alerts = detect(&engine, &events);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    detect(&engine, &events);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    let detected = best(|| detect(&engine, &events));
    let replayed = best(|| replay_all(&engine, &lines));
    let parsed = best(|| parse_all(&lines));

    let rate = |time: Duration| EVENTS as f64 / time.as_secs_f64();
    let megabytes = lines.len() as f64 / 1e6;
    println!("rules         {:>12}", engine.rules().len());
    println!(
        "events        {EVENTS:>12}   {:.0} bytes a line, {alerts} alerts",
        lines.len() as f64 / EVENTS as f64
    );
    println!("detect        {:>12.0}   events/s", rate(detected));
    println!(
        "replay        {:>12.0}   events/s, {:.0} MB/s",
        rate(replayed),
        megabytes / replayed.as_secs_f64()
    );
    println!("serde_json    {:>12.0}   events/s, {:.0} MB/s", rate(parsed), megabytes / parsed.as_secs_f64());
    println!("replay / serde_json  {:>5.2}", parsed.as_secs_f64() / replayed.as_secs_f64());
    println!("allocations   {:>12.3}   an event in detect", allocations as f64 / EVENTS as f64);
}

fn best(mut work: impl FnMut() -> u64) -> Duration {
    let rounds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        black_box(work());
        start.elapsed()
    });
    rounds.min().unwrap_or_default()
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
