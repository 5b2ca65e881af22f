//! The fields of what outputs deliver: docs/fields.md, made from the code, the index templates and sample documents.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use serde_json::{Map, Value, json};

use super::elasticsearch_templates;
use crate::alert::{Alert, Source, Suppressed, lookup};
use crate::ecs::{Candidate, Document, Field, FieldTable};
use crate::event::{
    Action, Container, ContainerNames, Event, Executable, Layer, Mount, MountOperation, Path, Runtime, View,
};
use crate::heartbeat::{self, Heartbeat};
use crate::notice::{self, Blindness, Lost};
use crate::prefix::Prefix;
use crate::rule::{Rule, RuleSet};
use crate::testing::{assert_document_is_current, event, path, rename};
use crate::{inventory, self_test};

/// All fields that the templates map, by name.
pub(super) fn mapped_fields() -> BTreeMap<String, Value> {
    fn collect(prefix: &str, properties: &Value, fields: &mut BTreeMap<String, Value>) {
        for (name, mapping) in properties.as_object().unwrap() {
            match mapping.get("properties") {
                Some(below) => collect(&format!("{prefix}{name}."), below, fields),
                None => drop(fields.insert(format!("{prefix}{name}"), mapping.clone())),
            }
        }
    }
    let mut fields = BTreeMap::new();
    for (_, template) in elasticsearch_templates("logs-ldsentry.alerts-default") {
        if let Some(properties) = template.pointer("/template/mappings/properties") {
            collect("", properties, &mut fields);
        }
    }
    fields
}

/// The leaves of a document, as Elasticsearch names them. What is mapped as a whole is one.
pub(super) fn leaves(document: &Map<String, Value>) -> Vec<(String, Value)> {
    fn collect(
        prefix: &str,
        value: &Value,
        mapped: &BTreeMap<String, Value>,
        found: &mut Vec<(String, Value)>,
    ) {
        match value {
            Value::Object(map) if !mapped.contains_key(prefix) => {
                for (name, value) in map {
                    let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                    collect(&name, value, mapped, found);
                }
            }
            Value::Array(values) if values.iter().any(Value::is_object) => {
                for value in values {
                    collect(prefix, value, mapped, found);
                }
            }
            value => found.push((prefix.to_owned(), value.clone())),
        }
    }
    let mut found = Vec::new();
    collect("", &Value::Object(document.clone()), &mapped_fields(), &mut found);
    found
}

/// Events that have, together, every field.
pub(super) fn sample_events() -> Vec<Event> {
    let viewed = |text: &str, view| {
        let mut path = path(text);
        path.view = view;
        path
    };
    let mut several = rename("/tmp/a.new", "/etc/ld.so.conf.d/a.conf");
    several.file.paths.push(viewed("/srv/jail/etc/ld.so.conf.d/a.conf", View::Host));
    several.file.paths.push(viewed("/etc/ld.so.conf.d/b.conf", View::Process));
    several.file.paths.push(viewed("/mnt/etc/ld.so.conf.d/a.conf", View::Other));
    let mut link = event();
    link.file.linked = Some(path("/tmp/x"));
    let mut symlink = event();
    symlink.file.target = Some("/tmp/x".into());
    let mut odd = rename("x\u{fffd}", "ld.so.conf.d/\u{fffd}");
    for (path, raw) in [
        (&mut odd.file.paths[0], b"ld.so.conf.d/\xff".as_slice()),
        (&mut odd.file.original_paths[0], b"x\xff"),
    ] {
        (path.truncated, path.raw) = (true, Some(raw.to_vec()));
    }
    odd.process.args_truncated = true;
    if let Executable::File(file) = &mut odd.process.executable {
        (file.memfd, file.deleted, file.path.truncated) = (true, true, true);
        file.path.raw = Some(b"\xff".to_vec());
    }
    odd.process.raw_command_line = Some(b"sh\0-\xff\0".to_vec());
    odd.process.thread_name = b"\xff".as_slice().into();
    if let Executable::File(file) = &mut odd.ancestors[0].executable {
        file.path.raw = Some(b"/tmp/\xff".to_vec());
    }
    odd.file.target = Some(b"\xff".as_slice().into());
    odd.file.linked = Some(Path { raw: Some(b"x\xff".to_vec()), ..path("x\u{fffd}") });
    vec![event(), several, link, symlink, odd, contained(), mounted(b"/tmp/x"), mounted(b"\xff")]
}

/// By a program that somebody put into a container.
fn contained() -> Event {
    let mut event = event();
    let id = "3f4b1c0c5f2ad8d6c31d7b9c2d8be1f60f1a2e3d4c5b6a79887766554433221f";
    event.process.container = Some(Container {
        id: id.to_owned(),
        runtime: Some(Runtime::Containerd),
        pod_uid: Some("8f2f6f3c-3a5e-4e0b-9d8c-0c2f5a1b7e44".to_owned()),
        names: ContainerNames {
            container: Some("web".to_owned()),
            image: Some("nginx:1.27".to_owned()),
            namespace: Some("team-a".to_owned()),
            pod: Some("shop-6b8f9d5c7-xk2lp".to_owned()),
        },
    });
    event.process.in_host_mount_namespace = Some(false);
    if let Executable::File(file) = &mut event.process.executable {
        file.layer = Some(Layer::Upper);
    }
    event
}

/// Something was mounted.
fn mounted(source: &[u8]) -> Event {
    let mut mount = event();
    mount.action = Action::Mount;
    mount.file.mount = Some(Mount {
        operation: MountOperation::Bind,
        source: Some(source.into()),
        file_system: Some("ext4".to_owned()),
    });
    mount
}

fn document(event: &Event) -> Map<String, Value> {
    let truncated = event.file.paths[0].truncated;
    let candidate = Candidate { index: 0, assumed_directory: truncated.then_some("/etc/") };
    Document::new(event, &FieldTable::default(), candidate).to_json()
}

fn rule() -> Rule {
    RuleSet::builtin().rules.remove(0)
}

/// The alert of the first rule about `event`.
pub(super) fn sample_alert(event: &Event) -> Alert {
    let source = Source {
        document: document(event),
        id: None,
        index: None,
        decided_by: "file.path : \"/etc/ld.so.preload\"",
        not_honoured: Some("process.name in (\"java\")"),
    };
    Alert::new(&rule(), source, "2026-11-23T09:15:00.5Z".parse().unwrap())
}

/// What the sensor says of itself and of what it finds at its start: together, every field of it.
pub(super) fn own_documents() -> Vec<Map<String, Value>> {
    let host = event().host;
    let now = "2026-11-26T10:00:42.5Z".parse().unwrap();
    let time = Blindness { start: "2026-11-26T10:00:00Z".parse().unwrap(), end: now };
    let losses = Lost { events: 17, alerts: vec![("file", 3), ("stdout", 5)] };
    let heartbeat = Heartbeat { interval: 600, source: "fentry programs".to_owned(), uptime: 3600, lost: 0 };
    let alert = |rule: &Rule, document| {
        let source =
            Source { document, id: None, index: None, decided_by: "ldsentry itself", not_honoured: None };
        Alert::new(rule, source, now).document
    };
    let mut documents = vec![
        notice::gap(&host, time, "the sensor did not run", now).unwrap().document,
        notice::lost(&host, time, &losses, now).unwrap().document,
        alert(&self_test::rule(Action::Creation).unwrap(), self_test::failure(&host, now)),
        heartbeat::document(&host, &heartbeat, now).document,
    ];
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a.conf"), b"a\xffb").unwrap();
    std::os::unix::fs::symlink("a.conf", root.path().join("link")).unwrap();
    fs::write(root.path().join(OsStr::from_bytes(b"\xff")), "").unwrap();
    let mut found = inventory::look(&[Prefix { text: b"/".to_vec(), open: true }], root.path());
    assert_eq!(found.files.len(), 3, "{found:?}");
    for file in &mut found.files {
        file.named_by = Some(b"/etc/ld.so.conf".to_vec());
        let name = || Some("root".to_owned());
        let facts = inventory::Facts { host: &host, owner: name(), group: name(), now };
        let document = inventory::document(file, &facts);
        documents.extend([alert(&inventory::rule().unwrap(), document.clone()), document]);
    }
    documents
}

/// What `Alert` adds to an event, and what stands in for alerts that are not sent one by one.
const OF_ALERTS: &[(&str, &str, &str)] = &[
    ("ldsentry.decided_by", "always", "the clause of the rule that made it an alert"),
    (
        "ldsentry.not_honoured.clause",
        "an exclusion is not honoured",
        "the clause of the rule that would have excluded it: [exclusions.md](exclusions.md)",
    ),
    ("ldsentry.not_honoured.reason", "an exclusion is not honoured", "a sentence"),
    ("kibana.alert.uuid", "always", "the same as the document's `_id`"),
    ("kibana.alert.status", "always", "`active`"),
    ("kibana.alert.workflow_status", "always", "`open`"),
    ("kibana.alert.workflow_tags", "always", "empty, for Kibana to fill"),
    ("kibana.alert.workflow_assignee_ids", "always", "empty, for Kibana to fill"),
    ("kibana.alert.depth", "always", "1: it is about an event, not about alerts"),
    ("kibana.alert.severity", "always", "the rule's"),
    ("kibana.alert.risk_score", "always", "the rule's"),
    ("kibana.alert.reason", "always", "a sentence"),
    ("kibana.alert.start", "always", "when it was raised"),
    ("kibana.alert.original_time", "always", "when it happened"),
    ("kibana.alert.original_event.*", "always", "the event's own `event.*`"),
    ("kibana.alert.ancestors.*", "always", "the event: `id`, `type`, `index`, `depth`"),
    ("kibana.alert.rule.*", "always", "the rule, as in its file; `uuid` is its id"),
    ("kibana.space_ids", "always", "`default`"),
];

const OF_SUMMARIES: &[(&str, &str)] = &[
    ("kibana.alert.suppression.docs_count", "how many alerts it stands for"),
    ("kibana.alert.suppression.start", "when the first of them was raised"),
    ("kibana.alert.suppression.end", "when the last of them was raised"),
    ("ldsentry.summary.executables", "their executables"),
    ("ldsentry.summary.paths", "their paths"),
];

/// What the sensor's own documents have beside what events and alerts have.
const OF_OWN: &[(&str, &str, &str)] = &[
    ("event.start", "`gap`, `lost`", "from when on not everything was seen"),
    ("event.end", "`gap`, `lost`", "until when"),
    ("event.duration", "`gap`, `lost`", "how long, nanoseconds"),
    ("ldsentry.gap.reason", "`gap`", "why nothing was watched"),
    ("ldsentry.lost.count", "`lost`", "events that no rule saw, at least"),
    ("ldsentry.lost.alerts.output", "`lost`, alerts were dropped", "the output that did"),
    ("ldsentry.lost.alerts.count", "`lost`, alerts were dropped", "how many"),
    ("ldsentry.heartbeat.interval", "`heartbeat`", "how long until the next one, seconds"),
    ("ldsentry.heartbeat.source", "`heartbeat`", "what the host is watched with"),
    ("ldsentry.heartbeat.uptime", "`heartbeat`", "since when, seconds"),
    ("ldsentry.heartbeat.lost", "`heartbeat`", "events lost since then"),
    ("file.size", "`inventory`", "bytes"),
    ("file.uid", "`inventory`", "the owner's id"),
    ("file.gid", "`inventory`", "the group's id"),
    ("file.owner", "`inventory`, it has a name", "the owner's name"),
    ("file.group", "`inventory`, it has a name", "the group's name"),
    ("file.mtime", "`inventory`", "when its contents last changed"),
    ("file.ctime", "`inventory`", "when its inode last changed"),
    ("file.created", "`inventory`, the file system says it", "when it was made"),
    ("file.hash.sha256", "`inventory`, a regular file that is not too long", "of its contents"),
    ("ldsentry.inventory.named_by", "`inventory`, no rule names it", "the file that does"),
    ("ldsentry.inventory.head", "`inventory`, a regular file", "its first bytes"),
    ("ldsentry.inventory.raw_head", "`inventory`, they are no text", "the same in hexadecimal digits"),
];

const OF_SUPPRESSED: &[(&str, &str)] = &[
    ("ldsentry.suppressed.rule_id", "the rule"),
    ("ldsentry.suppressed.rule_name", "its name"),
    ("ldsentry.suppressed.rule_version", "its version"),
    ("ldsentry.suppressed.clause", "the clause of the rule, or the exception, that excluded the event"),
];

fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return String::new() };
    let text = value.to_string();
    let short: String = text.chars().take(64).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("`{short}{more}`").replace('|', "\\|")
}

fn event_rows(text: &mut String, mapped: &BTreeMap<String, Value>) {
    let mut samples: Vec<_> = sample_events().iter().map(document).collect();
    for sample in &mut samples {
        sample["agent"]["version"] = json!("0.1.0");
    }
    for field in Field::ALL {
        let (name, (when, what)) = (field.name(), field.about());
        let example = samples.iter().find_map(|sample| lookup(sample, name));
        assert!(example.is_some(), "no sample has {name}: add one to `sample_events`");
        let kind = mapped[name]["type"].as_str().unwrap();
        let _ = writeln!(text, "| `{name}` | {kind} | {when} | {what} | {} |", shown(example));
    }
}

fn alert_rows(text: &mut String, mapped: &BTreeMap<String, Value>) {
    let alert = sample_alert(&contained());
    let found: BTreeSet<String> = leaves(&alert.document).into_iter().map(|(name, _)| name).collect();
    let told = |name: &str| {
        OF_ALERTS.iter().any(|(told, ..)| match told.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => *told == name,
        })
    };
    let of_events: BTreeSet<_> = Field::ALL.iter().map(|field| field.name()).collect();
    let untold: Vec<_> =
        found.iter().filter(|name| !of_events.contains(name.as_str()) && !told(name)).collect();
    assert!(untold.is_empty(), "tell what these are in `OF_ALERTS`: {untold:?}");
    for (name, when, what) in OF_ALERTS {
        let kind = mapped.get(*name).map_or("", |mapping| mapping["type"].as_str().unwrap());
        let _ = writeln!(
            text,
            "| `{name}` | {kind} | {when} | {what} | {} |",
            shown(lookup(&alert.document, name))
        );
    }
    let _ = writeln!(text, "\nWhat is behind the `*`:\n\n| field | type | example |\n|---|---|---|");
    for (name, value) in leaves(&alert.document) {
        if OF_ALERTS
            .iter()
            .any(|(told, ..)| told.strip_suffix('*').is_some_and(|prefix| name.starts_with(prefix)))
        {
            let kind = mapped[&name]["type"].as_str().unwrap();
            let _ = writeln!(text, "| `{name}` | {kind} | {} |", shown(Some(&value)));
        }
    }
}

fn markdown_reference() -> String {
    let mapped = mapped_fields();
    let mut text = "# Fields\n\n\
        <!-- Generated from sensor/src/ecs/about.rs and sensor/src/sink/tests/fields.rs; `UPDATE_DOCS=1 cargo test -p sensor` writes it anew. -->\n\n\
        Documents follow the Elastic Common Schema, and, where that has no field, Elastic Defend's `Ext`. What is neither is below \
        `ldsentry.`. A field that is not known is absent, never empty. Types are those of [the index template](../deploy/elasticsearch/README.md). \
        `user.id` and `group.id` are texts, as ECS wants them, where Elastic Defend writes numbers; rules read both.\n\n\
        ## Events\n\n\
        Rules see these, and alerts have all of them.\n\n\
        | field | type | there | says | example |\n|---|---|---|---|---|\n"
        .to_owned();
    event_rows(&mut text, &mapped);
    text.push_str(
        "\nWhat is known of a container depends on who made it. Its id and runtime, and its pod's uid, are in the name of its cgroup; names come \
         from files on the host, for no engine and no API server is asked. Of these, tests run \
         runc alone; the files of the others are known from their sources.\n\n\
         | made by | `container.name` | `container.image.name` | pod and namespace | from |\n|---|---|---|---|---|\n\
         | Docker | yes | yes | | `/var/lib/docker/containers` |\n\
         | Kubernetes with containerd | yes | yes | yes | `/run/containerd` (k3s: `/run/k3s/containerd`), `/var/log/containers`, `/var/log/pods` |\n\
         | Kubernetes with CRI-O | yes | yes | yes | `/var/lib/containers/storage`, `/var/log/containers`, `/var/log/pods` |\n\
         | Podman, by root | yes | yes | | `/var/lib/containers/storage` |\n\
         | Podman, by others | | | | not looked for: these files belong to that user, who could write anything there |\n\
         | nerdctl | yes | | | `/run/containerd`; the image's name is in containerd's database alone, which is locked |\n\
         | ctr, runc | | | | nothing tells: the container's id is its name |\n",
    );
    text.push_str(
        "\n## Alerts\n\nWhat an alert has beside its event. `kibana.alert.*` are flat keys with dots in them, as in Kibana's own alerts.\n\n\
         | field | type | there | says | example |\n|---|---|---|---|---|\n",
    );
    alert_rows(&mut text, &mapped);
    text.push_str(
        "\n## The sensor's own documents\n\nAlerts with `event.action` `gap`, `lost` or `self-test` say that not everything was seen. \
         `heartbeat` and `inventory` are no alerts, `event.kind` is `state` (but for the inventory's alert about `/etc/ld.so.preload`).\n\n\
         | field | type | there | says |\n|---|---|---|---|\n",
    );
    for (name, when, what) in OF_OWN {
        let _ =
            writeln!(text, "| `{name}` | {} | {when} | {what} |", mapped[*name]["type"].as_str().unwrap());
    }
    for (heading, fields) in [
        (
            "Summaries\n\nAlerts beyond a rule's `max_signals`, for network outputs: an alert without what differs, with \
             `event.action: summary` and",
            OF_SUMMARIES,
        ),
        ("Suppressed events\n\nWhat `[output.suppressed]` writes: the event, and in it", OF_SUPPRESSED),
    ] {
        let _ = writeln!(text, "\n## {heading}\n\n| field | type | says |\n|---|---|---|");
        for (name, what) in fields {
            let kind = mapped.get(*name).map_or("not indexed", |mapping| mapping["type"].as_str().unwrap());
            let _ = writeln!(text, "| `{name}` | {kind} | {what} |");
        }
    }
    text
}

#[test]
fn the_reference_of_fields_is_current() {
    assert_document_is_current("fields.md", &markdown_reference());
}

#[test]
fn the_reference_has_what_the_sensors_own_documents_have() {
    let found: BTreeSet<String> = own_documents().iter().flat_map(leaves).map(|(name, _)| name).collect();
    let of_events: BTreeSet<_> = Field::ALL.iter().map(|field| field.name()).collect();
    let of_alerts =
        |name: &str| OF_ALERTS.iter().any(|(told, ..)| name.starts_with(told.trim_end_matches('*')));
    let own: BTreeSet<_> = found
        .iter()
        .map(String::as_str)
        .filter(|name| !of_events.contains(name) && !of_alerts(name))
        .collect();
    assert_eq!(own, OF_OWN.iter().map(|(name, ..)| *name).collect());
}

#[test]
fn the_reference_has_what_suppressed_events_and_summaries_have() {
    let suppressed = Suppressed::new(&rule(), document(&event()), "a clause");
    let own = lookup(&suppressed.document, "ldsentry.suppressed").unwrap().as_object().unwrap();
    let names: Vec<_> = own.keys().map(|key| format!("ldsentry.suppressed.{key}")).collect();
    assert_eq!(names, OF_SUPPRESSED.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    let mapped = mapped_fields();
    for (name, _) in OF_SUMMARIES {
        assert!(mapped.contains_key(*name), "{name} is not mapped");
    }
}
