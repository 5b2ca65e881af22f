//! The configuration's JSON schema, and the reference for people that is made from it.

use std::fmt::Write;

use schemars::Schema;
use schemars::generate::SchemaSettings;
use serde_json::Value as Json;

use super::check::choices;
use super::options::Options;

/// The JSON schema of the configuration file, as text: docs/config.schema.json.
pub fn json_schema() -> String {
    // A schema is a JSON value, which always has a text.
    serde_json::to_string_pretty(&schema()).unwrap_or_default() + "\n"
}

/// The JSON schema of the configuration file.
pub(super) fn schema() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Options>();
    schema.insert("title".to_owned(), "ldsentry configuration".into());
    schema
}

/// docs/config.md.
pub fn markdown_reference() -> String {
    let schema = schema();
    let schema = schema.as_value();
    let mut text = format!(
        "# Configuration\n\n\
         <!-- Generated from sensor/src/config/options.rs; `UPDATE_DOCS=1 cargo test -p sensor` writes it anew. -->\n\n\
         {} The file is `{}` or the one that `--config` names; without it, the defaults below hold. \
         Unknown keys are errors. `ldsentry config show` prints the configuration in force, \
         `ldsentry config schema` the JSON schema for editors.\n",
        description(schema),
        super::DEFAULT_PATH,
    );
    section(&mut text, schema, "");
    text
}

/// Writes a table of the plain keys of `schema`, then a section for each table beneath it.
fn section(text: &mut String, schema: &Json, path: &str) {
    let Some(properties) = schema["properties"].as_object() else { return };
    let is_table =
        |property: &Json| property["properties"].is_object() || property["items"]["properties"].is_object();
    let required: Vec<_> =
        schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();

    let keys: Vec<_> = properties.iter().filter(|(_, property)| !is_table(property)).collect();
    if !keys.is_empty() {
        push(text, "\n| key | type | default | meaning |\n|---|---|---|---|\n");
    }
    for (key, property) in keys {
        let default = match &property["default"] {
            _ if required.contains(&key.as_str()) => "required".to_owned(),
            Json::Null => "none".to_owned(),
            default => format!("`{default}`"),
        };
        push(text, &format!("| `{key}` | {} | {default} | {} |\n", type_name(property), meaning(property)));
    }

    for (key, property) in properties.iter().filter(|(_, property)| is_table(property)) {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let (heading, table) = if property["items"].is_object() {
            (format!("[[{path}]]"), &property["items"])
        } else {
            (format!("[{path}]"), property)
        };
        push(text, &format!("\n## `{heading}`\n\n{}\n", description(table)));
        section(text, table, &path);
    }
}

fn meaning(property: &Json) -> String {
    let mut meaning = description(property);
    for choice in property["oneOf"].as_array().into_iter().flatten() {
        if let (Some(name), Some(_)) = (choice["const"].as_str(), choice["description"].as_str()) {
            let _ = write!(meaning, "<br>`{name}`: {}", description(choice));
        }
    }
    meaning
}

fn type_name(property: &Json) -> String {
    let choices = choices(property);
    if !choices.is_empty() {
        return choices.iter().map(|choice| format!("`\"{choice}\"`")).collect::<Vec<_>>().join(" ");
    }
    match (property["type"].as_str(), property["format"].as_str()) {
        (_, Some("date")) => "date".to_owned(),
        (Some("array"), _) => format!("list of {}s", type_name(&property["items"])),
        (Some(name), _) => name.to_owned(),
        (None, _) => String::new(),
    }
}

fn description(schema: &Json) -> String {
    schema["description"].as_str().unwrap_or_default().replace('\n', " ")
}

fn push(text: &mut String, more: &str) {
    text.push_str(more);
}
