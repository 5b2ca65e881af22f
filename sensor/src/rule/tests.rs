use std::fs;

use super::{Diagnostic, Parsed, Rule, RuleSet, Severity};

const RULE: &str = r#"[metadata]
creation_date = "2026/11/23"

[rule]
author = ["us"]
description = "What it is about"
name = "A rule"
risk_score = 73
rule_id = "11111111-2222-3333-4444-555555555555"
severity = "high"
type = "eql"
language = "eql"
query = '''
file where event.action == "creation" and
  file.path : "/etc/*"
'''
"#;

fn parse(source: &str) -> Parsed {
    Rule::parse("rules/a.toml", source)
}

#[track_caller]
fn rule(source: &str) -> (Rule, Vec<Diagnostic>) {
    match parse(source) {
        Parsed::Rule(rule, warnings) => (*rule, warnings),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn errors(source: &str) -> String {
    match parse(source) {
        Parsed::Invalid(errors) => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n"),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn skip_reason(source: &str) -> String {
    match parse(source) {
        Parsed::Skipped(skipped) => skipped.reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rule_is_read() {
    let (rule, warnings) = rule(RULE);
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(rule.name, "A rule");
    assert_eq!((rule.severity, rule.risk_score), (Severity::High, 73));
    assert_eq!((rule.version, rule.max_signals), (1, 100));
    assert_eq!(rule.interval().as_secs(), 300);
    for name in ["A rule", "a RULE", "11111111-2222-3333-4444-555555555555", "a"] {
        assert!(rule.is_called(name), "{name}");
    }
    assert!(!rule.is_called("b"));
}

#[test]
fn the_built_in_rules_are_sound_and_the_first_has_the_seeds_facts() {
    let RuleSet { rules, skipped, warnings, errors } = RuleSet::builtin();
    assert!(skipped.is_empty() && warnings.is_empty() && errors.is_empty());
    let rule = &rules[0];
    assert_eq!((rule.severity, rule.risk_score, rule.max_signals), (Severity::Medium, 47, 100));
    assert_eq!((rule.interval.as_str(), rule.from.as_str()), ("5m", "now-9m"));
    let tactics: Vec<_> = rule.threat.iter().map(|threat| threat.tactic.id.as_str()).collect();
    assert_eq!(tactics, ["TA0005", "TA0003"]);
    assert!(rule.threat.iter().all(|threat| threat.technique[0].subtechnique[0].id == "T1574.006"));
}

#[test]
fn unknown_keys_are_warned_of_where_they_stand() {
    let source = RULE
        .replace("risk_score", "max_signal = 5\nfilters = []\nrisk_score")
        .replace("[rule]", "[rule]\nx.y = 1")
        + "[surprise]\nz = 1\n[[rule.threat]]\nframework = \"MITRE ATT&CK\"\n[rule.threat.tactic]\nid=\"a\"\nname=\"b\"\nrefrence=\"c\"\nreference=\"c\"\n";
    let (_, warnings) = rule(&source);
    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(warnings.join("\n\n"));
}

#[test]
fn an_error_in_the_query_is_shown_in_the_file() {
    insta::assert_snapshot!(errors(&RULE.replace("event.action ==", "event.action =")));
    let basic = RULE
        .replace("'''", "\"\"\"")
        .replace("\"creation\"", "\\\"creation\\\"")
        .replace("\"/etc/*\"", "\\\"/etc/*");
    insta::assert_snapshot!(errors(&basic));
}

#[test]
fn what_is_wrong_with_a_rule_is_told_at_once() {
    let source = RULE
        .replace("risk_score = 73", "risk_score = 730")
        .replace("\"high\"", "\"hihg\"")
        .replace("rule_id = ", "ruleid = ")
        .replace("[\"us\"]", "[1]")
        .replace("type = ", "interval = \"5 minutes\"\ntype = ");
    insta::assert_snapshot!(errors(&source));
}

#[test]
fn what_is_no_rule_is_refused() {
    insta::assert_snapshot!(
        [
            errors("[rule\n"),
            errors(""),
            errors("rule = 1\n"),
            errors("[rule]\nname = 'x'\n"),
            errors("[rule]\ntype = 'eql'\n"),
            errors(&RULE.replace("query = '''", "query = 1\nnote = '''")),
        ]
        .join("\n\n")
    );
}

#[test]
fn rules_for_others_are_skipped_with_the_reason() {
    let reasons = [
        skip_reason(&RULE.replace("type = \"eql\"", "type = \"new_terms\"")),
        skip_reason(&RULE.replace("language = \"eql\"", "language = \"kuery\"")),
        skip_reason(&RULE.replace("file where", "process where")),
        skip_reason(
            &RULE
                .replace("file where event", "sequence by host.id [file where event")
                .replace("*\"", "*\"] [any where true]"),
        ),
        skip_reason(&RULE.replace("file where", "/* why */ sequence by host.id [file where x] // ")),
        skip_reason(&RULE.replace("*\"", "*\" | head 10 // ")),
        skip_reason(&RULE.replace("file where event", "process where a = b or event")),
        skip_reason(&RULE.replace("[metadata]", "[metadata]\nmaturity = \"deprecated\"")),
        skip_reason(&RULE.replace("[rule]", "[rule]\nenabled = false")),
    ];
    insta::assert_snapshot!(reasons.join("\n"));
}

#[test]
fn any_category_includes_files() {
    rule(&RULE.replace("file where", "any where"));
}

#[test]
fn a_directory_is_read_to_the_bottom_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, id: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, RULE.replace("11111111", id)).unwrap();
    };
    write("b/deep/er/one.toml", "aaaaaaaa");
    write("a.toml", "bbbbbbbb");
    write("b/.hidden.toml", "cccccccc");
    write("README.md", "dddddddd");
    std::os::unix::fs::symlink(directory.path(), directory.path().join("z")).unwrap();
    fs::remove_file(directory.path().join("z")).unwrap();
    let set = RuleSet::load(&[directory.path().to_owned(), "builtin".into()]);
    assert!(set.errors.is_empty(), "{:?}", set.errors);
    let ids: Vec<_> = set.rules.iter().map(|rule| &rule.id[..8]).collect();
    assert_eq!(ids[..3], ["bbbbbbbb", "aaaaaaaa", "b342c616"]);
    assert_eq!(ids.len(), 2 + RuleSet::builtin().rules.len());
}

#[test]
fn a_file_replaces_the_built_in_rule_of_its_id_and_no_other_file() {
    let directory = tempfile::tempdir().unwrap();
    let builtin = RuleSet::builtin().rules.remove(0);
    let own = RULE.replace("11111111-2222-3333-4444-555555555555", &builtin.id);
    fs::write(directory.path().join("own.toml"), &own).unwrap();
    let sources = ["builtin".into(), directory.path().to_owned()];
    let set = RuleSet::load(&sources);
    assert!(set.errors.is_empty(), "{:?}", set.errors);
    let named: Vec<_> =
        set.rules.iter().filter(|rule| rule.id == builtin.id).map(|rule| rule.name.as_str()).collect();
    assert_eq!(named, ["A rule"]);
    assert_eq!(set.rules.len(), RuleSet::builtin().rules.len());

    fs::write(directory.path().join("twice.toml"), &own).unwrap();
    let [error] = RuleSet::load(&sources).errors.try_into().unwrap();
    assert!(error.message.contains("own.toml"), "{error}");
    assert!(error.origin.ends_with("twice.toml"), "{error}");
}

#[test]
fn a_directory_that_is_not_there_or_holds_no_rule_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().join("missing"), directory.path().to_owned()] {
        let set = RuleSet::load(std::slice::from_ref(&path));
        assert_eq!(set.errors.len(), 1);
        assert_eq!(set.errors[0].origin, path.display().to_string());
    }
}

proptest::proptest! {
    #[test]
    fn no_file_panics(
        (at, removed) in (0..RULE.len(), 0..20_usize),
        inserted in proptest::prelude::prop_oneof![".{0,12}", "[\\[\\]'\"=\\\\ux0-9{}.\n]{0,12}"],
    ) {
        let mut source = RULE.to_owned();
        source.replace_range(at..(at + removed).min(RULE.len()), &inserted);
        parse(&source);
        // And with the other kind of string, which has escapes.
        parse(&source.replace("'''", "\"\"\""));
    }
}
