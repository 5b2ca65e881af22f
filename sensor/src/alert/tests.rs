use serde_json::{Map, Value, json};

use super::{Alert, Source, Suppressed, lookup};
use crate::ecs::{Candidate, Document, FieldTable};
use crate::event::{Event, Executable, View};
use crate::rule::{Rule, RuleSet};
use crate::testing::{event, path, rename};

fn seed() -> Rule {
    RuleSet::builtin().rules.remove(0)
}

fn document(event: &Event) -> Map<String, Value> {
    Document::new(event, &FieldTable::default(), Candidate::default()).to_json()
}

fn source(document: Map<String, Value>) -> Source<'static> {
    Source {
        document,
        id: None,
        index: None,
        decided_by: "file.path : \"/etc/ld.so.preload\"",
        not_honoured: None,
    }
}

fn alert(event: &Event) -> Alert {
    Alert::new(&seed(), source(document(event)), "2026-11-23T09:15:00.5Z".parse().unwrap())
}

fn of(value: Value) -> Alert {
    let Value::Object(document) = value else { panic!("not an object") };
    Alert::new(&seed(), source(document), "2026-11-23T09:15:00.5Z".parse().unwrap())
}

#[test]
fn an_alert_reads_as_elastics_own() {
    let mut document = alert(&event()).document;
    document["agent"]["version"] = json!("[version]");
    // The rule's own texts are the rule's business.
    for key in ["description", "note", "false_positives", "parameters", "threat"] {
        assert!(
            document.insert(format!("kibana.alert.rule.{key}"), json!(format!("[{key}]"))).is_some(),
            "{key}"
        );
    }
    insta::assert_json_snapshot!(document);
}

/// The exclusion that did not hold, and why.
#[test]
fn an_exclusion_that_is_not_honoured_is_told_with_the_reason() {
    let mut event = event();
    let Executable::File(file) = &mut event.process.executable else { panic!() };
    (file.uid, file.deleted) = (1000, true);
    let clause = "process.name in ( \"java\" )";
    let source = Source { not_honoured: Some(clause), ..source(document(&event)) };
    let alert = Alert::new(&seed(), source, "2026-11-23T09:15:00.5Z".parse().unwrap());
    let reason = "the executable is not owned by root, and it has been unlinked";
    let not_honoured = lookup(&alert.document, "ldsentry.not_honoured").unwrap();
    assert_eq!(*not_honoured, json!({"clause": clause, "reason": reason}));
    let pretty = alert.to_pretty(false);
    let lines = format!("  despite {clause}\n          is not honoured: {reason}\n");
    assert!(pretty.contains(&lines), "{pretty}");
}

#[test]
fn an_alert_has_what_is_agreed() {
    let document = alert(&event()).document;
    for key in AGREED {
        assert!(lookup(&document, &format!("kibana.alert.{key}")).is_some(), "{key}");
    }
    assert_eq!(document["kibana.alert.rule.threat"][0]["technique"][0]["subtechnique"][0]["id"], "T1574.006");
}

#[test]
fn the_same_event_gives_the_same_id_whenever_it_is_delivered() {
    let first = alert(&event());
    assert_eq!(first.id.len(), 64);
    assert_eq!(first.document["kibana.alert.uuid"], first.id.as_str());
    let later = Alert::new(&seed(), source(document(&event())), "2027-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(first.id, later.id);

    let id = |change: &dyn Fn(&mut Event, &mut Rule)| {
        let (mut event, mut rule) = (event(), seed());
        change(&mut event, &mut rule);
        Alert::new(&rule, source(document(&event)), "2026-11-23T09:15:00.5Z".parse().unwrap()).id
    };
    assert_eq!(
        id(&|event, _| event.process.pid += 1),
        first.id,
        "what is told about the event does not matter"
    );
    assert_ne!(id(&|event, _| event.id.part = 1), first.id);
    assert_ne!(id(&|_, rule| rule.version += 1), first.id);
    assert_ne!(id(&|_, rule| rule.id.push('x')), first.id);
    assert_ne!(id(&|event, _| std::sync::Arc::make_mut(&mut event.host).boot_id.push('x')), first.id);
    assert_ne!(id(&|event, _| std::sync::Arc::make_mut(&mut event.host).id.push('x')), first.id);
}

#[test]
fn events_without_an_id_are_told_apart_by_what_they_say() {
    let one = of(json!({"file": {"path": "/etc/ld.so.preload"}}));
    assert_eq!(one.id, of(json!({"file": {"path": "/etc/ld.so.preload"}})).id);
    assert_ne!(one.id, of(json!({"file": {"path": "/etc/ld.so.conf"}})).id);
}

#[test]
fn the_reason_leaves_out_what_is_missing() {
    let reason = |value: Value| of(value).document["kibana.alert.reason"].as_str().unwrap().to_owned();
    let rule = "created medium alert Dynamic Linker Creation or Modification.";
    assert_eq!(
        alert(&event()).document["kibana.alert.reason"],
        format!("file event with process evil, file ld.so.preload, by root on h1 {rule}")
    );
    assert_eq!(reason(json!({})), format!("event {rule}"));
    assert_eq!(reason(json!({"event.category": "file"})), format!("file event {rule}"));
    assert_eq!(
        reason(json!({"event": {"category": ["file"]}, "file.name": "x", "host": {"name": "h1"}})),
        format!("file event with file x, on h1 {rule}")
    );
    assert_eq!(reason(json!({"user": {"name": "root"}})), format!("event by root {rule}"));
}

#[test]
fn dotted_documents_keep_their_form() {
    let alert = of(json!({
        "@timestamp": "2026-01-01T00:00:00Z",
        "event.kind": "event",
        "event.action": "rename",
        "data_stream.dataset": "endpoint.events.file",
        "data_stream.type": "logs",
        "data_stream.namespace": "default",
    }));
    assert_eq!(alert.document["event.kind"], "signal");
    assert_eq!(alert.document["event.action"], "rename");
    assert_eq!(alert.document["kibana.alert.original_event.kind"], "event");
    assert_eq!(alert.document["kibana.alert.original_event.action"], "rename");
    assert_eq!(alert.document["kibana.alert.original_time"], "2026-01-01T00:00:00Z");
    assert_eq!(alert.document["kibana.alert.ancestors"][0]["index"], "logs-endpoint.events.file-default");
    assert_eq!(lookup(&alert.document, "data_stream.dataset"), Some(&json!("ldsentry.alerts")));
    assert!(!alert.document.contains_key("data_stream.dataset"));
}

#[test]
fn a_line_is_one_line() {
    let mut event = event();
    event.file.paths[0].text.push_str("\n\u{1b}[31m\"\\\u{0}");
    let line = alert(&event).to_line();
    assert!(!line.contains('\n'));
    let parsed: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(parsed["file"]["path"], event.file.paths[0].text);
}

#[test]
fn for_a_person_at_a_terminal() {
    let mut event = rename("/tmp/prepared", "/etc/ld.so.preload");
    let mut host = path("/srv/jail/etc/ld.so.preload");
    host.view = View::Host;
    event.file.paths.push(host);
    insta::assert_snapshot!(alert(&event).to_pretty(false));
    let coloured = alert(&event).to_pretty(true);
    assert_eq!(uncoloured(&coloured), alert(&event).to_pretty(false));
    assert_ne!(coloured, uncoloured(&coloured));
}

#[test]
fn a_hostile_name_cannot_play_with_the_terminal() {
    let hostile = "/etc/ld.so.conf.d/\u{1b}]0;owned\u{7}\u{1b}[2J\r\n  rule    harmless\u{202e}fnoc\u{9b}31m";
    let mut event = rename(hostile, hostile);
    event.process.args = vec![hostile.to_owned()];
    event.process.thread_name = hostile.into();
    event.process.user.as_mut().unwrap().name = Some(hostile.to_owned());
    event.process.executable = Executable::Unknown;
    let pretty = alert(&event).to_pretty(false);
    let steering = pretty.chars().find(|c| *c != '\n' && (c.is_control() || *c == '\u{202e}'));
    assert_eq!(steering, None, "{pretty}");
    insta::assert_snapshot!(pretty);
}

/// `text` without the sequences that colours are made of.
fn uncoloured(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

const AGREED: &[&str] = &[
    "uuid",
    "status",
    "workflow_status",
    "depth",
    "ancestors",
    "reason",
    "severity",
    "risk_score",
    "start",
    "original_time",
    "original_event.kind",
    "original_event.action",
    "original_event.category",
    "original_event.type",
    "original_event.outcome",
    "rule.name",
    "rule.uuid",
    "rule.rule_id",
    "rule.type",
    "rule.version",
    "rule.severity",
    "rule.risk_score",
    "rule.description",
    "rule.note",
    "rule.author",
    "rule.license",
    "rule.tags",
    "rule.references",
    "rule.false_positives",
    "rule.threat",
    "rule.from",
    "rule.interval",
    "rule.max_signals",
    "rule.indices",
    "rule.enabled",
    "rule.parameters",
];

#[test]
fn what_is_suppressed_is_the_event_with_the_rule_and_the_clause() {
    let rule = seed();
    let suppressed = Suppressed::new(&rule, document(&event()), "process.executable == null");
    let written: Value = serde_json::from_str(&suppressed.to_line()).unwrap();
    assert_eq!(written["event"]["kind"], "event");
    assert_eq!(written["file"]["path"], "/etc/ld.so.preload");
    assert_eq!(
        written["ldsentry"]["suppressed"],
        json!({
            "rule_id": rule.id,
            "rule_name": rule.name,
            "rule_version": rule.version,
            "clause": "process.executable == null",
        })
    );
    assert!(written.get("kibana.alert.uuid").is_none());
}
