//! An [`Event`] as an ECS document: for queries field by field without building anything, for output as JSON.
//!
//! Both come from the same function, so that an event and its JSON always give the same verdict.

mod about;
mod field;
mod identity;
mod process;
pub(crate) mod text;
mod trust;
mod writer;

use std::borrow::Cow;
use std::cell::OnceCell;

use eql::Value;
use serde_json::{Map, json};
use sha2::Sha256;

pub use self::field::{Field, FieldTable};
pub(crate) use self::identity::{add_parts, identity};
pub use self::process::UNKNOWN;
pub(crate) use self::text::hex;
use self::trust::Doubts;
pub use self::trust::remark;
pub(crate) use self::writer::{Writer, write_escaped, write_value};
use crate::event::{Action, Event, Host, MountOperation, Origin, Outcome, Path, View};

/// The ECS version that the documents follow.
pub const ECS_VERSION: &str = "8.17.0";
/// `event.dataset` and `data_stream.dataset` of events.
pub const DATASET: &str = "ldsentry.file";

/// Which of an event's paths a document is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Candidate<'a> {
    /// Index into the event's `file.paths`.
    pub index: usize,
    /// For a truncated path: a directory in which it could be, with a final `/`. The path is then taken to be there.
    pub assumed_directory: Option<&'a str>,
}

/// An event as rules see it.
pub struct Document<'e> {
    event: &'e Event,
    table: &'e FieldTable,
    candidate: Candidate<'e>,
    path: Cow<'e, str>,
    user_id: OnceCell<Decimal>,
    group_id: OnceCell<Decimal>,
    doubts: OnceCell<Doubts>,
    /// What ids of processes are made from, as far as all have it in common.
    processes: OnceCell<Sha256>,
    /// Values that have to be made, by field. Rules seldom ask for them.
    made: OnceCell<Box<[OnceCell<Made>]>>,
}

enum Made {
    Text(String),
    List(Vec<String>),
    Names(Vec<&'static str>),
}

impl<'e> Document<'e> {
    /// `event` seen with one of its paths. `table` translates the field numbers of the queries that will ask.
    pub fn new(event: &'e Event, table: &'e FieldTable, candidate: Candidate<'e>) -> Self {
        let tail = event.file.paths.get(candidate.index).map_or("", |path| path.text.as_str());
        let path = match candidate.assumed_directory {
            Some(directory) => Cow::Owned(format!("{directory}{tail}")),
            None => Cow::Borrowed(tail),
        };
        Self {
            event,
            table,
            candidate,
            path,
            user_id: OnceCell::new(),
            group_id: OnceCell::new(),
            doubts: OnceCell::new(),
            processes: OnceCell::new(),
            made: OnceCell::new(),
        }
    }

    /// The whole document as JSON.
    pub fn to_json(&self) -> Map<String, serde_json::Value> {
        let mut document = Map::new();
        for field in Field::ALL {
            if let Some(value) = json(self.get(*field)) {
                insert(&mut document, field.name(), value);
            }
        }
        document
    }

    /// The value of a field.
    pub fn get(&self, field: Field) -> Value<'_> {
        let event = self.event;
        let host = &*event.host;
        if let Some(value) = constant_field(event.action, field) {
            return value;
        }
        match field {
            Field::Timestamp | Field::EventCreated => self.text(Field::Timestamp, || event.time.to_string()),
            Field::EventOutcome => Value::String(match event.outcome {
                Outcome::Success => "success",
                Outcome::Failure => "failure",
                Outcome::Unknown => "unknown",
            }),
            Field::EventId => self.text(field, || event.id.to_string()),
            Field::EventSequence => integer(event.id.sequence),
            Field::UserId => event.process.user.as_ref().map_or(Value::Missing, |user| {
                Value::String(self.user_id.get_or_init(|| Decimal::new(user.id)).as_str())
            }),
            Field::UserName => optional(event.process.user.as_ref().and_then(|user| user.name.as_deref())),
            Field::GroupId => event.process.group.as_ref().map_or(Value::Missing, |group| {
                Value::String(self.group_id.get_or_init(|| Decimal::new(group.id)).as_str())
            }),
            Field::GroupName => {
                optional(event.process.group.as_ref().and_then(|group| group.name.as_deref()))
            }
            Field::HostId => known(&host.id),
            Field::HostBootId => known(&host.boot_id),
            Field::HostName | Field::HostHostname => known(&host.hostname),
            Field::HostArchitecture => known(&host.architecture),
            Field::HostOsKernel => known(&host.kernel),
            Field::HostOsPlatform => optional(host.os_platform.as_deref()),
            Field::HostOsFamily => optional(host.os_family.as_deref()),
            Field::HostOsName | Field::HostOsVariant => optional(host.os_name.as_deref()),
            Field::HostOsVersion => optional(host.os_version.as_deref()),
            Field::HostOsFull => optional(host.os_full.as_deref()),
            Field::AgentId => self.text(field, || identity(&["agent", &host.id])),
            Field::OwnOrigin => Value::String(match event.origin {
                Origin::Hook => "hook",
                Origin::Notification => "notification",
                Origin::DirectoryRename => "directory_rename",
                Origin::DirectoryLink => "directory_link",
                Origin::Rescan => "rescan",
            }),
            _ => self.file(field).unwrap_or_else(|| self.process(field)),
        }
    }

    fn file(&self, field: Field) -> Option<Value<'_>> {
        let file = &self.event.file;
        let path = file.paths.get(self.candidate.index);
        let original = file.original_paths.get(self.candidate.index).or(file.original_paths.first());
        let mount = file.mount.as_ref();
        let source = mount.and_then(|mount| mount.source.as_ref());
        let original_name = original.and_then(|path| text::file_name(&path.text));
        Some(match field {
            Field::FilePath => known(&self.path),
            Field::FileName => optional(text::file_name(&self.path)),
            Field::FileExtension => optional(text::file_name(&self.path).and_then(text::extension)),
            Field::FileDirectory => optional(text::directory(&self.path)),
            Field::FileType => optional(file.mode.and_then(text::file_type)),
            Field::FileMode => {
                file.mode.map_or(Value::Missing, |mode| self.text(field, || text::octal(mode)))
            }
            Field::FileInode => {
                file.inode.map_or(Value::Missing, |inode| self.text(field, || inode.to_string()))
            }
            Field::FileDevice => self.text(field, || text::device(file.device)),
            Field::FileTargetPath => optional(file.target.as_ref().map(|target| target.text.as_str())),
            Field::FileOriginalPath => optional(original.map(|path| path.text.as_str())),
            Field::FileOriginalName => optional(original_name),
            Field::FileOriginalExtension => optional(original_name.and_then(text::extension)),
            Field::OwnFileView => optional(path.map(|path| view(path.view))),
            Field::OwnFileTruncated => flag(path.is_some_and(|path| path.truncated)),
            Field::OwnFileAssumedDirectory => optional(self.candidate.assumed_directory),
            Field::OwnFileRawPath => self.raw(field, path),
            Field::OwnFilePathsProcess => self.paths(field, View::Process),
            Field::OwnFilePathsHost => self.paths(field, View::Host),
            Field::OwnFilePathsOther => self.paths(field, View::Other),
            Field::OwnFileOriginalTruncated => flag(original.is_some_and(|path| path.truncated)),
            Field::OwnFileOriginalRawPath => self.raw(field, original),
            Field::OwnFileLinkedPath => optional(file.linked.as_ref().map(|path| path.text.as_str())),
            Field::OwnFileRawTargetPath => {
                self.bytes(field, file.target.as_ref().and_then(|target| target.raw.as_ref()))
            }
            Field::OwnFileRawLinkedPath => self.raw(field, file.linked.as_ref()),
            Field::OwnFileSystem => optional(file.file_system.as_deref()),
            Field::OwnMountOperation => optional(mount.map(|mount| operation(mount.operation))),
            Field::OwnMountSource => optional(source.map(|source| source.text.as_str())),
            Field::OwnMountRawSource => self.bytes(field, source.and_then(|source| source.raw.as_ref())),
            Field::OwnMountFileSystem => optional(mount.and_then(|mount| mount.file_system.as_deref())),
            _ => return None,
        })
    }

    /// The paths in one view, if there are several paths.
    fn paths(&self, field: Field, view: View) -> Value<'_> {
        let paths = &self.event.file.paths;
        if paths.len() < 2 {
            return Value::Missing;
        }
        self.list(field, || {
            paths.iter().filter(|path| path.view == view).map(|path| path.text.clone()).collect()
        })
    }

    fn raw(&self, field: Field, path: Option<&Path>) -> Value<'_> {
        self.bytes(field, path.and_then(|path| path.raw.as_ref()))
    }

    fn bytes(&self, field: Field, bytes: Option<&Vec<u8>>) -> Value<'_> {
        match bytes {
            Some(bytes) => self.text(field, || hex(bytes)),
            None => Value::Missing,
        }
    }

    fn text(&self, field: Field, make: impl FnOnce() -> String) -> Value<'_> {
        match self.cell(field).map(|cell| cell.get_or_init(|| Made::Text(make()))) {
            Some(Made::Text(text)) => Value::String(text),
            _ => Value::Missing,
        }
    }

    fn list(&self, field: Field, make: impl FnOnce() -> Vec<String>) -> Value<'_> {
        match self.cell(field).map(|cell| cell.get_or_init(|| Made::List(make()))) {
            Some(Made::List(list)) => Value::Array(list),
            _ => Value::Missing,
        }
    }

    fn names(&self, field: Field, make: impl FnOnce() -> Vec<&'static str>) -> Value<'_> {
        match self.cell(field).map(|cell| cell.get_or_init(|| Made::Names(make()))) {
            Some(Made::Names(names)) => Value::Array(names),
            _ => Value::Missing,
        }
    }

    fn cell(&self, field: Field) -> Option<&OnceCell<Made>> {
        let cells = self.made.get_or_init(|| Field::ALL.iter().map(|_| OnceCell::new()).collect());
        cells.get(field as usize)
    }
}

impl eql::Document for Document<'_> {
    fn field(&self, id: eql::FieldId) -> Value<'_> {
        self.table.get(id).map_or(Value::Missing, |field| self.get(field))
    }
}

/// The actions that the sensor reports.
pub const ACTIONS: &[Action] =
    &[Action::Creation, Action::Rename, Action::Modification, Action::Deletion, Action::Mount];

/// The value of a field that has the same in all events of an action: `Missing` of one that is never filled.
pub fn constant(action: Action, field: &str) -> Option<Value<'static>> {
    Field::from_name(field).map_or(Some(Value::Missing), |field| constant_field(action, field))
}

fn constant_field(action: Action, field: Field) -> Option<Value<'static>> {
    Some(match field {
        Field::Message => Value::String("ldsentry file event"),
        Field::EventKind => Value::String("event"),
        Field::EventCategory => Value::Array(&["file"]),
        Field::EventType => Value::Array(event_type(action)),
        Field::EventAction => Value::String(self::action(action)),
        Field::EventModule | Field::EventProvider | Field::AgentType => Value::String("ldsentry"),
        Field::EventDataset | Field::DataStreamDataset => Value::String(DATASET),
        Field::HostOsType => Value::String("linux"),
        Field::AgentVersion => Value::String(env!("CARGO_PKG_VERSION")),
        Field::EcsVersion => Value::String(ECS_VERSION),
        Field::DataStreamType => Value::String("logs"),
        Field::DataStreamNamespace => Value::String("default"),
        _ => return None,
    })
}

/// `event.action`.
pub fn action(action: Action) -> &'static str {
    match action {
        Action::Creation => "creation",
        Action::Rename => "rename",
        Action::Modification => "modification",
        Action::Deletion => "deletion",
        Action::Mount => "mount",
    }
}

/// `event.type`.
pub fn event_type(action: Action) -> &'static [&'static str; 1] {
    match action {
        Action::Creation => &["creation"],
        Action::Rename | Action::Modification | Action::Mount => &["change"],
        Action::Deletion => &["deletion"],
    }
}

fn operation(operation: MountOperation) -> &'static str {
    match operation {
        MountOperation::Mount => "mount",
        MountOperation::Bind => "bind",
        MountOperation::Move => "move",
        MountOperation::Unmount => "unmount",
        MountOperation::PivotRoot => "pivot_root",
    }
}

fn view(view: View) -> &'static str {
    match view {
        View::Process => "process",
        View::Host => "host",
        View::Other => "other",
    }
}

/// The host, in documents that the sensor makes about itself.
pub(crate) fn host(host: &Host) -> serde_json::Value {
    json!({
        "id": host.id,
        "name": host.hostname,
        "hostname": host.hostname,
        "boot": {"id": host.boot_id},
        "os": {"type": "linux"},
    })
}

fn known(text: &str) -> Value<'_> {
    if text.is_empty() { Value::Missing } else { Value::String(text) }
}

fn optional(text: Option<&str>) -> Value<'_> {
    text.map_or(Value::Missing, known)
}

fn integer(number: u64) -> Value<'static> {
    i64::try_from(number).map_or(Value::Missing, Value::Integer)
}

/// 0 stands for what is not known.
fn nonzero(number: u64) -> Value<'static> {
    if number == 0 { Value::Missing } else { integer(number) }
}

/// What is not so is left out.
fn flag(truth: bool) -> Value<'static> {
    if truth { Value::Bool(true) } else { Value::Missing }
}

/// A number as the text that ECS wants for ids, without allocating.
struct Decimal {
    digits: [u8; 10],
    first: u8,
}

impl Decimal {
    fn new(mut number: u32) -> Self {
        let mut digits = [b'0'; 10];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return Self { digits, first: first as u8 };
            }
        }
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.digits[usize::from(self.first)..]).unwrap_or_default()
    }
}

/// A query's value as JSON; nothing for a missing one.
fn json(value: Value<'_>) -> Option<serde_json::Value> {
    Some(match value {
        Value::Missing => return None,
        Value::Bool(truth) => truth.into(),
        Value::Integer(number) => number.into(),
        Value::Float(number) => number.into(),
        Value::String(text) => text.into(),
        Value::Array(array) if array.is_empty() => return None,
        Value::Array(array) => (0..array.len()).filter_map(|index| json(array.get(index))).collect(),
    })
}

/// Puts `value` at `name`, whose dots are levels.
fn insert(document: &mut Map<String, serde_json::Value>, name: &str, value: serde_json::Value) {
    match name.split_once('.') {
        None => {
            document.insert(name.to_owned(), value);
        }
        Some((parent, rest)) => {
            let parent = document.entry(parent).or_insert_with(|| Map::new().into());
            if let Some(parent) = parent.as_object_mut() {
                insert(parent, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
