use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::detect::{Engine, Verdict};
use crate::event::Event;
use crate::filter::Filters;
use crate::filter::tests::kernel_passes;
use crate::rule::{Parsed, Rule};
use crate::testing::{event, path, rename};

fn filter_for(action: Action, condition: &str) -> Option<Filter> {
    derive(&Query::parse_condition(condition).unwrap(), action)
}

fn filter(condition: &str) -> Option<Filter> {
    filter_for(Action::Creation, condition)
}

fn names(names: &[&str]) -> BTreeSet<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

fn entries(list: &[&str]) -> Filter {
    Filter { entries: names(list), ..Filter::default() }
}

#[test]
fn a_path_asks_for_its_last_name_and_a_pattern_for_a_directory() {
    let filter = filter(r#"file.path : ("/etc/ld.so.preload", "/etc/ld.so.conf.d/*", "*/x/b*")"#).unwrap();
    assert_eq!(filter.entries, names(&["ld.so.preload"]));
    assert_eq!(filter.directories, names(&["ld.so.conf.d", "x"]));
    assert!(!filter.original && !filter.everything);
}

#[test]
fn a_pattern_asks_for_how_a_name_begins_or_ends() {
    let of_name = filter(r#"file.name like ("lib*", "*.so", "a*bc", "x?", "plain")"#).unwrap();
    assert_eq!(of_name.beginnings, names(&["lib", "x"]));
    assert_eq!(of_name.ends, names(&[".so", "bc"]));
    assert_eq!(of_name.entries, names(&["plain"]));
    let of_extension = filter(r#"file.extension in ("so", "ko") or file.extension : "*conf""#).unwrap();
    assert_eq!(of_extension.ends, names(&[".so", ".ko", "conf"]));
    // `*` is any number of directories, so what stands before the last one says nothing of the name's beginning.
    let of_path = filter(r#"file.path : ("/usr/lib*.service", "/usr/share/*.d")"#).unwrap();
    assert_eq!(
        (of_path.ends, of_path.directories, of_path.beginnings),
        (names(&[".service"]), names(&["share"]), names(&[]))
    );
    let of_calls = filter(r#"startsWith~(file.path, "/opt/*/x") or endsWith(file.name, "rc")"#).unwrap();
    // What is no pattern is taken as it is written.
    assert_eq!((of_calls.directories, of_calls.ends), (names(&["opt"]), names(&["rc"])));
}

#[test]
fn the_root_is_asked_for_by_its_own_name() {
    for condition in [r#"file.path == "/""#, r#"file.path : "*/""#] {
        assert_eq!(filter_for(Action::Mount, condition), Some(entries(&["/"])), "{condition}");
    }
    assert_eq!(filter(r#"file.path == """#), Some(Filter::default()));
}

#[test]
fn the_narrowest_part_of_an_and_is_enough_and_an_or_needs_all() {
    let both = filter(r#"file.path : "/etc/*" and file.name in ("a", "b")"#).unwrap();
    // A directory that is renamed to `etc` can bring such a file all the same.
    assert_eq!(both, Filter { above: names(&["etc"]), ..entries(&["a", "b"]) });
    let either = filter(r#"file.path == "/etc/x*" or file.Ext.original.name == "b""#).unwrap();
    assert_eq!(either.entries, names(&["b", "x*"]));
    assert!(either.original);
}

#[test]
fn a_not_exchanges_and_and_or() {
    for condition in [
        r#"not (file.path != "/a" and file.path != "/b")"#,
        r#"not (file.name not in ("a", "b") or process.name == "x")"#,
        r#"not not (file.path == "/a" or file.name == "b")"#,
    ] {
        assert_eq!(filter(condition), Some(entries(&["a", "b"])), "{condition}");
    }
}

#[test]
fn what_does_not_name_a_name_cannot_be_pushed_down() {
    for condition in [
        r#"process.name == "x""#,
        r#"file.path : "*lib*""#,
        r#"file.path regex "/etc/.*""#,
        r#"not file.path == "/a""#,
        r#"file.path != "/a""#,
        r#"file.path == "/a" or process.name == "x""#,
        r#"file.name : "?""#,
        "file.extension != null",
        r#"not (file.path == "/a" and file.path == "/b")"#,
    ] {
        assert_eq!(filter(condition), None, "{condition}");
    }
}

#[test]
fn an_action_that_cannot_match_lets_nothing_pass() {
    // Not even a directory that is renamed, which is another action.
    let path = r#"event.action == "creation" and file.path == "/run/ldsentry/self-test""#;
    assert_eq!(filter_for(Action::Rename, path), Some(Filter::default()));
    for condition in [
        r#"event.action == "creation" and file.name == "a""#,
        r#"event.type in ("creation", "deletion") and file.name == "a""#,
        r#"event.type != "change" and file.name == "a""#,
        r#"not (event.action : "REN*" or file.name != "a")"#,
        r#"(event.action == "rename" and file.name == "b" and host.os.type == "windows") or
           (event.action == "creation" and file.name == "a" and host.os.type == "linux")"#,
    ] {
        assert_eq!(filter_for(Action::Creation, condition), Some(entries(&["a"])), "{condition}");
        assert_eq!(filter_for(Action::Rename, condition), Some(Filter::default()), "{condition}");
    }
    let each = r#"(event.action == "creation" and file.name == "a") or
                  (event.action == "rename" and process.name == "x")"#;
    assert_eq!(filter_for(Action::Creation, each), Some(entries(&["a"])));
    assert_eq!(filter_for(Action::Rename, each), None);
    // What is never filled never equals anything.
    assert_eq!(filter("dll.name != null"), Some(Filter::default()));
}

fn literal() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["/a/b", "/A/b.so", "/ab/a.", "a", "b.so", "so", "B.SO", "/a/", "/", "", "a.b"])
}

fn pattern() -> impl Strategy<Value = String> {
    prop_oneof![
        "(/?[abAB*?.]{0,3}){1,4}",
        prop::sample::select(vec!["*.so", "/a/*", "*/b/*", "a*", "*", "?.so", "/a*/b?so", "*a"])
            .prop_map(str::to_owned),
    ]
}

fn field() -> impl Strategy<Value = String> {
    (any::<bool>(), prop::sample::select(vec!["path", "name", "extension"]))
        .prop_map(|(original, part)| format!("file.{}{part}", if original { "Ext.original." } else { "" }))
}

/// Conditions on everything that the filter looks at, and on some that it does not.
fn condition() -> impl Strategy<Value = String> {
    let quoted = |list: &[String]| list.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ");
    let leaf = prop_oneof![
        (field(), prop::sample::select(vec!["==", "!="]), literal())
            .prop_map(|(field, operator, text)| format!("{field} {operator} {text:?}")),
        (field(), prop::sample::select(vec!["in", "in~", "not in"]), prop::collection::vec(literal(), 1..4))
            .prop_map(|(field, operator, list)| {
                let list: Vec<_> = list.into_iter().map(|text| format!("{text:?}")).collect();
                format!("{field} {operator} ({})", list.join(", "))
            }),
        (field(), prop::sample::select(vec![":", "like", "like~"]), prop::collection::vec(pattern(), 1..4))
            .prop_map(move |(field, operator, list)| format!("{field} {operator} ({})", quoted(&list))),
        (prop::sample::select(vec!["startsWith", "endsWith~"]), field(), literal())
            .prop_map(|(function, field, text)| format!("{function}({field}, {text:?})")),
        (
            prop::sample::select(vec!["event.action", "event.type"]),
            prop::sample::select(vec!["==", "!=", ":"]),
            prop::sample::select(vec!["creation", "rename", "change", "modification", "deletion", "mount"])
        )
            .prop_map(|(field, operator, text)| format!("{field} {operator} {text:?}")),
        prop::sample::select(vec![
            "process.name == \"x\"",
            "file.extension == null",
            "dll.name == null",
            "true"
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" and "))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" or "))),
            inner.prop_map(|part| format!("not ({part})")),
        ]
    })
}

fn engine(conditions: &[String]) -> Engine {
    let rules = conditions.iter().enumerate().map(|(number, condition)| {
        let source = format!(
            "[rule]\nname = \"{number}\"\nrule_id = \"{number}\"\ndescription = \"x\"\ntype = \"eql\"\n\
             risk_score = 1\nseverity = \"low\"\nquery = '''file where {condition}'''\n"
        );
        match Rule::parse("test.toml", &source) {
            Parsed::Rule(rule, _) => *rule,
            other => panic!("{other:?}"),
        }
    });
    Engine::new(rules.collect(), Vec::new()).unwrap()
}

fn creation(file: &str) -> Event {
    let mut event = event();
    event.file.paths = vec![path(file)];
    event
}

/// What the hook of the event's action answers.
fn hook_passes(filters: &Filters, event: &Event) -> bool {
    let passes = |path: &str| kernel_passes(filters, event.action, path.as_bytes());
    let original = filters.get(event.action).is_some_and(|filter| filter.original);
    passes(&event.file.paths[0].text)
        || (original && event.file.original_paths.iter().any(|path| passes(&path.text)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Never dismisses what a rule matches: random rules, random paths, the kernel's code.
    #[test]
    fn the_filter_passes_whatever_matches(
        conditions in prop::collection::vec(condition(), 1..4),
        file in "(/([abAB.]{1,3}|b.so)){1,5}",
        original in prop::option::of("(/([abAB.]{1,3}|b.so)){1,5}"),
        action in prop::sample::select(vec![
            Action::Creation, Action::Modification, Action::Deletion, Action::Mount
        ]),
        at_root: bool,
    ) {
        let engine = engine(&conditions);
        let mut event = creation(if at_root && action == Action::Mount { "/" } else { &file });
        event.action = action;
        if let Some(original) = original {
            event = rename(&original, &file);
        }
        let passes = hook_passes(&engine.filters(), &event);
        engine.detect_event(&event, jiff::Timestamp::UNIX_EPOCH, |detection| {
            if detection.verdict == Verdict::Alert {
                assert!(passes, "rule {} matches {file}, the filter dismisses it", detection.rule);
                assert!(hook_passes(&engine.rule_filters(detection.rule), &event));
            }
        });
    }
}

/// The property is worth something only if filters dismiss and rules match.
#[test]
fn random_rules_match_and_their_filters_dismiss() {
    use proptest::strategy::ValueTree as _;

    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut matched, mut dismissed) = (0, 0);
    for _ in 0..1000 {
        let condition = condition().new_tree(&mut runner).unwrap().current();
        let engine = engine(std::slice::from_ref(&condition));
        let event = rename("/x/a", "/a/b.so");
        let mut alerts = false;
        engine.detect_event(&event, jiff::Timestamp::UNIX_EPOCH, |detection| {
            alerts |= detection.verdict == Verdict::Alert;
        });
        matched += usize::from(alerts);
        dismissed += usize::from(!hook_passes(&engine.filters(), &event));
    }
    assert!(matched > 100 && dismissed > 100, "{matched} matched, {dismissed} dismissed");
}
