//! The kind of rule that the engine was made for first: lists, wildcards, missing fields, exclusions.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::HashMap;

use eql::{Document, FieldId, Fields, Program, Query, Value, Verdict};

const RULE: &str = r#"file where host.os.type == "linux" and event.action in ("creation", "rename") and
file.path : ("/etc/ld.so.preload", "/etc/ld.so.conf.d/*", "/etc/ld.so.conf") and
not (
  process.executable in ("/bin/dpkg", "/usr/bin/dpkg", "/dev/fd/*") or
  file.extension in ("swp", "swpx") or
  file.Ext.original.extension == "dpkg-new" or
  process.executable : ("/nix/store/*", "/snap/*") or
  process.executable == null or
  (process.name == "sed" and file.name : "sed*")
)"#;

struct Event(HashMap<FieldId, String>);

impl Document for Event {
    fn field(&self, id: FieldId) -> Value<'_> {
        self.0.get(&id).map_or(Value::Missing, |text| Value::String(text))
    }
}

fn verdict(changes: &[(&str, Option<&str>)]) -> String {
    let mut fields = Fields::default();
    let program: Program = Query::parse(RULE).unwrap().compile(&mut fields).unwrap();
    let mut event = HashMap::from([
        ("event.category", Some("file")),
        ("event.action", Some("creation")),
        ("host.os.type", Some("linux")),
        ("file.path", Some("/etc/ld.so.preload")),
        ("file.name", Some("ld.so.preload")),
        ("process.executable", Some("/usr/bin/bash")),
        ("process.name", Some("bash")),
    ]);
    event.extend(changes.iter().copied());
    let event =
        event.into_iter().filter_map(|(name, value)| Some((fields.get(name)?, value?.to_owned()))).collect();
    let event = Event(event);
    let verdict = program.verdict(&event);
    assert_eq!(verdict == Verdict::Match, program.matches(&event));
    match verdict {
        Verdict::Match => "match".to_owned(),
        Verdict::NoMatch(clause) => format!("no: {}", program.clause(clause).text),
        Verdict::Excluded(clause) => format!("excluded: {}", program.clause(clause).text),
    }
}

#[test]
fn a_creation_without_extension_matches() {
    assert_eq!(verdict(&[]), "match");
}

#[test]
fn case_of_the_path_does_not_matter() {
    assert_eq!(verdict(&[("file.path", Some("/ETC/LD.SO.CONF.D/a/b"))]), "match");
}

#[test]
fn the_first_false_condition_decides() {
    assert_eq!(verdict(&[("event.category", Some("process"))]), "no: file where");
    assert_eq!(
        verdict(&[("event.action", Some("deletion")), ("file.path", Some("/etc/passwd"))]),
        r#"no: event.action in ("creation", "rename")"#
    );
    assert_eq!(
        verdict(&[("file.path", Some("/etc/ld.so.conf.d"))]),
        r#"no: file.path : ("/etc/ld.so.preload", "/etc/ld.so.conf.d/*", "/etc/ld.so.conf")"#
    );
}

#[test]
fn the_first_true_exclusion_decides() {
    assert_eq!(
        verdict(&[("process.executable", Some("/usr/bin/dpkg"))]),
        r#"excluded: process.executable in ("/bin/dpkg", "/usr/bin/dpkg", "/dev/fd/*")"#
    );
    assert_eq!(verdict(&[("process.executable", None)]), "excluded: process.executable == null");
    assert_eq!(
        verdict(&[("process.name", Some("sed")), ("file.name", Some("SEDabc"))]),
        r#"excluded: process.name == "sed" and file.name : "sed*""#
    );
}

#[test]
fn a_star_in_a_list_is_a_character() {
    assert_eq!(verdict(&[("process.executable", Some("/dev/fd/3"))]), "match");
    assert_eq!(
        verdict(&[("process.executable", Some("/dev/fd/*"))]),
        r#"excluded: process.executable in ("/bin/dpkg", "/usr/bin/dpkg", "/dev/fd/*")"#
    );
}
