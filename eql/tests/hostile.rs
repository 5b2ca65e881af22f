//! Queries and events that somebody wrote to do harm: each has an answer within a second, and no stack overflows.
//!
//! The tests run on threads with the smallest stack that a program is likely to give them, and without optimisation.

#[expect(dead_code, reason = "other tests have events of more kinds")]
mod support;

use std::thread;
use std::time::Duration;

use eql::{Document, FieldId, Fields, Query, Value, Verdict};
use rustix::time::{ClockId, clock_gettime};
use support::{Elements, Event, Owned};

/// Runs `work` on a stack of 2 MiB, and sees that it takes at most a second of processor time; ten unoptimised.
fn answers<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let limit = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });
    let timed = || {
        let result = work();
        // The thread's own clock, so that it does not matter what else the machine has to do.
        let taken = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime))
            .expect("a clock does not go below zero");
        assert!(taken < limit, "took {taken:?}");
        result
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(2 << 20).spawn_scoped(scope, timed).expect("a thread");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Parses, compiles, evaluates and explains `source`, and drops it all. The error's text, if there is one.
fn whole_life(source: &str, event: &Event) -> Result<Verdict, String> {
    let render = |error: eql::Error| {
        let rendered = error.render("query", source);
        assert!(rendered.len() < 2_000, "a message stays short: {}", &rendered[..500]);
        rendered
    };
    let mut fields = Fields::default();
    let query = Query::parse(source).map_err(render)?;
    assert_eq!(query.clone(), query);
    let program = query.compile(&mut fields).map_err(render)?;
    let seen = event.seen_by(&fields);
    let verdict = program.verdict(&seen);
    assert_eq!(program.matches(&seen), verdict == Verdict::Match);
    Ok(verdict)
}

fn event(text: &str) -> Event {
    Event([("f".to_owned(), Owned::from(text))].into())
}

#[test]
fn nesting_is_bounded() {
    for (open, close) in [
        ("(", ")"),
        ("not ", ""),
        ("not (", ")"),
        ("length(", ")"),
        ("- ", ""),
        ("(true == ", ")"),
        ("f in (", ")"),
    ] {
        for depth in [10_000, 300_000] {
            let source = format!("any where {}f == 1{}", open.repeat(depth), close.repeat(depth));
            let refused = answers(|| whole_life(&source, &event("x"))).expect_err("is too deep");
            assert!(refused.contains("nested more than 100 levels deep"), "{refused}");
        }
    }
    let unclosed = format!("any where {}", "(".repeat(1_000_000));
    assert!(answers(|| whole_life(&unclosed, &event("x"))).is_err());
}

#[test]
fn what_is_not_too_deep_has_room_on_the_stack() {
    let nested = |open: &str, depth: usize, inner: &str, close: &str| {
        format!("any where {}{inner}{}", open.repeat(depth), close.repeat(depth))
    };
    for (source, expected) in [
        (nested("(", 95, "f == 1", ")"), true),
        (nested("not ", 94, "f == 1", ""), true),
        (nested("not (f == 2 and f == 1 or ", 32, "f == 1", ")"), true),
        (nested("(f == 2 or f == 2 and (f == 1) == (true) and ", 24, "f == 1", ")"), false),
        (nested("f == 1 or not f == 2 and (f != null and not ", 16, "f == 1", ")"), true),
        (format!("any where {}f == 3", "f + ".repeat(120)), false),
        (
            format!("any where {} == 3", nested("add(1, ", 95, "f", ")").trim_start_matches("any where ")),
            false,
        ),
        (format!("any where concat({}f) == \"1\"", "f, ".repeat(250)), false),
        (nested("(", 88, "startsWith(concat(f, f : \"x\", f), \"1\")", ") == true"), true),
    ] {
        match answers(|| whole_life(&source, &event("1"))) {
            Ok(verdict) => assert_eq!(verdict == Verdict::Match, expected, "{source}"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn long_chains_are_flat() {
    for operator in ["and", "or"] {
        let source = format!("any where f == 1{}", format!(" {operator} f != 2").repeat(70_000));
        assert!(answers(|| whole_life(&source, &event("1"))).is_ok());
        let source = format!("any where not (f == 1{})", format!(" {operator} (f != 2)").repeat(70_000));
        assert!(answers(|| whole_life(&source, &event("1"))).is_ok());
    }
    for operator in ["+", "*", "% 3 -"] {
        let source = format!("any where f{} == 1", format!(" {operator} 2").repeat(100_000));
        assert!(
            answers(|| whole_life(&source, &event("1"))).is_err_and(|error| error.contains("arithmetic"))
        );
    }
    let calls = format!("any where concat({}f) == \"x\"", "f, ".repeat(300_000));
    assert!(
        answers(|| whole_life(&calls, &event("1"))).is_err_and(|error| error.contains("more than 256 parts"))
    );
}

#[test]
fn a_megabyte_of_anything_is_answered() {
    for piece in [
        " ",
        "a",
        "(",
        ")",
        "\"",
        "'",
        "`",
        "/*",
        "//",
        "/**/",
        ".",
        "a.",
        "1",
        "-",
        "?",
        "not ",
        "a and ",
        "[",
        "\u{e4}",
        "\"\\\"",
        "in (",
        "f == \"x\" or ",
        "f in (\"x\") and ",
        "f regex \"(a|b)*c\" or ",
        "f : \"*a?b*\" or ",
        "length(f) > 5 or ",
        "sequence ",
        "| head ",
        "f == \"\"\"x\"\"\" or ",
        "=",
        "\"a\", ",
        "f : \"x\", ",
        "\0",
    ] {
        let body = piece.repeat((1 << 20) / piece.len());
        for source in [
            format!("any where {body}"),
            format!("any where {body} f == 1"),
            format!("any where f == \"{body}\""),
            body.clone(),
        ] {
            let _ = answers(|| whole_life(&source, &event("1")));
        }
    }
}

#[test]
fn a_list_of_a_hundred_thousand_strings_is_answered() {
    let number = |index: u32| format!("\"/usr/lib/{index:06}/*\"");
    let list: Vec<String> = (0..100_000).map(number).collect();
    for operator in ["in", "in~", ":", "like", "not in", "like~"] {
        let source = format!("any where f {operator} ({})", list.join(", "));
        assert!(answers(|| whole_life(&source, &event("/usr/lib/099999/x"))).is_ok());
    }
    let general: Vec<String> = (0..100_000).map(|index| format!("\"*x{index}?y*\"")).collect();
    let source = format!("any where f : ({})", general.join(", "));
    assert_eq!(answers(|| whole_life(&source, &event("aX99999-Yb"))), Ok(Verdict::Match));
}

#[test]
fn wildcards_take_time_in_proportion_to_the_text() {
    let text = "a".repeat(64 << 10);
    for pattern in [
        "*a".repeat(10_000) + "*b",
        "*a?".repeat(5_000) + "*b",
        "a*".repeat(1_000) + "?b",
        "*".repeat(100_000) + "b",
        format!("*{}*", "a?".repeat(500) + "b"),
        format!("*{}b*", "a".repeat(32 << 10)),
        "?".repeat(60_000) + "b",
    ] {
        for operator in [":", "like"] {
            let source = format!("any where f {operator} \"{pattern}\"");
            assert!(
                answers(|| whole_life(&source, &event(&text))).is_ok_and(|verdict| verdict != Verdict::Match)
            );
        }
    }
    let long = format!("any where f : \"*{}*\"", "a?".repeat(600));
    assert!(whole_life(&long, &event("x")).is_err_and(|error| error.contains("more than 1024 characters")));
}

#[test]
fn regular_expressions_are_bounded() {
    let text = "a".repeat(64 << 10);
    for pattern in ["(a*)*b", "(a|a)*b", "(a|aa)+b", "(.*)(.*)(.*)(.*)b", "a?a?a?a?a?a?aaaaaab"] {
        let source = format!("any where f regex \"{pattern}\"");
        assert!(
            answers(|| whole_life(&source, &event(&text))).is_ok_and(|verdict| verdict != Verdict::Match)
        );
    }
    for pattern in [
        "(".repeat(500) + &")".repeat(500),
        "a?".to_owned() + &"?".repeat(900),
        "((a{9999}){9999}){9999}".to_owned(),
        "a{999999999999}".to_owned(),
        "a".repeat(1_001),
    ] {
        let source = format!("any where f regex \"{pattern}\"");
        assert!(answers(|| whole_life(&source, &event(&text))).is_err(), "{pattern}");
    }
    let many = format!("any where {} true", "f regex \"a+b\" or ".repeat(1_001));
    assert!(
        answers(|| whole_life(&many, &event("x")))
            .is_err_and(|error| error.contains("more than 1000 regular"))
    );
    let many = format!("any where {} true", "f regex \"a+b\" or ".repeat(1_000));
    assert!(answers(|| whole_life(&many, &event("x"))).is_ok());
}

#[test]
fn events_are_bounded() {
    let elements = |count: usize| {
        Owned::Array(Elements((0..count).map(|index| Owned::from(index.to_string().as_str())).collect()))
    };
    let event = Event(["a", "b", "c", "d"].map(|name| (name.to_owned(), elements(2_000))).into());
    let source = "any where concat(a, b, c, d) == \"x\" or a + b + c + d == 0.5 or indexOf(a, b, c) == 99";
    assert!(answers(|| whole_life(source, &event)).is_ok());

    let mut nested = Owned::from("x");
    for _ in 0..1_000 {
        nested = Owned::Array(Elements(vec![nested]));
    }
    let event = Event([("f".to_owned(), nested)].into());
    assert!(answers(|| whole_life("any where f == \"x\" or f : \"*\" or length(f) == 1", &event)).is_ok());
}

/// An array that contains itself, as no real event has it.
struct Endless;

impl eql::Array for Endless {
    fn len(&self) -> usize {
        1
    }

    fn get(&self, _: usize) -> Value<'_> {
        Value::Array(self)
    }
}

impl Document for Endless {
    fn field(&self, _: FieldId) -> Value<'_> {
        Value::Array(self)
    }
}

#[test]
fn arrays_in_arrays_end_somewhere() {
    let program =
        Query::parse("any where f == 1 or g : \"x\"").and_then(|query| query.compile(&mut Fields::default()));
    assert_eq!(program.map(|program| program.matches(&Endless)), Ok(false));
}
