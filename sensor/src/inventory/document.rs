//! A file that is there as an ECS document.

use std::os::unix::fs::MetadataExt as _;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::File;
use crate::ecs::{self, hex, text};
use crate::event::{Device, Host};

/// What the document says beside the file.
#[derive(Debug)]
pub struct Facts<'f> {
    /// The host.
    pub host: &'f Host,
    /// Name of the file's owner.
    pub owner: Option<String>,
    /// Name of its group.
    pub group: Option<String>,
    /// When it was looked at.
    pub now: Timestamp,
}

/// The same for a file that has not changed, in one boot of a host.
fn event_id(file: &File) -> String {
    let metadata = &file.metadata;
    let mut hash = Sha256::new();
    hash.update(&file.path);
    for number in [metadata.dev(), metadata.ino(), metadata.size(), metadata.ctime() as u64] {
        hash.update(number.to_le_bytes());
    }
    hash.update(metadata.ctime_nsec().to_le_bytes());
    format!("inventory-{}", hex(&hash.finalize()[..16]))
}

/// The document.
pub fn document(file: &File, facts: &Facts<'_>) -> Map<String, Value> {
    let Facts { host, now, .. } = facts;
    let document = json!({
        "@timestamp": now.to_string(),
        "message": "ldsentry inventory",
        "event": {
            "kind": "state",
            "category": ["file"],
            "type": ["info"],
            "action": "inventory",
            "outcome": "success",
            "id": event_id(file),
            "created": now.to_string(),
            "module": "ldsentry",
            "dataset": ecs::DATASET,
            "provider": "ldsentry",
        },
        "file": self::file(file, facts),
        "host": {
            "id": host.id,
            "boot": {"id": host.boot_id},
            "name": host.hostname,
            "hostname": host.hostname,
            "architecture": host.architecture,
            "os": {"type": "linux", "kernel": host.kernel},
        },
        "agent": {"type": "ldsentry", "version": env!("CARGO_PKG_VERSION")},
        "ecs": {"version": ecs::ECS_VERSION},
        "data_stream": {"type": "logs", "dataset": ecs::DATASET, "namespace": "default"},
        "ldsentry": own(file),
    });
    let Value::Object(document) = document else { return Map::new() };
    document
}

fn file(file: &File, facts: &Facts<'_>) -> Value {
    let path = String::from_utf8_lossy(&file.path);
    let metadata = &file.metadata;
    let number = metadata.dev();
    let device = Device { major: rustix::fs::major(number), minor: rustix::fs::minor(number) };
    let time = |seconds: i64, nanoseconds: i64| {
        Timestamp::new(seconds, nanoseconds as i32).ok().map(|time| time.to_string())
    };
    let fields = [
        ("path", Some(json!(path))),
        ("name", text::file_name(&path).map(Value::from)),
        ("extension", text::file_name(&path).and_then(text::extension).map(Value::from)),
        ("directory", text::directory(&path).map(Value::from)),
        ("type", text::file_type(metadata.mode()).map(Value::from)),
        ("mode", Some(json!(text::octal(metadata.mode())))),
        ("inode", Some(json!(metadata.ino().to_string()))),
        ("device", Some(json!(text::device(device)))),
        ("size", Some(json!(metadata.size()))),
        ("uid", Some(json!(metadata.uid().to_string()))),
        ("gid", Some(json!(metadata.gid().to_string()))),
        ("owner", facts.owner.clone().map(Value::from)),
        ("group", facts.group.clone().map(Value::from)),
        ("mtime", time(metadata.mtime(), metadata.mtime_nsec()).map(Value::from)),
        ("ctime", time(metadata.ctime(), metadata.ctime_nsec()).map(Value::from)),
        (
            "created",
            metadata
                .created()
                .ok()
                .and_then(|time| Timestamp::try_from(time).ok())
                .map(|time| json!(time.to_string())),
        ),
        (
            "hash",
            file.contents
                .as_ref()
                .and_then(|contents| contents.sha256.as_ref())
                .map(|sha256| json!({"sha256": sha256})),
        ),
        ("target_path", file.target.as_deref().map(|target| json!(String::from_utf8_lossy(target)))),
    ];
    fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect::<Map<_, _>>()
        .into()
}

/// What ECS has no field for. Bytes that are no text are shown as digits too.
fn own(file: &File) -> Value {
    let lossy = |bytes: &[u8]| json!(String::from_utf8_lossy(bytes));
    let raw = |bytes: &[u8]| std::str::from_utf8(bytes).is_err().then(|| json!(hex(bytes)));
    let mut inventory = Map::new();
    if let Some(contents) = &file.contents {
        inventory.insert("head".to_owned(), lossy(&contents.head));
        if let Some(digits) = raw(&contents.head) {
            inventory.insert("raw_head".to_owned(), digits);
        }
    }
    if let Some(path) = &file.named_by {
        inventory.insert("named_by".to_owned(), lossy(path));
    }
    let mut own = json!({"inventory": inventory});
    if let Some(digits) = raw(&file.path) {
        own["file"] = json!({"raw_path": digits});
    }
    own
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt as _;

    use super::super::look;
    use super::*;
    use crate::prefix::Prefix;
    use crate::testing;

    #[test]
    fn a_file_is_told_with_its_owner_times_hash_and_first_bytes() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a.conf"), b"a\xffb").unwrap();
        fs::write(root.path().join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
        let prefixes =
            [("/a.conf", false), ("/", true)].map(|(text, open)| Prefix { text: text.into(), open });
        let inventory = look(&prefixes, root.path());
        assert_eq!(inventory.files.len(), 2);
        let host = testing::event().host;
        let facts =
            Facts { host: &host, owner: Some("root".to_owned()), group: None, now: Timestamp::UNIX_EPOCH };
        let shown = |end: &[u8]| {
            let file = inventory.files.iter().find(|file| file.path.ends_with(end)).unwrap();
            Value::Object(document(file, &facts))
        };
        let document = shown(b".conf");
        assert_eq!(document["event"]["kind"], "state");
        for field in [
            "path", "name", "type", "mode", "inode", "device", "size", "uid", "owner", "mtime", "ctime",
            "hash",
        ] {
            assert!(!document["file"][field].is_null(), "{field} is missing: {document:#}");
        }
        assert_eq!(document["file"]["size"], 3);
        assert_eq!(document["ldsentry"]["inventory"]["head"], "a\u{fffd}b");
        assert_eq!(document["ldsentry"]["inventory"]["raw_head"], "61ff62");
        assert_eq!(shown(b"\xff")["ldsentry"]["file"]["raw_path"], "2fff");
    }

    #[test]
    fn the_id_follows_what_the_file_is() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("a");
        let prefixes = [Prefix { text: b"/a".to_vec(), open: false }];
        let id = || event_id(&look(&prefixes, root.path()).files[0]);
        fs::write(&place, "one").unwrap();
        let first = id();
        assert_eq!(first, id());
        fs::write(&place, "more").unwrap();
        assert_ne!(first, id());
    }
}
