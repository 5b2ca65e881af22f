//! Where this engine says something else than Elasticsearch does, on purpose. The crate's documentation lists them.

#[expect(dead_code, reason = "other tests have events of more kinds")]
mod support;

use eql::{Fields, Query};
use support::{Event, Owned};

fn holds(condition: &str, fields: &[(&str, &str)]) -> bool {
    let event = Event(fields.iter().map(|(name, text)| ((*name).to_owned(), Owned::from(*text))).collect());
    let mut names = Fields::default();
    let program =
        Query::parse_condition(condition).and_then(|query| query.compile(&mut names)).expect(condition);
    program.matches(&event.seen_by(&names))
}

/// Elasticsearch does not index strings over 1,024 characters: there, a longer path is `null`, and a rule that
/// excludes unknown executables lets an attacker out through a long directory name.
#[test]
fn values_are_compared_whole_however_long() {
    let long = format!("/tmp/{}/x", "a".repeat(5_000));
    let executable = [("process.executable", long.as_str())];
    assert!(!holds("process.executable == null", &executable));
    assert!(holds("process.executable : \"/tmp/*/X\"", &executable));
    assert!(holds(&format!("process.executable == \"{long}\""), &executable));
    assert!(holds("process.executable regex \"/tmp/a+/x\"", &executable));
    assert!(holds("length(process.executable) == 5007", &executable));
}

/// In Elasticsearch, a script's `null` under `not` is not settled.
#[test]
fn functions_of_missing_fields_are_false_and_not_inverts() {
    assert!(!holds("startsWith(a, \"x\")", &[]));
    assert!(holds("not startsWith(a, \"x\")", &[]));
    assert!(!holds("length(a) > 0", &[]));
    assert!(holds("not length(a) > 0", &[]));
}

/// Java counts UTF-16 units, of which some characters have two.
#[test]
fn characters_are_characters() {
    assert!(holds("length(a) == 2 and substring(a, 1) == \"x\" and indexOf(a, \"x\") == 1", &[("a", "😀x")]));
}

/// Elasticsearch folds the case of the functions' arguments by Unicode, that of the operators by ASCII.
#[test]
fn functions_ignore_the_case_of_ascii_only() {
    assert!(holds("startsWith~(a, \"X\") and stringContains~(a, \"Ä\")", &[("a", "xÄ")]));
    assert!(!holds("stringContains~(a, \"ä\")", &[("a", "xÄ")]));
}

/// Elasticsearch answers a query with an error.
#[test]
fn what_cannot_be_calculated_has_no_value() {
    assert!(!holds(
        "1 / number(a) > 0 or number(b) > 0 or 9223372036854775807 + number(c) > 0",
        &[("a", "0"), ("b", "x"), ("c", "1")]
    ));
}
