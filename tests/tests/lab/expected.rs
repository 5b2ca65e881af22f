//! Alerts that many scenarios expect.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// The attack program created a file.
pub(crate) fn created(path: &str) -> Value {
    json!({
        "event.action": "creation",
        "event.outcome": "success",
        "file.path": path,
        "file.Ext.original.path": null,
        "process.executable": "/lab/bin/attack",
        "process.pid": "$pid",
    })
}

/// The attack program renamed a file.
pub(crate) fn renamed(from: &str, to: &str) -> Value {
    json!({
        "event.action": "rename",
        "event.outcome": "success",
        "file.path": to,
        "file.Ext.original.path": from,
        "process.executable": "/lab/bin/attack",
        "process.pid": "$pid",
    })
}

/// The attack program changed a file.
pub(crate) fn modified(path: &str) -> Value {
    json!({
        "event.action": "modification",
        "event.type": ["change"],
        "event.outcome": "success",
        "file.path": path,
        "process.executable": "/lab/bin/attack",
        "process.pid": "$pid",
    })
}

/// A file's name went.
pub(crate) fn deleted(path: &str) -> Value {
    json!({
        "event.action": "deletion",
        "event.type": ["deletion"],
        "event.outcome": "success",
        "file.path": path,
    })
}

/// Something was done to the mounts at a path.
pub(crate) fn mounted(path: &str, operation: &str) -> Value {
    json!({
        "event.action": "mount",
        "event.type": ["change"],
        "event.outcome": "success",
        "file.path": path,
        "ldsentry.mount.operation": operation,
    })
}

/// `touch` created a file to start from.
pub(crate) fn touched(path: &str) -> Value {
    json!({
        "event.action": "creation",
        "event.outcome": "success",
        "file.path": path,
        "process.executable": "/usr/bin/touch",
    })
}

/// The same alert, with other values for some fields.
pub(crate) fn with(mut alert: Value, fields: Value) -> Value {
    if let (Some(alert), Value::Object(fields)) = (alert.as_object_mut(), fields) {
        alert.extend(fields);
    }
    alert
}

/// Bytes as hexadecimal digits, as alerts have those that are not UTF-8.
pub(crate) fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").ok();
        digits
    })
}
