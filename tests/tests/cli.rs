//! The command line on this host: what goes in, what comes out, what a mistake is answered with.

use std::fs;
use std::path::Path;

use integration_tests::command_line::{Said, run, run_without_rights};
use integration_tests::lookup;
use serde_json::{Value, json};

const RULE_ID: &str = "b342c616-c2d6-4526-bf28-152fb276ee01";

fn event(action: &str, path: &str, executable: &str) -> Value {
    json!({
        "@timestamp": "2026-01-02T03:04:05.678Z",
        "event": {"kind": "event", "category": ["file"], "action": action},
        "host": {"os": {"type": "linux"}, "name": "h1"},
        "file": {"path": path, "name": path.rsplit('/').next()},
        "process": {"executable": executable, "name": executable.rsplit('/').next()},
        "user": {"name": "root"},
    })
}

fn lines(documents: &[Value]) -> String {
    let lines: Vec<String> = documents.iter().map(Value::to_string).collect();
    lines.join("\n") + "\n"
}

/// An answer to a mistake is short, says `error:`, and is no crash.
#[track_caller]
fn is_complaint(said: &Said, code: i32, words: &[&str]) {
    assert_eq!(said.code, Some(code), "{said:?}");
    assert!(said.stderr.contains("error:"), "{said:?}");
    for word in words {
        assert!(said.stderr.contains(word), "`{word}` is not in {}", said.stderr);
    }
    for crash in ["panicked", "backtrace", "RUST_BACKTRACE"] {
        assert!(!said.stderr.contains(crash), "{}", said.stderr);
    }
}

#[test]
fn an_event_on_standard_input_gives_its_alert() {
    let attack = event("creation", "/etc/ld.so.preload", "/tmp/evil");
    let said = run(["replay", "-"], lines(std::slice::from_ref(&attack)));
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    let alerts = said.documents().unwrap();
    assert_eq!(alerts.len(), 1);
    for (field, expected) in [
        ("event.kind", json!("signal")),
        ("event.action", json!("creation")),
        ("file.path", json!("/etc/ld.so.preload")),
        ("process.executable", json!("/tmp/evil")),
        ("kibana.alert.status", json!("active")),
        ("kibana.alert.severity", json!("medium")),
        ("kibana.alert.risk_score", json!(47)),
        ("kibana.alert.original_event.action", json!("creation")),
        ("kibana.alert.original_time", attack["@timestamp"].clone()),
        ("kibana.alert.rule.rule_id", json!(RULE_ID)),
    ] {
        assert_eq!(lookup(&alerts[0], field), Some(&expected), "{field}");
    }
    let reason = lookup(&alerts[0], "kibana.alert.reason").and_then(Value::as_str).unwrap();
    for part in ["evil", "ld.so.preload", "root", "h1", "medium"] {
        assert!(reason.contains(part), "{reason}");
    }
}

#[test]
fn the_same_event_always_gives_the_same_alert_id() {
    let input = lines(&[event("rename", "/etc/ld.so.conf", "/tmp/evil")]);
    let ids: Vec<Value> = (0..2)
        .map(|_| run(["replay"], &input).documents().unwrap()[0]["kibana.alert.uuid"].clone())
        .collect();
    assert!(ids[0].is_string());
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn elasticsearch_hits_are_unwrapped() {
    let hit =
        json!({"_index": "x", "_id": "y", "_source": event("rename", "/etc/LD.so.conf.d/a", "/tmp/evil")});
    let said = run(["replay"], lines(&[hit]));
    let alerts = said.documents().unwrap();
    assert_eq!(alerts.len(), 1, "{said:?}");
    assert_eq!(lookup(&alerts[0], "file.path"), Some(&json!("/etc/LD.so.conf.d/a")));
}

#[test]
fn verdicts_name_the_clause_that_decided() {
    let input = lines(&[
        event("creation", "/etc/ld.so.preload", "/tmp/evil"),
        event("creation", "/etc/ld.so.preload", "/usr/bin/dpkg"),
        event("deletion", "/etc/ld.so.preload", "/tmp/evil"),
        event("creation", "/etc/passwd", "/tmp/evil"),
    ]);
    let said = run(["replay", "--format", "verdicts", "-"], input);
    assert_eq!(said.code, Some(0), "{said:?}");
    let mut verdicts = said.documents().unwrap();
    verdicts.retain(|line| line["rule_id"] == RULE_ID);
    let decided: Vec<(Value, &str)> =
        verdicts.iter().map(|line| (line["event"].clone(), line["verdict"].as_str().unwrap())).collect();
    assert_eq!(
        decided,
        [(json!(1), "alert"), (json!(2), "excluded"), (json!(3), "no_match"), (json!(4), "no_match")]
    );
    for (line, clause) in verdicts.iter().zip(["", "/usr/bin/dpkg", "event.action", "file.path"]) {
        assert!(line["clause"].as_str().unwrap().contains(clause), "{line}");
    }
}

#[test]
fn events_without_alerts_print_nothing() {
    let said = run(["replay"], lines(&[event("creation", "/etc/ld.so.conf.d/x.conf", "/usr/bin/dpkg")]));
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (Some(0), "", ""));
    let said = run(["replay"], "");
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (Some(0), "", ""));
}

#[test]
fn lines_that_are_no_objects_are_named_and_the_rest_goes_on() {
    let attack = event("creation", "/etc/ld.so.preload", "/tmp/evil");
    let mut input = b"not json\n[1]\n\xff\xfe\n{\"file\":\n".to_vec();
    input.extend(lines(&[attack]).bytes());
    let said = run(["replay", "-"], input);
    is_complaint(&said, 1, &["line 1", "line 2", "line 3", "line 4"]);
    assert!(!said.stderr.contains("line 5"), "{}", said.stderr);
    assert_eq!(said.documents().unwrap().len(), 1);
}

#[test]
fn a_last_line_without_its_end_counts() {
    let said = run(["replay"], event("creation", "/etc/ld.so.preload", "/tmp/evil").to_string());
    assert_eq!(said.documents().unwrap().len(), 1, "{said:?}");
}

#[test]
fn usage_errors_exit_with_2() {
    for arguments in [&["frobnicate"][..], &[], &["replay", "--format", "xml"], &["run", "--attach", "magic"]]
    {
        let said = run(arguments, "");
        assert_eq!(said.code, Some(2), "{arguments:?}: {said:?}");
        assert!(said.stderr.contains("--help") || said.stderr.contains("Usage"), "{}", said.stderr);
    }
}

#[test]
fn without_root_the_host_cannot_be_watched() {
    is_complaint(&run_without_rights(["run"]), 3, &["cannot be watched", "run as root"]);
}

#[test]
fn what_is_not_there_is_named() {
    let nowhere = "/nonexistent/file";
    is_complaint(&run(["replay", nowhere], ""), 1, &[nowhere]);
    is_complaint(&run(["replay", "--rules", nowhere], ""), 1, &[nowhere, "--rules"]);
    is_complaint(&run(["run", "--config", nowhere], ""), 1, &[nowhere]);
    is_complaint(&run(["run", "--rules", nowhere], ""), 1, &[nowhere]);
}

fn rules_check(directory: &Path) -> Said {
    run(["rules".as_ref(), "check".as_ref(), "--rules".as_ref(), directory.as_os_str()], "")
}

#[test]
fn rules_at_fault_are_named_by_file_and_line() {
    let directory = tempfile::tempdir().unwrap();
    let rule = |query: &str| {
        format!(
            "[rule]\nname = \"A test\"\nrule_id = \"11111111-2222-3333-4444-555555555555\"\ndescription = \"x\"\n\
             author = [\"x\"]\nlicense = \"x\"\nseverity = \"low\"\nrisk_score = 21\ntype = \"eql\"\n\
             language = \"eql\"\nquery = '''\n{query}\n'''\n"
        )
    };
    fs::write(directory.path().join("good.toml"), rule("file where file.path : \"/x\"")).unwrap();
    let said = rules_check(directory.path());
    assert_eq!(said.code, Some(0), "{said:?}");

    fs::write(directory.path().join("query.toml"), rule("file where\n  file.path == == \"x\"")).unwrap();
    is_complaint(&rules_check(directory.path()), 1, &["query.toml:13:"]);
    fs::remove_file(directory.path().join("query.toml")).unwrap();

    fs::write(directory.path().join("broken.toml"), "[rule]\nname = \n").unwrap();
    is_complaint(&rules_check(directory.path()), 1, &["broken.toml:2:"]);
    // What cannot be checked cannot be run or replayed either.
    let rules = ["replay".as_ref(), "--rules".as_ref(), directory.path().as_os_str()];
    is_complaint(&run(rules, ""), 1, &["broken.toml"]);
}

#[test]
fn an_unknown_key_in_the_configuration_is_named_by_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.toml");
    fs::write(&file, "# a comment\n[rules]\ndirz = []\n").unwrap();
    let arguments = ["run".as_ref(), "--config".as_ref(), file.as_os_str()];
    is_complaint(&run(arguments, ""), 1, &["c.toml:3", "dirz", "dirs"]);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let input = lines(&vec![event("creation", "/etc/ld.so.preload", "/tmp/evil"); 200]);
    let directory = tempfile::tempdir().unwrap();
    let events = directory.path().join("events");
    fs::write(&events, input).unwrap();
    let program = integration_tests::command_line::ldsentry();
    let script = "set -o pipefail; \"$0\" replay \"$1\" | head -n 1 | wc -l";
    let output =
        std::process::Command::new("bash").args(["-c", script]).arg(program).arg(&events).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"1\n"[..], &b""[..]));
}
