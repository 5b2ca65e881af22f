//! An alert as its line of JSON, written at once. What is the same in all alerts of a rule is text already.

use std::fmt::Write as _;

use eql::Value;
use jiff::Timestamp;
use serde_json::Map;

use super::{Alert, DATASET, document::text, hash, not_trusted, rule_fields, state_fields};
use crate::ecs::{self, Document, Field, Writer, write_escaped, write_value};
use crate::rule::Rule;

/// Bytes of an event's document, most of the time.
const USUAL: usize = 6 << 10;

/// What is the same in all alerts of a rule.
#[derive(Debug)]
pub struct Template {
    rule_id: String,
    version: String,
    /// From `kibana.alert.status` to the beginning of `kibana.alert.reason`.
    graded: String,
    /// The end of `kibana.alert.reason`.
    reason: String,
    /// From within `kibana.alert.ancestors` to the end of the line, which is in it.
    rule: String,
}

/// An alert, ready to be delivered, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `_id`, as that of an [`Alert`].
    pub id: String,
    /// The document, with a line end: who writes it need not copy it.
    text: String,
}

impl Template {
    /// That of `rule`.
    pub fn new(rule: &Rule) -> Self {
        // Writing to a string cannot fail.
        let (mut graded, mut fields) = (String::new(), String::new());
        for (key, value) in state_fields(rule) {
            let _ = write!(graded, ",\"kibana.alert.{key}\":{value}");
        }
        graded.push_str(r#","kibana.alert.reason":""#);
        for (key, value) in rule_fields(rule) {
            let _ = write!(fields, ",\"kibana.alert.rule.{key}\":{value}");
        }
        let severity = rule.severity.as_str();
        let mut reason = String::new();
        write_escaped(&mut reason, &format!(" created {severity} alert {}.", rule.name));
        Self {
            rule_id: rule.id.clone(),
            version: rule.version.to_string(),
            graded,
            reason,
            rule: format!(
                r#","type":"event","index":"logs-{}-default","depth":0}}]{fields},"kibana.space_ids":["default"]}}{}"#,
                ecs::DATASET,
                '\n'
            ),
        }
    }

    /// The alert about an event, at `now`: the same as [`Alert::new`] makes of the document.
    pub fn alert(
        &self,
        document: &Document<'_>,
        decided_by: &str,
        not_honoured: Option<&str>,
        now: Timestamp,
    ) -> Line {
        let now = now.to_string();
        let mut writer = Writer::new(USUAL + self.graded.len() + self.rule.len());
        for &field in Field::ALL {
            let value = match field {
                Field::Timestamp => Value::String(&now),
                Field::EventKind => Value::String("signal"),
                Field::DataStreamType | Field::DataStreamDataset | Field::DataStreamNamespace => continue,
                _ => document.get(field),
            };
            writer.add(field, value);
        }
        writer.add_other("ldsentry.decided_by", Value::String(decided_by));
        if let Some(clause) = not_honoured {
            let doubts = texts(document, Field::OwnExecutableUntrusted);
            writer.add_other("ldsentry.not_honoured.clause", Value::String(clause));
            writer.add_other("ldsentry.not_honoured.reason", Value::String(&not_trusted(doubts)));
        }
        writer.add(Field::DataStreamType, document.get(Field::DataStreamType));
        writer.add(Field::DataStreamDataset, Value::String(DATASET));
        writer.add(Field::DataStreamNamespace, document.get(Field::DataStreamNamespace));
        let mut text = writer.into_text();

        let [host, boot, event] =
            [Field::HostId, Field::HostBootId, Field::EventId].map(|field| string(document, field));
        let id = hash([host, boot, event, &self.rule_id, &self.version]);
        text.push_str(r#","kibana.alert.uuid":""#);
        text.push_str(&id);
        text.push('"');
        text.push_str(&self.graded);
        self.write_reason(&mut text, document);
        text.push_str(r#"","kibana.alert.start":""#);
        text.push_str(&now);
        text.push_str(r#"","kibana.alert.original_time":"#);
        write_value(&mut text, document.get(Field::Timestamp));
        for (&field, name) in
            Field::ALL.iter().filter_map(|field| Some((field, field.name().strip_prefix("event.")?)))
        {
            match document.get(field) {
                Value::Missing => {}
                value => {
                    text.push_str(",\"kibana.alert.original_event.");
                    text.push_str(name);
                    text.push_str("\":");
                    write_value(&mut text, value);
                }
            }
        }
        text.push_str(r#","kibana.alert.ancestors":[{"id":"#);
        write_value(&mut text, document.get(Field::EventId));
        text.push_str(&self.rule);
        Line { id, text }
    }

    fn write_reason(&self, text: &mut String, document: &Document<'_>) {
        for (number, category) in texts(document, Field::EventCategory).enumerate() {
            if number > 0 {
                text.push(',');
            }
            write_escaped(text, category);
        }
        text.push_str(" event");
        let mut joint = " with";
        for (what, field) in [(" process ", Field::ProcessName), (" file ", Field::FileName)] {
            let name = string(document, field);
            if !name.is_empty() {
                text.push_str(joint);
                text.push_str(what);
                write_escaped(text, name);
                text.push(',');
                joint = "";
            }
        }
        for (preposition, field) in [(" by ", Field::UserName), (" on ", Field::HostName)] {
            let name = string(document, field);
            if !name.is_empty() {
                text.push_str(preposition);
                write_escaped(text, name);
            }
        }
        text.push_str(&self.reason);
    }
}

impl Line {
    /// The document, without a line end.
    pub fn text(&self) -> &str {
        self.text.trim_end_matches('\n')
    }

    /// The document as a line.
    pub fn ended(&self) -> &str {
        &self.text
    }

    /// The alert for a person at a terminal, as [`Alert::to_pretty`].
    pub fn to_pretty(&self, color: bool) -> String {
        // It was written as JSON.
        let document: Map<String, serde_json::Value> = serde_json::from_str(&self.text).unwrap_or_default();
        let rule_id = text(&document, "kibana.alert.rule.rule_id").unwrap_or_default().to_owned();
        Alert { id: self.id.clone(), rule_id, document }.to_pretty(color)
    }
}

/// The text of a field that has one, empty if it is missing.
fn string<'d>(document: &'d Document<'_>, field: Field) -> &'d str {
    match document.get(field) {
        Value::String(text) => text,
        _ => "",
    }
}

/// The texts of a field that has several.
fn texts<'d>(document: &'d Document<'_>, field: Field) -> impl Iterator<Item = &'d str> {
    let array = match document.get(field) {
        Value::Array(array) => Some(array),
        _ => None,
    };
    array.into_iter().flat_map(|array| (0..array.len()).map(|index| array.get(index))).filter_map(|value| {
        match value {
            Value::String(text) => Some(text),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::alert::Source;
    use crate::ecs::{ACTIONS, Candidate, FieldTable};
    use crate::event::{
        Container, ContainerNames, Device, Event, Executable, Layer, Mount, MountOperation, Origin, Outcome,
        Runtime, Text, View,
    };
    use crate::rule::RuleSet;
    use crate::testing::{event, path};

    /// What somebody else chose: anything at all, often with what JSON escapes, and sometimes nothing.
    fn foreign() -> impl Strategy<Value = String> {
        prop_oneof!["[/a-c.]{0,12}", "[\\x00-\\x7f\u{80}-\u{a0}☃]{0,12}"]
    }

    fn raw() -> impl Strategy<Value = Option<Vec<u8>>> {
        prop::option::of(prop::collection::vec(any::<u8>(), 1..4))
    }

    fn executables() -> impl Strategy<Value = Executable> {
        let layer = prop::option::of(prop::sample::select(vec![Layer::Lower, Layer::Upper, Layer::Unknown]));
        let file = (foreign(), raw(), any::<[bool; 3]>(), any::<[u32; 4]>(), layer);
        prop_oneof![
            Just(Executable::KernelThread),
            Just(Executable::Unknown),
            file.prop_map(|(text, raw, [truncated, deleted, memfd], [uid, gid, mode, links], layer)| {
                let Executable::File(mut file) = crate::testing::executable(&text) else { unreachable!() };
                (file.path.raw, file.path.truncated) = (raw, truncated);
                (file.deleted, file.memfd, file.layer) = (deleted, memfd, layer);
                (file.uid, file.gid, file.mode, file.links) = (uid, gid, mode, links);
                Executable::File(file)
            }),
        ]
    }

    prop_compose! {
        fn files()(
            paths in prop::collection::vec((foreign(), raw(), any::<bool>(), views()), 1..4),
            originals in prop::collection::vec((foreign(), raw(), any::<bool>(), views()), 0..3),
            (mode, inode, device) in any::<(Option<u32>, Option<u64>, (u32, u32))>(),
            (file_system, target, target_raw) in (prop::option::of(foreign()), prop::option::of(foreign()), raw()),
            (operation, source) in (prop::option::of(operations()), prop::option::of(foreign())),
        ) -> crate::event::File {
            let path = |(text, raw, truncated, view): &(String, Option<Vec<u8>>, bool, View)| {
                crate::event::Path { raw: raw.clone(), truncated: *truncated, view: *view, ..path(text) }
            };
            crate::event::File {
                paths: paths.iter().map(path).collect(),
                original_paths: originals.iter().map(path).collect(),
                mode,
                device: Device { major: device.0, minor: device.1 },
                inode,
                target: target.map(|text| Text { text, raw: target_raw.clone() }),
                linked: originals.last().map(path),
                mount: operation.map(|operation| Mount {
                    operation,
                    source: source.map(|text| Text { text, raw: target_raw }),
                    file_system: file_system.clone(),
                }),
                file_system,
            }
        }
    }

    fn views() -> impl Strategy<Value = View> {
        prop::sample::select(vec![View::Process, View::Host, View::Other])
    }

    fn operations() -> impl Strategy<Value = MountOperation> {
        prop::sample::select(vec![MountOperation::Mount, MountOperation::Unmount])
    }

    fn containers() -> impl Strategy<Value = Container> {
        let names = prop::collection::vec(prop::option::of(foreign()), 5);
        (foreign(), names, any::<bool>()).prop_map(|(id, mut names, known)| Container {
            id,
            runtime: known.then_some(Runtime::Docker),
            pod_uid: names.remove(4),
            names: ContainerNames {
                pod: names.remove(3),
                namespace: names.remove(2),
                image: names.remove(1),
                container: names.remove(0),
            },
        })
    }

    prop_compose! {
        fn events()(
            file in files(),
            executables in prop::collection::vec(executables(), 1..4),
            (args, thread, raws) in (prop::collection::vec(foreign(), 0..3), foreign(), (raw(), raw())),
            (user, cgroup, container) in
                (prop::option::of(foreign()), prop::option::of(foreign()), prop::option::of(containers())),
            numbers in any::<(u32, u64, u64, u64)>(),
            [known, host_namespace, truncated, login] in any::<[Option<bool>; 4]>(),
            action in prop::sample::select(ACTIONS.to_vec()),
            outcome in prop::sample::select(vec![Outcome::Success, Outcome::Failure, Outcome::Unknown]),
            origin in prop::sample::select(vec![Origin::Hook, Origin::Notification, Origin::DirectoryRename]),
            host in prop::option::of(foreign()),
        ) -> Event {
            let mut event = event();
            (event.file, event.action, event.outcome, event.origin) = (file, action, outcome, origin);
            event.id.sequence = numbers.1;
            event.id.part = numbers.0 as u16 % 2;
            event.ancestors = executables[1..].iter().map(|executable| {
                crate::event::Ancestor { executable: executable.clone(), ..event.ancestors[0].clone() }
            }).collect();
            let process = &mut event.process;
            process.executable = executables[0].clone();
            (process.args, process.thread_name) = (args, Text { text: thread, raw: raws.0 });
            (process.raw_command_line, process.args_truncated) = (raws.1, truncated.is_some());
            (process.cgroup, process.container) = (cgroup, container);
            (process.pid, process.start_boot_ns, process.capabilities) = (numbers.0, numbers.2, numbers.3);
            (process.in_host_mount_namespace, process.cgroup_id) = (host_namespace, numbers.2 % 2);
            if known.is_none() {
                (process.group, process.start, process.tid) = (None, None, 0);
            }
            if login.is_none() {
                (process.login_user, process.session_id) = (None, None);
            }
            match user {
                None => process.user = None,
                Some(name) => process.user.as_mut().unwrap().name = Some(name).filter(|name| name != "a"),
            }
            if let Some(text) = host {
                let host = std::sync::Arc::make_mut(&mut event.host);
                (host.hostname, host.id) = (text.clone(), text.clone());
                host.os_name = Some(text);
            }
            event
        }
    }

    proptest! {
        /// Whatever the event: the line is that of the tree of values.
        #[test]
        fn the_line_is_what_the_document_gives(
            event in events(),
            rule in 0..RuleSet::builtin().rules.len(),
            name in foreign(),
            decided_by in foreign(),
            not_honoured in prop::option::of(foreign()),
            assumed in any::<bool>(),
            index in 0..3_usize,
        ) {
            let mut rule = RuleSet::builtin().rules.remove(rule);
            rule.name = name;
            let candidate = Candidate {
                index: index % event.file.paths.len(),
                assumed_directory: assumed.then_some("/etc/"),
            };
            let now = "2026-11-23T09:15:00.5Z".parse().unwrap();
            let table = FieldTable::default();
            let document = || Document::new(&event, &table, candidate);
            let source = Source {
                document: document().to_json(),
                id: None,
                index: None,
                decided_by: &decided_by,
                not_honoured: not_honoured.as_deref(),
            };
            let alert = Alert::new(&rule, source, now);
            let line = Template::new(&rule).alert(&document(), &decided_by, not_honoured.as_deref(), now);
            prop_assert_eq!(line.text(), alert.to_line());
            prop_assert_eq!(line.ended(), alert.to_line() + "\n");
            prop_assert_eq!(&line.id, &alert.id);
            prop_assert_eq!(line.to_pretty(true), alert.to_pretty(true));
        }
    }
}
