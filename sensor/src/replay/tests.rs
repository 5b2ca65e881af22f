use std::io::{self, Write};

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Format, ReplayError, Summary, replay};
use crate::alert::{Alert, Source};
use crate::detect::{Engine, TrustedExclusions};
use crate::ecs::Document;
use crate::event::{Event, Executable, ExecutableFile, Outcome};
use crate::rule::RuleSet;
use crate::testing::{event, executable, path, rename};

fn engine() -> Engine {
    Engine::new(vec![RuleSet::builtin().rules.remove(0)], Vec::new()).unwrap()
}

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

/// What is printed, a JSON value for each line, and the errors.
fn run(engine: &Engine, format: Format, input: &[u8]) -> (Vec<Value>, Vec<String>, Summary) {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let summary =
        replay(engine, input, format, &mut output, now, |error| errors.push(error.to_string())).unwrap();
    let lines = output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    (lines.map(|line| serde_json::from_slice(line).unwrap()).collect(), errors, summary)
}

fn verdicts(input: &[u8]) -> Vec<(u64, String)> {
    let (lines, _, _) = run(&engine(), Format::Verdicts, input);
    lines
        .iter()
        .map(|line| (line["event"].as_u64().unwrap(), line["verdict"].as_str().unwrap().to_owned()))
        .collect()
}

fn attack() -> Value {
    json!({
        "event": {"category": ["file"], "type": ["creation"], "action": "creation"},
        "file": {"path": "/etc/ld.so.preload", "name": "ld.so.preload", "extension": "preload"},
        "process": {"executable": "/tmp/evil", "name": "evil"},
        "host": {"os": {"type": "linux"}},
    })
}

#[track_caller]
fn assert_verdict(document: &Value, wanted: &str) {
    assert_eq!(verdicts(document.to_string().as_bytes()), [(1, wanted.to_owned())], "{document}");
}

#[test]
fn verdicts_are_one_line_for_each_event_and_rule() {
    let mut dpkg = attack();
    dpkg["process"]["executable"] = json!("/usr/bin/dpkg");
    let mut other = attack();
    other["file"]["path"] = json!("/etc/passwd");
    let input = format!("{}\n{dpkg}\n\n{other}", attack());
    let mut output = Vec::new();
    replay(&engine(), input.as_bytes(), Format::Verdicts, &mut output, now, |error| panic!("{error}"))
        .unwrap();
    insta::assert_snapshot!(String::from_utf8(output).unwrap());
}

#[test]
fn nested_dotted_and_mixed_keys_are_the_same() {
    for document in [
        json!({"event.category": "file", "event.action": "creation", "file.path": "/etc/ld.so.preload",
               "process.executable": "/tmp/evil", "host.os.type": "linux"}),
        json!({"event": {"category": "file", "action": "creation"}, "file.path": "/etc/ld.so.preload",
               "process": {"executable": "/tmp/evil"}, "host": {"os.type": "linux"}}),
        json!({"event": [{"category": "file"}, {"action": ["creation"]}], "file": {"path": ["/etc/ld.so.preload"]},
               "process.executable": "/tmp/evil", "host.os": {"type": "linux"}}),
        json!({"_index": "logs", "_id": "1", "event.category": "network", "_source": attack(), "file.path": "/x"}),
    ] {
        assert_verdict(&document, "alert");
    }
}

#[test]
fn what_is_absent_or_null_is_missing() {
    let mut document = attack();
    document["process"]["executable"] = Value::Null;
    assert_verdict(&document, "excluded");
    document["process"]["executable"] = json!([]);
    assert_verdict(&document, "excluded");
    document["process"] = json!("nonsense");
    assert_verdict(&document, "excluded");
    document["file"] = json!(7);
    assert_verdict(&document, "no_match");
}

#[test]
fn one_of_several_values_suffices() {
    let mut document = attack();
    document["file"]["path"] = json!(["/etc/passwd", ["/etc/ld.so.conf"]]);
    assert_verdict(&document, "alert");
    document["process"]["name"] = json!(["x", "java"]);
    assert_verdict(&document, "excluded");
}

#[test]
fn lines_that_are_no_events_are_told_and_the_rest_goes_on() {
    let input = format!("{0}\nnonsense\n[1]\n\"x\"\n{{\"a\":\n{0} {0}\n\n  \n{0}\r\n", attack());
    let (alerts, errors, summary) = run(&engine(), Format::Alerts, input.as_bytes());
    assert_eq!(alerts.len(), 2);
    assert_eq!(summary, Summary { events: 2, alerts: 2, bad_lines: 5 });
    insta::assert_snapshot!(errors.join("\n"));
    assert_eq!(verdicts(input.as_bytes()).iter().map(|(event, _)| *event).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn deep_nesting_and_huge_lines_hide_nothing() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let objects = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let huge = format!("\"{}\"", "x".repeat(8 << 20));
    for value in [&deep, &objects, &huge] {
        for key in ["labels", "file.size", "event"] {
            let line = format!("{{\"{key}\":{value},{}", &attack().to_string()[1..]);
            let (alerts, errors, _) = run(&engine(), Format::Alerts, line.as_bytes());
            assert!(errors.is_empty(), "{key}: {errors:?}");
            assert_eq!(alerts.len(), 1, "{key}");
            assert_eq!(alerts[0]["file"]["path"], "/etc/ld.so.preload");
        }
    }
}

#[test]
fn bytes_that_are_no_text_hide_nothing() {
    let mut line =
        attack().to_string().replace("ld.so.preload\"", "ld.so.preload\",\"target\":\"X\"").into_bytes();
    let at = line.iter().position(|byte| *byte == b'X').unwrap();
    line[at] = 0xff;
    let (alerts, errors, _) = run(&engine(), Format::Alerts, &line);
    assert_eq!((alerts.len(), errors.len()), (1, 0));
    let in_a_field = attack().to_string().replace("preload", "conf.d/X").replace('X', "\u{1}");
    let raw: Vec<u8> = in_a_field.bytes().map(|byte| if byte == 1 { 0xfe } else { byte }).collect();
    assert_eq!(verdicts(&raw), [(1, "alert".to_owned())]);
}

#[test]
fn an_alert_keeps_the_document_and_says_where_it_was() {
    let hit = json!({"_index": "logs-x", "_id": "q1", "_source": attack()});
    let (alerts, _, _) = run(&engine(), Format::Alerts, hit.to_string().as_bytes());
    assert_eq!(
        alerts[0]["kibana.alert.ancestors"][0],
        json!({"id": "q1", "type": "event", "index": "logs-x", "depth": 0})
    );
    assert_eq!(alerts[0]["process"], attack()["process"]);
    assert!(alerts[0].get("_source").is_none());
}

#[test]
fn a_reader_that_goes_away_is_reported_as_such() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let line = attack().to_string();
    let error = replay(&engine(), line.as_bytes(), Format::Alerts, &mut Closed, now, |_| {}).unwrap_err();
    assert!(matches!(error, ReplayError::Write(error) if error.kind() == io::ErrorKind::BrokenPipe));
}

/// Texts that rules look for, and texts that nobody expects.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("/etc/ld.so.preload".to_owned()),
        Just("/etc/ld.so.conf.d/x.conf".to_owned()),
        Just("/etc/ld.so.conf.d/sedXy".to_owned()),
        Just("/ETC/ld.so.conf".to_owned()),
        Just("ld.so.preload".to_owned()),
        Just("/usr/bin/dpkg".to_owned()),
        Just("/usr/bin/sed".to_owned()),
        Just("/snap/x".to_owned()),
        "/etc/ld.so.conf.d/[a-zé\\\\\"\n\u{1}]{0,8}(\\.swp)?",
        any::<String>(),
    ]
}

fn executables() -> impl Strategy<Value = Executable> {
    prop_oneof![
        Just(Executable::Unknown),
        Just(Executable::KernelThread),
        (text(), any::<bool>(), 0..2_u32).prop_map(|(text, deleted, uid)| {
            let Executable::File(file) = executable(&text) else { return Executable::Unknown };
            Executable::File(ExecutableFile { deleted, uid, ..file })
        })
    ]
}

fn trusted_exclusions() -> impl Strategy<Value = TrustedExclusions> {
    prop::sample::select(vec![TrustedExclusions::Off, TrustedExclusions::Names, TrustedExclusions::All])
}

prop_compose! {
    fn events()(
        paths in prop::collection::vec((text(), any::<bool>()), 1..3),
        original in prop::option::of(text()),
        executable in executables(),
        outcome in prop_oneof![Just(Outcome::Success), Just(Outcome::Failure), Just(Outcome::Unknown)],
        args in prop::collection::vec(any::<String>(), 0..3),
        id in any::<u32>(),
    ) -> Event {
        let mut event = match &original {
            Some(original) => rename(original, ""),
            None => event(),
        };
        event.file.paths = paths.iter().map(|(text, _)| path(text)).collect();
        for (path, (_, truncated)) in event.file.paths.iter_mut().zip(&paths) {
            path.truncated = *truncated;
        }
        event.process.executable = executable;
        event.process.args = args;
        event.process.user.as_mut().unwrap().id = id;
        event.outcome = outcome;
        event
    }
}

proptest! {
    /// What runs live and what is tried on its documents later must not differ.
    #[test]
    fn an_event_and_its_document_raise_the_same_alert(event in events(), trusted in trusted_exclusions()) {
        let engine = Engine::trusting(RuleSet::builtin().rules, Vec::new(), trusted).unwrap();
        for candidate in engine.candidates(&event) {
            let document = Document::new(&event, engine.table(), candidate);
            let live = engine.verdict(0, &document, now());
            let line = Value::Object(document.to_json()).to_string();

            let (printed, errors, _) = run(&engine, Format::Verdicts, line.as_bytes());
            prop_assert!(errors.is_empty(), "{errors:?}");
            prop_assert_eq!(&printed[0]["clause"], &json!(engine.clause(0, live)));

            let (alerts, _, _) = run(&engine, Format::Alerts, line.as_bytes());
            prop_assert_eq!(alerts.len(), usize::from(live.is_alert()));
            if let [alert] = alerts.as_slice() {
                let clause = engine.clause(0, live);
                let not_honoured = engine.not_honoured(0, live);
                let source = Source { document: document.to_json(), id: None, index: None, decided_by: &clause, not_honoured };
                let expected = Alert::new(engine.rule(0), source, now());
                prop_assert_eq!(alert, &Value::Object(expected.document));
            }
        }
    }

    #[test]
    fn no_line_panics(line in prop::collection::vec(any::<u8>(), 0..200)) {
        run(&engine(), Format::Verdicts, &line);
    }
}
