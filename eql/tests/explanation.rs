//! The tree that tells why.

#[expect(dead_code, reason = "other tests have events of more kinds")]
mod support;

use eql::{ClauseKind, Explanation, Fields, Query, Verdict};
use support::{Elements, Event, Owned};

const RULE: &str = r#"file where // the category
  event.action == "creation" and
  not (
    process.name in ("dpkg",
                     "rpm") or
    (process.args : "--root*" and user.id != "0") or process.executable == null
  )"#;

fn event(fields: &[(&str, Owned)]) -> Event {
    Event(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

fn tree(explanation: &Explanation, depth: usize) -> String {
    let values: Vec<String> =
        explanation.values.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let line = format!(
        "{}{} {}{}{}\n",
        "  ".repeat(depth),
        if explanation.truth { "+" } else { "-" },
        explanation.text,
        if values.is_empty() { String::new() } else { format!("   [{}]", values.join(", ")) },
        if explanation.decided { "   <- decided" } else { "" },
    );
    explanation.children.iter().fold(line, |text, child| text + &tree(child, depth + 1))
}

fn explain(fields: &[(&str, Owned)]) -> String {
    let mut names = Fields::default();
    let program = Query::parse(RULE).and_then(|query| query.compile(&mut names)).expect("is fine");
    tree(&program.explain(&event(fields).seen_by(&names)), 0)
}

#[test]
fn a_match_an_exclusion_and_a_condition() {
    let category = ("event.category", Owned::from("file"));
    let action = ("event.action", Owned::from("creation"));
    let executable = ("process.executable", Owned::from("/usr/bin/x"));
    let args = ("process.args", Owned::Array(Elements(vec![Owned::from("x"), Owned::from("--root=/")])));
    insta::assert_snapshot!(
        [
            explain(&[category.clone(), action.clone(), executable.clone()]),
            explain(&[category.clone(), action.clone(), args]),
            explain(&[category, executable]),
            explain(&[action]),
        ]
        .join("\n")
    );
}

#[test]
fn clauses_have_the_text_of_the_source_in_one_line() {
    let program =
        Query::parse(RULE).and_then(|query| query.compile(&mut Fields::default())).expect("is fine");
    let clauses: Vec<_> =
        program.clauses().iter().map(|clause| (clause.text.as_str(), clause.kind)).collect();
    assert_eq!(
        clauses,
        [
            ("file where", ClauseKind::Condition),
            (r#"event.action == "creation""#, ClauseKind::Condition),
            (r#"process.name in ("dpkg", "rpm")"#, ClauseKind::Exclusion),
            (r#"process.args : "--root*" and user.id != "0""#, ClauseKind::Exclusion),
            ("process.executable == null", ClauseKind::Exclusion),
        ]
    );
    for clause in program.clauses() {
        assert!(RULE.contains(clause.span.of(RULE)) && !clause.span.of(RULE).is_empty());
    }
}

/// A condition that stands behind an exclusion in the source still decides before it.
#[test]
fn conditions_come_before_exclusions() {
    let mut names = Fields::default();
    let query = Query::parse_condition("not a == 1 and b == 1 and (not c == 1 and d == 1)").expect("is fine");
    let program = query.compile(&mut names).expect("is fine");
    let decided = |fields: &[(&str, i64)]| {
        let fields: Vec<_> = fields.iter().map(|(name, number)| (*name, Owned::Integer(*number))).collect();
        match program.verdict(&event(&fields).seen_by(&names)) {
            Verdict::Match => "match",
            Verdict::NoMatch(clause) | Verdict::Excluded(clause) => &program.clause(clause).text,
        }
    };
    assert_eq!(decided(&[("a", 1)]), "b == 1");
    assert_eq!(decided(&[("a", 1), ("b", 1)]), "d == 1");
    assert_eq!(decided(&[("a", 1), ("b", 1), ("c", 1), ("d", 1)]), "a == 1");
    assert_eq!(decided(&[("b", 1), ("c", 1), ("d", 1)]), "c == 1");
    assert_eq!(decided(&[("b", 1), ("d", 1)]), "match");
    assert_eq!(program.clauses()[0].text, "any where");
}
