//! Evaluation leaves the heap alone.

#[expect(dead_code, reason = "other tests use all of it")]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use eql::{Fields, Query, Verdict};
use support::{Elements, Event, Owned};

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

#[test]
fn evaluation_does_not_allocate() {
    let source = r#"file where a in ("x", "y", 5, 1.5) and b : ("*ab*c", "/etc/*", "*.sh", "a?c*d?f*") and c != null and
        d > 4 and length(b) + d > 6 and startsWith~(b, "/ET") and substring(b, 1, 4) in~ ("ETC") and string(d) like "1?" and
        e == "z" and indexOf(b, "c", 1) == 3 and between(b, "/", "/") == "etc" and cidrMatch(f, "10.0.0.0/8") and
        not (e : "w*" or number(f) > 5 or d == "9" or b regex "/ab|x+" or not c)"#;
    let mut fields = Fields::default();
    let program = Query::parse(source).and_then(|query| query.compile(&mut fields)).expect("is fine");
    let array =
        |texts: &[&str]| Owned::Array(Elements(texts.iter().map(|text| Owned::from(*text)).collect()));
    let event = |category: &str| {
        let values = [
            ("event.category", Owned::from(category)),
            ("a", Owned::Float(1.5)),
            ("b", Owned::from("/etc/x")),
            ("c", Owned::Bool(true)),
            ("d", Owned::Integer(12)),
            ("e", array(&["x", "y", "z"])),
            ("f", Owned::from("10.1.2.3")),
        ];
        Event(values.map(|(name, value)| (name.to_owned(), value)).into())
    };
    let (matching, other) = (event("file"), event("process"));
    // The first use of a regular expression on a thread allocates.
    assert_eq!(program.verdict(&matching.seen_by(&fields)), Verdict::Match);

    let before = ALLOCATIONS.get();
    let (matching, other) = (matching.seen_by(&fields), other.seen_by(&fields));
    let verdicts =
        [program.matches(&matching), program.matches(&other), program.verdict(&other) == Verdict::Match];
    let allocated = ALLOCATIONS.get() - before;
    assert_eq!(verdicts, [true, false, false]);
    assert_eq!(allocated, 0);
}
