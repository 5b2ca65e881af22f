use eql::Value;
use serde_json::Map;

use super::{Candidate, Document, Field, FieldTable, UNKNOWN};
use crate::event::{Event, Executable, Origin, Process, View};
use crate::testing::{event, executable, path, rename};

fn json(event: &Event) -> serde_json::Value {
    let table = FieldTable::default();
    Document::new(event, &table, Candidate::default()).to_json().into()
}

#[test]
fn a_creation_as_ecs() {
    let mut document = json(&event());
    document["agent"]["version"] = "[version]".into();
    insta::assert_json_snapshot!(document);
}

#[test]
fn a_rename_says_where_the_file_was() {
    let document = json(&rename("/tmp/x.dpkg-new", "/etc/ld.so.conf"));
    assert_eq!(document["event"]["action"], "rename");
    assert_eq!(document["event"]["type"], serde_json::json!(["change"]));
    assert_eq!(document["file"]["path"], "/etc/ld.so.conf");
    assert_eq!(document["file"]["Ext"]["original"]["path"], "/tmp/x.dpkg-new");
    assert_eq!(document["file"]["Ext"]["original"]["extension"], "dpkg-new");
}

/// Rules are decided on these before there is an event.
#[test]
fn what_is_called_constant_is_the_same_in_all_events() {
    for event in [event(), rename("/tmp/x", "/etc/ld.so.conf")] {
        let table = FieldTable::default();
        let document = Document::new(&event, &table, Candidate::default()).to_json();
        for field in ["event.action", "event.type", "event.category", "host.os.type", "data_stream.dataset"] {
            let constant = super::json(super::constant(event.action, field).unwrap());
            let (object, member) = field.rsplit_once('.').unwrap();
            let object = format!("/{}", object.replace('.', "/"));
            let object = serde_json::Value::from(document.clone()).pointer(&object).cloned().unwrap();
            assert_eq!(constant.as_ref(), object.get(member), "{field}");
        }
        assert!(super::constant(event.action, "file.path").is_none());
        assert!(matches!(super::constant(event.action, "never.filled"), Some(Value::Missing)));
    }
}

/// Absent, not empty: rules test `file.extension` and `process.executable` for being there.
#[test]
fn what_is_not_known_is_absent() {
    let mut event = event();
    event.file.paths = vec![path("/etc/noextension")];
    event.process.executable = Executable::Unknown;
    event.process.args.clear();
    event.process.user.as_mut().unwrap().name = None;
    event.ancestors.clear();
    event.file.inode = None;
    let document = json(&event);
    for absent in [
        "/file/extension",
        "/file/inode",
        "/file/Ext",
        "/process/executable",
        "/process/name",
        "/process/args",
        "/process/command_line",
        "/process/parent",
        "/process/Ext",
        "/user/name",
        "/ldsentry/file/truncated",
        "/ldsentry/file/paths",
    ] {
        assert_eq!(document.pointer(absent), None, "{absent}");
    }
    assert_eq!(document["ldsentry"]["process"]["executable"]["status"], "unknown");
}

/// A rule that excludes what has no executable means kernel threads; from fanotify most processes are gone.
#[test]
fn where_fanotify_told_of_it_an_unknown_executable_is_a_text() {
    let mut event = event();
    event.process = Process {
        pid: 0,
        tid: 0,
        start_boot_ns: 0,
        start: None,
        executable: Executable::Unknown,
        user: None,
        group: None,
        cgroup_id: 0,
        cgroup: None,
        container: None,
        ..event.process
    };
    for origin in [Origin::Notification, Origin::DirectoryRename, Origin::DirectoryLink, Origin::Rescan] {
        event.origin = origin;
        let document = json(&event);
        assert_eq!(document["process"]["executable"], UNKNOWN);
        assert_eq!(document["process"]["name"], UNKNOWN);
        assert_eq!(document["ldsentry"]["process"]["executable"]["status"], "unknown");
        for absent in ["/process/pid", "/process/entity_id", "/process/start", "/user/id", "/group/id"] {
            assert_eq!(document.pointer(absent), None, "{absent}");
        }
    }
    event.process.executable = Executable::KernelThread;
    assert_eq!(json(&event).pointer("/process/executable"), None);
}

#[test]
fn a_kernel_thread_has_no_executable_and_says_so() {
    let mut event = event();
    event.process.executable = Executable::KernelThread;
    let document = json(&event);
    assert_eq!(document.pointer("/process/executable"), None);
    assert_eq!(document["ldsentry"]["process"]["executable"]["status"], "kernel_thread");
    assert_eq!(document["process"]["thread"]["name"], "dropper");
}

#[test]
fn the_other_paths_are_in_the_document() {
    let mut event = event();
    let mut host = path("/var/lib/docker/overlay2/x/merged/etc/ld.so.preload");
    host.view = View::Host;
    event.file.paths.push(host.clone());
    let document = json(&event);
    assert_eq!(document["file"]["path"], "/etc/ld.so.preload");
    assert_eq!(document["ldsentry"]["file"]["view"], "process");
    assert_eq!(document["ldsentry"]["file"]["paths"]["host"], serde_json::json!([host.text]));

    let table = FieldTable::default();
    let document = Document::new(&event, &table, Candidate { index: 1, assumed_directory: None });
    assert!(matches!(document.get(Field::FilePath), Value::String(text) if text == host.text));
    assert!(matches!(document.get(Field::OwnFileView), Value::String("host")));
}

#[test]
fn a_truncated_path_is_marked_and_can_be_tried_in_a_directory() {
    let mut event = event();
    event.file.paths = vec![path("ld.so.conf.d/x.conf")];
    event.file.paths[0].truncated = true;
    assert_eq!(json(&event)["file"]["path"], "ld.so.conf.d/x.conf");
    let table = FieldTable::default();
    let candidate = Candidate { index: 0, assumed_directory: Some("/etc/") };
    let document = serde_json::Value::from(Document::new(&event, &table, candidate).to_json());
    assert_eq!(document["file"]["path"], "/etc/ld.so.conf.d/x.conf");
    assert_eq!(document["ldsentry"]["file"]["truncated"], true);
    assert_eq!(document["ldsentry"]["file"]["assumed_directory"], "/etc/");
}

#[test]
fn bytes_that_are_no_text_are_kept_as_digits() {
    let mut event = event();
    event.file.paths[0].text = "/etc/ld.so.conf.d/\u{fffd}".to_owned();
    event.file.paths[0].raw = Some(b"/etc/ld.so.conf.d/\xff".to_vec());
    assert_eq!(json(&event)["ldsentry"]["file"]["raw_path"], "2f6574632f6c642e736f2e636f6e662e642fff");
}

#[test]
fn facts_about_the_executable_are_told() {
    let mut event = event();
    event.process.executable = executable("/memfd:x");
    if let Executable::File(file) = &mut event.process.executable {
        (file.memfd, file.deleted, file.uid, file.mode) = (true, true, 1000, 0o100_777);
    }
    let document = json(&event);
    let facts = &document["ldsentry"]["process"]["executable"];
    assert_eq!((&facts["memfd"], &facts["deleted"]), (&true.into(), &true.into()));
    assert_eq!((&facts["uid"], &facts["mode"]), (&"1000".into(), &"0777".into()));
}

#[test]
fn ids_identify_a_process_on_a_boot_of_a_host() {
    let entity = |event: &Event| json(event)["process"]["entity_id"].as_str().unwrap().to_owned();
    let first = entity(&event());
    assert_eq!(first, entity(&rename("/a", "/b")), "the same process, another event");
    let mut other = event();
    other.process.start_boot_ns += 1;
    assert_ne!(first, entity(&other), "the pid was used again");
    let mut parent = event();
    parent.process.pid = parent.ancestors[0].pid;
    parent.process.start_boot_ns = parent.ancestors[0].start_boot_ns;
    assert_eq!(entity(&parent), json(&event())["process"]["parent"]["entity_id"]);
}

/// Elastic Defend's Linux file events (8.15), without what Elastic's own agent and ingest pipeline add about themselves.
#[test]
fn the_document_has_what_elastic_defend_sends() {
    let document = json(&rename("/run/a.b", "/run/c.d"));
    let missing: Vec<_> = ELASTIC_DEFEND
        .iter()
        .filter(|name| crate::alert::lookup(document.as_object().unwrap_or(&Map::new()), name).is_none())
        .collect();
    assert_eq!(missing, NOT_YET.iter().collect::<Vec<_>>());
}

/// What the event does not hold.
const NOT_YET: &[&str] = &[
    "host.ip",
    "host.mac",
    "user.Ext.real.id",
    "user.Ext.real.name",
    "group.Ext.real.id",
    "group.Ext.real.name",
];

const ELASTIC_DEFEND: &[&str] = &[
    "@timestamp",
    "agent.id",
    "agent.type",
    "agent.version",
    "data_stream.dataset",
    "data_stream.namespace",
    "data_stream.type",
    "ecs.version",
    "event.action",
    "event.category",
    "event.created",
    "event.dataset",
    "event.id",
    "event.kind",
    "event.module",
    "event.outcome",
    "event.sequence",
    "event.type",
    "file.Ext.original.extension",
    "file.Ext.original.name",
    "file.Ext.original.path",
    "file.extension",
    "file.name",
    "file.path",
    "group.id",
    "group.name",
    "host.architecture",
    "host.hostname",
    "host.id",
    "host.ip",
    "host.mac",
    "host.name",
    "host.os.Ext.variant",
    "host.os.family",
    "host.os.full",
    "host.os.kernel",
    "host.os.name",
    "host.os.platform",
    "host.os.type",
    "host.os.version",
    "message",
    "process.entity_id",
    "process.executable",
    "process.name",
    "process.parent.entity_id",
    "process.pid",
    "user.Ext.real.id",
    "user.Ext.real.name",
    "user.id",
    "user.name",
    "group.Ext.real.id",
    "group.Ext.real.name",
];
