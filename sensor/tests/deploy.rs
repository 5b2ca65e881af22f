//! What `deploy/` has for other programs names what there is, and decides as the rules do.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What the tables of a reference have in their first column.
fn first_column(page: &str) -> BTreeSet<String> {
    let rows = read(page);
    let names = rows.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    names.map(str::to_owned).collect()
}

/// The words of `text` that begin so.
fn words(text: &str, beginning: &str) -> BTreeSet<String> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words.filter(|word| word.starts_with(beginning)).map(str::to_owned).collect()
}

#[test]
fn dashboards_rules_and_pages_name_metrics_that_there_are() {
    let metrics = first_column("docs/metrics.md");
    assert!(metrics.len() > 10, "{metrics:?}");
    let mut files = vec![
        "deploy/grafana/ldsentry.json".to_owned(),
        "deploy/prometheus/ldsentry.rules.yml".to_owned(),
        "README.md".to_owned(),
    ];
    for entry in fs::read_dir(workspace().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        let is_page = path.extension().is_some_and(|extension| extension == "md");
        files.extend(is_page.then(|| format!("docs/{}", path.file_name().unwrap().display())));
    }
    for file in files {
        for name in words(&read(&file), "ldsentry_") {
            // `grep ldsentry_output` and the like.
            let known = metrics.contains(&name) || metrics.iter().any(|metric| metric.starts_with(&name));
            assert!(known, "{file} names {name}, which is not in docs/metrics.md");
        }
    }
}

#[test]
fn the_panels_for_grafana_are_told_apart() {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/ldsentry.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have the same id");
}

/// The objects of the file for Kibana.
fn saved_objects() -> Vec<Value> {
    read("deploy/kibana/ldsentry.ndjson").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A text in an object that is JSON itself, as Kibana likes it.
fn inner(object: &Value, pointer: &str) -> Value {
    let text = object.pointer(pointer).and_then(Value::as_str);
    text.map_or(Value::Null, |text| serde_json::from_str(text).unwrap())
}

fn fields_of(object: &Value, found: &mut BTreeSet<String>) {
    let attributes = &object["attributes"];
    for aggregation in inner(attributes, "/visState")["aggs"].as_array().into_iter().flatten() {
        found.extend(aggregation["params"]["field"].as_str().map(str::to_owned));
    }
    let columns = attributes["columns"].as_array().into_iter().flatten();
    let sorted = attributes["sort"].as_array().into_iter().flatten().map(|sort| &sort[0]);
    found.extend(columns.chain(sorted).filter_map(Value::as_str).map(str::to_owned));
    let source = inner(attributes, "/kibanaSavedObjectMeta/searchSourceJSON");
    let query = source["query"]["query"].as_str().unwrap_or_default();
    found.extend(query.split_whitespace().filter_map(|word| word.strip_suffix(':')).map(str::to_owned));
    found.extend(attributes["timeFieldName"].as_str().map(str::to_owned));
}

#[test]
fn the_kibana_dashboard_shows_fields_that_there_are() {
    let mut shown = BTreeSet::new();
    for object in saved_objects() {
        fields_of(&object, &mut shown);
    }
    assert!(shown.len() > 10, "{shown:?}");
    let fields = first_column("docs/fields.md");
    let unknown: Vec<_> = shown.difference(&fields).collect();
    assert!(unknown.is_empty(), "not in docs/fields.md: {unknown:?}");
}

#[test]
fn the_objects_for_kibana_refer_to_each_other() {
    let objects = saved_objects();
    let key = |object: &Value| (object["type"].to_string(), object["id"].to_string());
    let there: BTreeSet<_> = objects.iter().map(key).collect();
    assert_eq!(there.len(), objects.len(), "two objects have the same id");
    for object in &objects {
        let references = object["references"].as_array().unwrap();
        for reference in references {
            assert!(there.contains(&key(reference)), "{} refers to {reference}", object["id"]);
        }
        let names: BTreeSet<_> =
            references.iter().map(|reference| reference["name"].as_str().unwrap()).collect();
        for panel in inner(&object["attributes"], "/panelsJSON").as_array().into_iter().flatten() {
            let name =
                [panel["panelIndex"].as_str().unwrap(), panel["panelRefName"].as_str().unwrap()].join(":");
            assert!(names.contains(name.as_str()), "no reference is called {name}");
        }
    }
}
