//! Reading and changing documents in which a field may be nested, dotted, or both (`{"file.Ext": {"original": …}}`).

use serde_json::{Map, Value};

use crate::rule::parse_interval;

/// The value of the field `name`, however its levels are written.
pub fn lookup<'d>(document: &'d Map<String, Value>, name: &str) -> Option<&'d Value> {
    if let Some(value) = document.get(name) {
        return Some(value);
    }
    name.match_indices('.').find_map(|(dot, _)| {
        let below = document.get(&name[..dot])?.as_object()?;
        lookup(below, &name[dot + 1..])
    })
}

/// The interval of the rule that an alert is of.
pub(crate) fn rule_interval(alert: &Map<String, Value>) -> Option<std::time::Duration> {
    parse_interval(text(alert, "kibana.alert.rule.interval")?)
}

/// The text of the field `name`: the first one, if it has several values.
pub(super) fn text<'d>(document: &'d Map<String, Value>, name: &str) -> Option<&'d str> {
    let value = lookup(document, name)?;
    value.as_str().or_else(|| value.as_array()?.first()?.as_str()).filter(|text| !text.is_empty())
}

/// All texts of the field `name`.
pub(super) fn texts<'d>(document: &'d Map<String, Value>, name: &str) -> Vec<&'d str> {
    match lookup(document, name) {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// All fields below `name`, with dots between the levels.
pub(super) fn flatten(document: &Map<String, Value>, name: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (key, value) in document {
        let below = if key == name {
            Some("")
        } else {
            key.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'))
        };
        if let Some(prefix) = below {
            collect(prefix, value, &mut found);
        }
    }
    found
}

fn collect(prefix: &str, value: &Value, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                collect(&name, value, found);
            }
        }
        _ => found.push((prefix.to_owned(), value.clone())),
    }
}

/// Removes the field `name` and all below it, however its levels are written.
pub(super) fn remove(document: &mut Map<String, Value>, name: &str) {
    let below = format!("{name}.");
    document.retain(|key, _| key != name && !key.starts_with(&below));
    for (dot, _) in name.match_indices('.') {
        if let Some(map) = document.get_mut(&name[..dot]).and_then(Value::as_object_mut) {
            remove(map, &name[dot + 1..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{flatten, lookup, remove};

    fn document(value: Value) -> serde_json::Map<String, Value> {
        match value {
            Value::Object(map) => map,
            _ => panic!("not an object"),
        }
    }

    #[test]
    fn dotted_and_nested_are_the_same_field() {
        for written in [
            json!({"file": {"Ext": {"original": {"path": "/a"}}}}),
            json!({"file.Ext.original.path": "/a"}),
            json!({"file.Ext": {"original.path": "/a"}}),
            json!({"file": {"name": "b"}, "file.Ext.original": {"path": "/a"}}),
        ] {
            let mut document = document(written);
            assert_eq!(lookup(&document, "file.Ext.original.path"), Some(&json!("/a")));
            assert_eq!(lookup(&document, "file.Ext.original.pat"), None);
            let fields = flatten(&document, "file");
            assert!(fields.contains(&("Ext.original.path".to_owned(), json!("/a"))), "{fields:?}");
            remove(&mut document, "file.Ext.original");
            assert_eq!(lookup(&document, "file.Ext.original.path"), None);
        }
    }
}
