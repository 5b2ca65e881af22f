use eql::{FieldId, Fields, Value};
use jiff::Timestamp;

use super::{Detection, Engine, Exception, Exclusion, Verdict};
use crate::event::{Action, Event, Executable, Outcome, View};
use crate::filter::tests::kernel_passes;
use crate::rule::{Embedded, Parsed, Rule, RuleSet};
use crate::testing::{event, executable, path, rename};

fn seed_rules() -> Vec<Rule> {
    vec![RuleSet::builtin().rules.remove(0)]
}

fn seed() -> Engine {
    Engine::new(seed_rules(), Vec::new()).unwrap()
}

fn rule(query: &str) -> Rule {
    let source = format!(
        "[rule]\nname = \"test\"\nrule_id = \"test\"\ntype = \"eql\"\nrisk_score = 1\nseverity = \"low\"\nquery = '''{query}'''\n"
    );
    match Rule::parse("test.toml", &source) {
        Parsed::Rule(rule, _) => *rule,
        other => panic!("{other:?}"),
    }
}

fn engine(query: &str) -> Engine {
    Engine::new(vec![rule(query)], Vec::new()).unwrap()
}

fn exception(rules: &[&str], condition: &str, expires: Option<&str>) -> Exception {
    Exception {
        name: "known".to_owned(),
        rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
        query: eql::Query::parse_condition(condition).unwrap(),
        reason: "we know".to_owned(),
        expires: expires.map(|time| time.parse().unwrap()),
        location: Embedded::new("ldsentry.toml", condition, 0..condition.len()),
    }
}

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

/// The detections of an event, with the text of what decided.
fn detect(engine: &Engine, event: &Event) -> Vec<(Verdict, String)> {
    let mut found = Vec::new();
    engine.detect_event(event, now(), |detection| {
        found.push((detection.verdict, engine.clause(detection.rule, detection.verdict)));
    });
    found
}

fn alerts(engine: &Engine, event: &Event) -> bool {
    detect(engine, event).iter().any(|(verdict, _)| *verdict == Verdict::Alert)
}

/// The clause that excludes an event which the seed rule looks for.
#[track_caller]
fn excluded_by(event: &Event) -> String {
    let engine = seed();
    match detect(&engine, event).as_slice() {
        [(Verdict::Excluded(_), clause)] => clause.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_seed_rule_alerts_on_creations_and_renames_of_its_paths() {
    let engine = seed();
    assert!(alerts(&engine, &event()));
    for path in [
        "/etc/ld.so.preload",
        "/etc/ld.so.conf",
        "/etc/ld.so.conf.d/x.conf",
        "/etc/ld.so.conf.d/",
        "/etc/ld.so.conf.d/deep/er/x",
        "/ETC/LD.SO.PRELOAD",
        "/etc/Ld.So.Conf.D/x",
        "/etc/ld.so.conf.d/new\nline",
    ] {
        assert!(alerts(&engine, &rename("/tmp/prepared", path)), "{path}");
    }
    for path in [
        "/etc/ld.so.preload2",
        "/etc/ld.so.preload/x",
        "/etc/ld.so.conf.d",
        "/etc/ld.so.cache",
        "/tmp/etc/ld.so.preload",
        "etc/ld.so.preload",
        "",
    ] {
        assert!(detect(&engine, &rename("/tmp/prepared", path)).is_empty(), "{path}");
    }
}

/// A creation has no original extension and many names have none at all: what is missing excludes nothing.
#[test]
fn missing_fields_exclude_nothing() {
    let engine = seed();
    assert!(alerts(&engine, &rename("/tmp/noextension", "/etc/ld.so.conf.d/noextension")));
    assert!(alerts(&engine, &rename("/tmp/x.other", "/etc/ld.so.conf.d/.hidden")));
}

#[test]
fn the_seed_rule_excludes_what_its_text_says() {
    for name in
        ["/usr/bin/dpkg", "/usr/bin/apt", "/sbin/apk", "/usr/lib/snapd/snapd", "/dev/fd/*", "/dev/fd/3"]
    {
        let mut event = event();
        event.process.executable = executable(name);
        assert!(excluded_by(&event).contains(name.trim_end_matches('3')), "{name}");
    }
    let dpkg_new = rename("/etc/ld.so.conf.d/x.conf.dpkg-new", "/etc/ld.so.conf.d/x.conf");
    assert_eq!(excluded_by(&dpkg_new), "file.Ext.original.extension == \"dpkg-new\"");
    let swap = rename("/tmp/x", "/etc/ld.so.conf.d/.x.conf.swp");
    assert_eq!(excluded_by(&swap), r#"file.extension in ("dpkg-remove", "swp", "swpx", "swx")"#);
    let mut sed = rename("/tmp/x", "/etc/ld.so.conf.d/sedAbCdEf");
    sed.process.executable = executable("/usr/bin/sed");
    assert_eq!(excluded_by(&sed), r#"process.name == "sed" and file.name : "sed*""#);
}

#[test]
fn lists_compare_whole_strings_in_their_case() {
    let engine = seed();
    for name in ["/usr/bin/DPKG", "/usr/bin/dpkg2", "/dev/fdx/3", "/tmp/JAVA", "/home/java2"] {
        let mut event = event();
        event.process.executable = executable(name);
        assert!(alerts(&engine, &event), "{name}");
    }
    let mut case_insensitive = event();
    case_insensitive.process.executable = executable("/SNAP/core/usr/bin/x");
    assert!(excluded_by(&case_insensitive).contains("/snap/*"));
}

/// The most dangerous exclusion has a clause of its own, so that it can be counted apart.
#[test]
fn an_unknown_executable_is_excluded_by_its_own_clause() {
    for unknown in [Executable::Unknown, Executable::KernelThread] {
        let mut event = event();
        event.process.executable = unknown;
        assert_eq!(excluded_by(&event), "process.executable == null");
    }
}

/// Elasticsearch does not index so long a string, and would take the executable for missing.
#[test]
fn an_executable_with_a_long_path_is_not_missing() {
    let mut event = event();
    event.process.executable = executable(&format!("/tmp/{}", "x".repeat(4000)));
    assert!(alerts(&seed(), &event));
}

#[test]
fn a_deletion_is_not_looked_for() {
    let engine = seed();
    let document =
        Flat(vec![("event.action", "deletion"), ("event.category", "file"), ("host.os.type", "linux")]);
    let verdict = engine.verdict(0, &document.bind(engine.fields()), now());
    let Verdict::NoMatch(_) = verdict else { panic!("{verdict:?}") };
    assert_eq!(engine.clause(0, verdict), r#"event.action in ("creation", "rename")"#);
}

#[test]
fn what_failed_raises_no_alert_and_what_is_unknown_does() {
    let engine = seed();
    let mut event = event();
    event.outcome = Outcome::Unknown;
    assert!(alerts(&engine, &event));
    event.outcome = Outcome::Failure;
    let failed = (Verdict::Excluded(Exclusion::Failed), "event.outcome: failure".to_owned());
    assert_eq!(detect(&engine, &event), [failed]);
    let asks_for_it = self::engine(r#"file where event.outcome == "failure""#);
    assert!(alerts(&asks_for_it, &event));
}

#[test]
fn a_rule_matches_if_it_matches_one_of_the_paths() {
    let engine = seed();
    let mut event = event();
    let mut host = path("/etc/ld.so.preload");
    host.view = View::Host;
    event.file.paths = vec![path("/mnt/alias/ld.so.preload"), host];
    let mut found = Vec::new();
    engine.detect_event(&event, now(), |Detection { verdict, candidate, .. }| {
        found.push((verdict, candidate.index));
    });
    assert_eq!(found, [(Verdict::Alert, 1)]);
}

#[test]
fn the_view_of_the_process_comes_first() {
    let engine = engine(r#"file where file.path : "*/ld.so.preload""#);
    let mut event = event();
    event.file.paths.push(path("/srv/root/etc/ld.so.preload"));
    let mut found = Vec::new();
    engine.detect_event(&event, now(), |detection| found.push(detection.candidate.index));
    assert_eq!(found, [0]);
}

#[test]
fn a_truncated_path_counts_for_what_it_could_be() {
    let engine = seed();
    let tried = |tail: &str| {
        let mut event = rename("/tmp/x", tail);
        event.file.paths[0].truncated = true;
        let mut found = Vec::new();
        engine.detect_event(&event, now(), |detection| {
            found.push(detection.candidate.assumed_directory.unwrap_or_default().to_owned());
        });
        found
    };
    assert_eq!(tried("ld.so.preload"), ["/etc/"]);
    assert_eq!(tried("etc/ld.so.preload"), ["/"]);
    assert_eq!(tried("ld.so.conf.d/x"), ["/etc/"]);
    // Any name could be in /etc/ld.so.conf.d: only this is known, and an alert says so.
    assert_eq!(tried("x.conf"), ["/etc/ld.so.conf.d/"]);
}

#[test]
fn patterns_of_truncated_paths_keep_their_wildcards() {
    let engine = engine(r#"file where file.path like ("/home/*/.ssh/authorized_keys", "*.git/hooks/*")"#);
    for tail in [
        ".ssh/authorized_keys",
        "bob/.ssh/authorized_keys",
        "authorized_keys",
        "hooks/pre-commit",
        "pre-commit",
    ] {
        let mut event = rename("/tmp/x", tail);
        event.file.paths[0].truncated = true;
        assert!(alerts(&engine, &event), "{tail}");
    }
}

#[test]
fn an_exception_holds_for_its_rules_until_it_expires() {
    let id = seed_rules()[0].id.clone();
    let condition = r#"process.executable == "/tmp/evil""#;
    let holds = |rules: &[&str], condition: &str, expires: Option<&str>| {
        let engine = Engine::new(seed_rules(), vec![exception(rules, condition, expires)]).unwrap();
        let (verdict, clause) = detect(&engine, &event()).remove(0);
        verdict == Verdict::Excluded(Exclusion::Exception(0)) && clause == "exception: known"
    };
    assert!(holds(&[&id], condition, None));
    assert!(holds(&["other", "Dynamic Linker Creation or Modification"], condition, None));
    assert!(holds(&[&id], condition, Some("2026-11-24T00:00:00Z")));
    assert!(!holds(&[&id], condition, Some("2026-11-23T00:00:00Z")), "expired");
    assert!(!holds(&["other"], condition, None), "another rule's");
    assert!(!holds(&[&id], r#"process.executable == "/tmp/other""#, None), "another program");
}

#[test]
fn what_elastic_defend_does_not_send_goes_to_rules_that_name_it() {
    for action in ["modification", "mount"] {
        let document =
            Flat(vec![("event.action", action), ("event.category", "file"), ("event.type", "change")]);
        let verdict = |query: &str| {
            let engine = engine(query);
            engine.verdict(0, &document.bind(engine.fields()), now())
        };
        assert_eq!(verdict(r#"file where event.type != "deletion""#), Verdict::NotOffered);
        assert_eq!(verdict(r#"file where not event.action == "deletion""#), Verdict::NotOffered);
        assert_eq!(verdict(&format!(r#"file where event.action in ("rename", "{action}")"#)), Verdict::Alert);
    }
}

#[test]
fn warnings_are_about_what_could_silently_never_fire() {
    let query = r#"file where file.pth : "/etc/*" and event.action == "overwrite" and not dll.name == "x""#;
    let exception = exception(&["missing"], "process.pidd == 1", None);
    let engine = Engine::new(vec![rule(query)], vec![exception]).unwrap();
    let warnings: Vec<_> = engine.warnings().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(warnings.join("\n\n"));
    assert!(seed().warnings().is_empty());
}

#[test]
fn a_type_error_in_a_query_is_shown_in_the_rule_file() {
    let errors =
        Engine::new(vec![rule("file where\n  file.path == \"/a\" and\n  length(file.path)")], Vec::new());
    let errors = errors.unwrap_err();
    insta::assert_snapshot!(errors[0].to_string());
}

/// A document that is a list of texts.
struct Flat(Vec<(&'static str, &'static str)>);

struct Bound<'d>(&'d Flat, &'d Fields);

impl Flat {
    fn bind<'d>(&'d self, fields: &'d Fields) -> Bound<'d> {
        Bound(self, fields)
    }
}

impl eql::Document for Bound<'_> {
    fn field(&self, id: FieldId) -> Value<'_> {
        let name = self.1.name(id);
        self.0
            .0
            .iter()
            .find(|(field, _)| *field == name)
            .map_or(Value::Missing, |(_, text)| Value::String(text))
    }
}

#[test]
fn the_kernel_looks_for_what_rules_cannot_do_without() {
    let filters = seed().filters();
    for action in [Action::Creation, Action::Rename] {
        let passes = |path: &[u8]| kernel_passes(&filters, action, path);
        assert!(passes(b"/etc/LD.SO.PRELOAD") && passes(b"/etc/ld.so.conf.d/x"));
        assert!(!passes(b"/etc/passwd"));
    }
    // What never fires costs nothing.
    let dead = rule(r#"file where event.type == "access" and process.name == "x""#);
    let with_dead = Engine::new(vec![RuleSet::builtin().rules.remove(0), dead], Vec::new()).unwrap();
    assert_eq!(with_dead.filters(), filters);
}

/// What a rule is not about is not hooked, and what it cannot tell passes only where it is about it.
#[test]
fn the_kernel_looks_only_at_actions_that_rules_are_about() {
    let actions = |query: &str| engine(query).filters().actions().collect::<Vec<_>>();
    assert_eq!(actions(r#"file where event.action == "rename" and file.name == "x""#), [Action::Rename]);
    assert_eq!(actions(r#"file where event.type == "creation" and process.name == "x""#), [Action::Creation]);
    assert_eq!(actions(r#"file where event.type != "deletion" and file.name == "x""#).len(), 2);
    assert_eq!(actions(r#"file where event.type == "deletion""#), [Action::Deletion]);
    assert_eq!(actions(r#"file where event.type == "access""#), []);
    // Nor for the directories above the paths that a rule is about.
    let paths = r#"file where event.action in ("creation", "rename") and file.path : ("/etc/a", "/etc/b/*")"#;
    assert_eq!(actions(paths), [Action::Creation, Action::Rename]);
    // Every open for writing is looked at only if a rule says so.
    assert_eq!(actions(r#"file where event.type == "change" and file.name == "x""#), [Action::Rename]);
    assert_eq!(
        actions(r#"file where event.action : "modification" and file.name == "x""#),
        [Action::Modification]
    );
    let unknown = rule(r#"file where event.action == "creation" and process.name == "x""#);
    let filters =
        Engine::new(vec![unknown, RuleSet::builtin().rules.remove(0)], Vec::new()).unwrap().filters();
    assert!(kernel_passes(&filters, Action::Creation, b"/etc/passwd"));
    assert!(!kernel_passes(&filters, Action::Rename, b"/etc/passwd"));
}

#[test]
fn a_rule_that_never_fires_is_told_where_it_fails() {
    let warnings = |query: &str| engine(query).warnings().iter().map(ToString::to_string).collect::<Vec<_>>();
    let [warning] = &warnings(r#"file where file.name == "x" and host.os.type == "windows""#)[..] else {
        panic!("one warning");
    };
    insta::assert_snapshot!(warning);
    assert_eq!(warnings(r#"file where file.name == "x" and host.os.type == "linux""#), [""; 0]);
}

/// Of the built-in rules, those that alert on the event.
fn alerting(event: &Event) -> Vec<String> {
    let engine = Engine::new(RuleSet::builtin().rules, Vec::new()).unwrap();
    let mut names = Vec::new();
    engine.detect_event(event, now(), |detection| {
        if detection.verdict == Verdict::Alert {
            names.push(engine.rule(detection.rule).name.clone());
        }
    });
    names
}

#[test]
fn changes_in_place_are_another_rules_than_creations() {
    let in_place = ["Dynamic Linker Modification In Place"];
    let changed = |action, file: &str, program: &str| {
        let mut event = event();
        event.action = action;
        event.file.paths = vec![path(file)];
        event.process.executable = executable(program);
        alerting(&event)
    };
    for action in [Action::Modification, Action::Deletion] {
        assert_eq!(changed(action, "/etc/LD.so.preload", "/tmp/evil"), in_place);
        assert_eq!(changed(action, "/etc/ld.so.conf.d/a/b", "/usr/bin/vim"), in_place);
        assert_eq!(changed(action, "/etc/ld.so.conf.d/a", "/usr/bin/dpkg"), [""; 0]);
        assert_eq!(changed(action, "/etc/ld.so.conf.d/.a.swp", "/usr/bin/vim"), [""; 0]);
        assert_eq!(changed(action, "/etc", "/tmp/evil"), [""; 0]);
    }
    assert_eq!(changed(Action::Mount, "/etc", "/usr/bin/dpkg"), in_place, "a package manager mounts nothing");
    assert_eq!(changed(Action::Mount, "/etc/ld.so.conf.d", "/tmp/evil"), in_place);
    assert_eq!(changed(Action::Mount, "/usr", "/tmp/evil"), [""; 0]);
    let loader = ["Dynamic Linker Cache or Loader Replacement"];
    let rename = Action::Rename;
    assert_eq!(changed(rename, "/etc/ld.so.cache", "/usr/bin/mv"), loader);
    assert_eq!(changed(rename, "/etc/ld.so.cache", "/usr/sbin/ldconfig"), [""; 0]);
    assert_eq!(changed(rename, "/usr/lib64/ld-linux-x86-64.so.2", "/usr/sbin/ldconfig"), loader);
    assert_eq!(changed(rename, "/usr/lib64/ld-linux-x86-64.so.2", "/usr/bin/dpkg"), [""; 0]);
}

#[test]
fn another_root_counts_in_the_hosts_namespace_only() {
    let mut event = event();
    event.action = Action::Mount;
    event.file.paths = vec![path("/")];
    for (namespace, alerts) in [(Some(true), 1), (Some(false), 0), (None, 0)] {
        event.process.in_host_mount_namespace = namespace;
        assert_eq!(alerting(&event).len(), alerts);
    }
}
