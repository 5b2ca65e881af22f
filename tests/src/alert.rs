//! Comparing alert documents with what a scenario says of them.

use std::collections::BTreeMap;

use serde_json::Value;

/// Finds a field by its dotted name, however the document nests it.
pub fn lookup<'a>(document: &'a Value, field: &str) -> Option<&'a Value> {
    let object = document.as_object()?;
    if let Some(found) = object.get(field) {
        return Some(found);
    }
    field.match_indices('.').find_map(|(dot, _)| lookup(object.get(&field[..dot])?, &field[dot + 1..]))
}

/// What is wrong with an alert, a line each.
pub fn compare(expected: &Value, alert: &Value, facts: &BTreeMap<String, String>) -> Vec<String> {
    let Some(fields) = expected.as_object() else {
        return vec![format!("`{expected}` is no object of fields")];
    };
    fields.iter().filter_map(|(field, expected)| compare_field(field, expected, alert, facts)).collect()
}

fn compare_field(
    field: &str,
    expected: &Value,
    alert: &Value,
    facts: &BTreeMap<String, String>,
) -> Option<String> {
    let found = lookup(alert, field).filter(|found| !found.is_null());
    let shown = found.map_or_else(|| "missing".to_owned(), Value::to_string);
    if let Some(name) = expected.as_str().and_then(|text| text.strip_prefix('$')) {
        let Some(fact) = facts.get(name) else { return Some(format!("the script did not print {name}=…")) };
        // A number in the document is text in the script's output.
        let text = found.map(|found| found.as_str().map_or_else(|| found.to_string(), str::to_owned));
        let same = text.as_ref() == Some(fact);
        return (!same).then(|| format!("{field} is {shown}, not {fact} (the script's {name})"));
    }
    let same = match found {
        None => expected.is_null(),
        Some(found) => found == expected,
    };
    (!same).then(|| format!("{field} is {shown}, not {expected}"))
}

/// The fields by which a person tells alerts apart.
pub(crate) fn summary(alert: &Value) -> String {
    let fields = [
        "event.action",
        "event.outcome",
        "file.path",
        "file.Ext.original.path",
        "process.executable",
        "process.pid",
        "process.command_line",
    ];
    let shown = fields.iter().filter_map(|field| Some(format!("{field}={}", lookup(alert, field)?)));
    format!("  {}", shown.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_found_nested_flat_and_in_between() {
        for document in [json!({"a": {"b": {"c": 1}}}), json!({"a.b.c": 1}), json!({"a.b": {"c": 1}})] {
            assert_eq!(lookup(&document, "a.b.c"), Some(&json!(1)), "{document}");
        }
        assert_eq!(lookup(&json!({"a": {"b": 1}}), "a.c"), None);
    }

    #[test]
    fn a_difference_is_a_complaint() {
        let facts = BTreeMap::from([("pid".to_owned(), "7".to_owned())]);
        let alert = json!({"process": {"pid": 7}, "file.path": "/etc/x"});
        assert!(
            compare(&json!({"process.pid": "$pid", "file.path": "/etc/x", "gone": null}), &alert, &facts)
                .is_empty()
        );
        for wrong in [
            json!({"process.pid": 8}),
            json!({"file.path": null}),
            json!({"file.path": "$pid"}),
            json!({"process.pid": "$tid"}),
            json!({"gone": 1}),
        ] {
            assert_eq!(compare(&wrong, &alert, &facts).len(), 1, "{wrong}");
        }
    }
}
