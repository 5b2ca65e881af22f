//! What `deploy/` has for other programs names what there is, and decides as the rules do.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

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

const SIGMA: &str = "deploy/sigma/dynamic_linker_creation_or_modification";
/// The rule whose Sigma equivalent it is.
const RULE_ID: &str = "b342c616-c2d6-4526-bf28-152fb276ee01";

/// The values of the Sigma rule's lists, as they stand there.
fn sigma_values() -> Vec<String> {
    let rule = read(&format!("{SIGMA}.yml"));
    let detection = rule.split("\ndetection:").nth(1).unwrap().split("condition:").next().unwrap();
    let values = detection.lines().filter_map(|line| line.trim().strip_prefix("- "));
    let values = values.filter(|value| !value.contains(':'));
    values.map(str::to_owned).collect()
}

#[test]
fn the_converted_sigma_rule_is_that_of_the_sigma_rule() {
    let converted = read(&format!("{SIGMA}.eql"));
    let values = sigma_values();
    assert!(values.len() > 50, "{values:?}");
    for value in values {
        let forms = [format!("\"{value}\""), format!("\"*{value}\""), format!("\"{value}*\"")];
        assert!(
            forms.iter().any(|form| converted.contains(form)),
            "{value} is not in the converted rule: deploy/sigma/README.md has the command that converts it anew"
        );
    }
}

/// Events with every program that the rule excludes and some that it does not, at paths that it looks for and others.
fn sample_events() -> Vec<Value> {
    let mut executables: Vec<String> = sigma_values()
        .iter()
        .filter(|value| value.starts_with('/') && !value.starts_with("/etc/"))
        .map(|value| if value.matches('/').count() == 1 { format!("/opt{value}") } else { value.clone() })
        .map(|value| if value.ends_with('/') { value + "x" } else { value })
        .collect();
    for other in ["/tmp/evil", "/usr/bin/sed", "/usr/bin/perl", "/usr/bin/dpkg-deb", "/opt/javac", "/snapd"] {
        executables.push(other.to_owned());
    }
    let paths = [
        "/etc/ld.so.preload",
        "/etc/LD.SO.CONF",
        "/etc/ld.so.conf.d/a/b.conf",
        "/etc/ld.so.conf.d/x.swp",
        "/etc/ld.so.conf.d/x.dpkg-remove",
        "/etc/ld.so.conf.d/sedAbCdE",
        "/etc/ld.so.conf.d/e2scrub_all.tmp1",
        "/etc/ld.so.preloaded",
        "/etc/passwd",
    ];
    let mut events = Vec::new();
    for executable in executables.iter().map(Some).chain([None]) {
        for path in paths {
            for (action, original) in [
                ("creation", None),
                ("rename", Some("/etc/x")),
                ("rename", Some("/etc/ld.so.conf.dpkg-new")),
                ("deletion", None),
            ] {
                events.push(event(executable.map(String::as_str), path, action, original));
            }
        }
    }
    events
}

fn event(executable: Option<&str>, path: &str, action: &str, original: Option<&str>) -> Value {
    let file = |path: &str| {
        let name = path.rsplit('/').next().unwrap();
        json!({"path": path, "name": name, "extension": name.rsplit_once('.').map(|(_, extension)| extension)})
    };
    let mut event = json!({
        "event": {"category": ["file"], "action": action, "type": [if action == "rename" { "change" } else { action }]},
        "host": {"os": {"type": "linux"}},
        "file": file(path),
    });
    if let Some(executable) = executable {
        event["process"] = json!({"executable": executable, "name": executable.rsplit('/').next()});
    }
    if let Some(original) = original {
        event["file"]["Ext"] = json!({"original": file(original)});
    }
    event
}

#[test]
fn the_sigma_rule_decides_as_the_built_in_rule_does() {
    let directory = tempfile::tempdir().unwrap();
    // Sigma's converter knows no event categories.
    let query = read(&format!("{SIGMA}.eql")).replacen("any where", "file where", 1);
    let rule = format!(
        "[rule]\nname = \"Sigma\"\ndescription = \"converted\"\nrule_id = \"sigma\"\nrisk_score = 1\nseverity = \"low\"\n\
         type = \"eql\"\nquery = '''\n{query}\n'''\n"
    );
    fs::write(directory.path().join("sigma.toml"), rule).unwrap();
    let mut replay = Command::new(env!("CARGO_BIN_EXE_ldsentry"));
    replay.args(["replay", "--format", "verdicts", "--rules", "builtin", "--rules"]).arg(directory.path());
    let mut child = replay.arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let events = sample_events();
    let mut stdin = child.stdin.take().unwrap();
    let input: Vec<String> = events.iter().map(Value::to_string).collect();
    let writer = std::thread::spawn(move || stdin.write_all(input.join("\n").as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());

    let verdicts = String::from_utf8(output.stdout).unwrap();
    let verdicts: Vec<Value> = verdicts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let alerts = |rule: &str| -> BTreeSet<u64> {
        let of_rule = verdicts.iter().filter(|verdict| verdict["rule_id"] == rule);
        let alerts = of_rule.filter(|verdict| verdict["verdict"] == "alert");
        alerts.map(|verdict| verdict["event"].as_u64().unwrap()).collect()
    };
    let (ours, theirs) = (alerts(RULE_ID), alerts("sigma"));
    let differing: Vec<_> =
        ours.symmetric_difference(&theirs).map(|number| &events[*number as usize - 1]).collect();
    assert!(differing.is_empty(), "{} events, the first: {}", differing.len(), differing[0]);
    assert!(ours.len() > 20 && ours.len() < events.len() / 2, "{} of {} alert", ours.len(), events.len());
}
