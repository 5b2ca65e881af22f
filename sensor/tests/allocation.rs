//! An event that no rule matches costs no allocation, with one rule and with sixty.

#[expect(dead_code, reason = "the benchmark uses all of it")]
#[path = "../benches/corpus/mod.rs"]
mod corpus;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use jiff::Timestamp;
use sensor::detect::Engine;
use sensor::load::load;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all is passed on to the system's allocator; the counter does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps what `alloc` demands.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps what `dealloc` demands, and the pointer is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[track_caller]
fn assert_allocates_nothing(engine: &Engine) {
    let events = corpus::events(5000);
    let (mut matched, mut allocated) = (0, 0);
    for event in &events {
        let before = ALLOCATIONS.get();
        let mut found = false;
        engine.detect_event(event, Timestamp::UNIX_EPOCH, |_| found = true);
        if found {
            matched += 1;
        } else {
            allocated += ALLOCATIONS.get() - before;
        }
    }
    assert!(matched < events.len() / 2, "{matched} events match");
    assert_eq!(allocated, 0);
}

#[test]
fn an_event_that_no_rule_matches_allocates_nothing() {
    assert_allocates_nothing(&load(&[], &[]).expect("the rules load").engine);
    let directory = tempfile::tempdir().expect("a directory");
    let rules = directory.path().join("rules");
    corpus::rules::write(&rules, 60).expect("the rules are written");
    assert_allocates_nothing(&load(&[rules], &[]).expect("the rules load").engine);
}
