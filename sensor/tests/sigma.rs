//! The Sigma rules in `deploy/sigma` decide as the built-in rules do.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// A Sigma rule and the built-in rule whose equivalent it is.
struct Rule {
    /// That of its files.
    name: &'static str,
    built_in: &'static str,
    /// The fewest values in its lists: fewer, and the test reads them wrongly.
    values: usize,
}

const RULES: [Rule; 3] = [
    Rule {
        name: "dynamic_linker_creation_or_modification",
        built_in: "b342c616-c2d6-4526-bf28-152fb276ee01",
        values: 50,
    },
    Rule {
        name: "dynamic_linker_modification_in_place",
        built_in: "00378325-26fd-4d5b-b708-90e47f34d84b",
        values: 30,
    },
    Rule {
        name: "dynamic_linker_cache_or_loader_replacement",
        built_in: "57ab8370-fc71-484d-8a86-fa5a6b7d112f",
        values: 60,
    },
];

impl Rule {
    fn read(&self, extension: &str) -> String {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/sigma");
        let path = directory.join(self.name).with_extension(extension);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The values of its lists, as they stand there.
    fn values(&self) -> Vec<String> {
        let rule = self.read("yml");
        let detection = rule.split("\ndetection:").nth(1).unwrap().split("condition:").next().unwrap();
        let values = detection.lines().filter_map(|line| line.trim().strip_prefix("- "));
        let values = values.filter(|value| !value.contains(':'));
        values.map(str::to_owned).collect()
    }

    /// Events with every path and program that it names and some that it does not.
    fn events(&self) -> Vec<Value> {
        let (paths, executables): (Vec<_>, Vec<_>) = self
            .values()
            .into_iter()
            .filter(|value| value.starts_with('/'))
            .partition(|path| path.starts_with("/etc") || path.contains("/ld-"));
        let mut executables: Vec<String> = executables
            .into_iter()
            .map(|value| if value.matches('/').count() == 1 { format!("/opt{value}") } else { value })
            .map(|value| if value.ends_with('/') { value + "x" } else { value })
            .collect();
        let others =
            ["/tmp/evil", "/usr/bin/sed", "/usr/bin/perl", "/usr/bin/dpkg-deb", "/opt/javac", "/snapd"];
        executables.extend(others.map(str::to_owned));
        let mut events = Vec::new();
        for executable in executables.iter().map(Some).chain([None]) {
            for path in paths.iter().map(String::as_str).chain(PATHS) {
                for (action, original) in ACTIONS {
                    for host in [true, false] {
                        events.push(event(executable.map(String::as_str), path, action, original, host));
                    }
                }
            }
        }
        events
    }
}

const PATHS: [&str; 14] = [
    "/",
    "/lib",
    "/etc/LD.SO.CONF",
    "/etc/ld.so.conf.d/a/b.conf",
    "/etc/ld.so.conf.d/x.swp",
    "/etc/ld.so.conf.d/x.dpkg-new",
    "/etc/ld.so.conf.d/x.dpkg-remove",
    "/etc/ld.so.conf.d/x~",
    "/etc/ld.so.conf.d/4913",
    "/etc/ld.so.conf.d/sedAbCdE",
    "/etc/ld.so.conf.d/e2scrub_all.tmp1",
    "/etc/ld.so.preloaded",
    "/etc/ld.so.preload",
    "/etc/passwd",
];

/// What is done to a file, and what it was called before.
const ACTIONS: [(&str, Option<&str>); 6] = [
    ("creation", None),
    ("rename", Some("/etc/x")),
    ("rename", Some("/etc/ld.so.conf.dpkg-new")),
    ("modification", None),
    ("deletion", None),
    ("mount", None),
];

fn event(executable: Option<&str>, path: &str, action: &str, original: Option<&str>, host: bool) -> Value {
    let file = |path: &str| {
        let name = path.rsplit('/').next().unwrap();
        json!({"path": path, "name": name, "extension": name.rsplit_once('.').map(|(_, extension)| extension)})
    };
    let kind = match action {
        "rename" | "modification" | "mount" => "change",
        other => other,
    };
    let mut event = json!({
        "event": {"category": ["file"], "action": action, "type": [kind]},
        "host": {"os": {"type": "linux"}},
        "file": file(path),
        "ldsentry": {"process": {"in_host_mount_namespace": host}},
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
fn each_converted_rule_is_that_of_its_sigma_rule() {
    for rule in RULES {
        let converted = rule.read("eql");
        let values = rule.values();
        assert!(values.len() > rule.values, "{}: {values:?}", rule.name);
        for value in values {
            let value = value.trim_matches('\'');
            let forms = [format!("\"{value}\""), format!("\"*{value}\""), format!("\"{value}*\"")];
            assert!(
                forms.iter().any(|form| converted.contains(form)),
                "{value} is not in {}.eql: deploy/sigma/README.md has the command that converts it anew",
                rule.name
            );
        }
    }
}

#[test]
fn each_sigma_rule_decides_as_the_built_in_rule_does() {
    for rule in RULES {
        decides_as_the_built_in_rule(&rule);
    }
}

fn decides_as_the_built_in_rule(rule: &Rule) {
    let directory = tempfile::tempdir().unwrap();
    // Sigma's converter knows no event categories.
    let query = rule.read("eql").replacen("any where", "file where", 1);
    let text = format!(
        "[rule]\nname = \"Sigma\"\ndescription = \"converted\"\nrule_id = \"sigma\"\nrisk_score = 1\nseverity = \"low\"\n\
         type = \"eql\"\nquery = '''\n{query}\n'''\n"
    );
    fs::write(directory.path().join("sigma.toml"), text).unwrap();
    let mut replay = Command::new(env!("CARGO_BIN_EXE_ldsentry"));
    replay.args(["replay", "--format", "verdicts", "--rules", "builtin", "--rules"]).arg(directory.path());
    let mut child = replay.arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let events = rule.events();
    let mut stdin = child.stdin.take().unwrap();
    let input: Vec<String> = events.iter().map(Value::to_string).collect();
    let writer = std::thread::spawn(move || stdin.write_all(input.join("\n").as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{}", rule.name);

    let verdicts = String::from_utf8(output.stdout).unwrap();
    let verdicts: Vec<Value> = verdicts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let alerts = |id: &str| -> BTreeSet<u64> {
        let of_rule = verdicts.iter().filter(|verdict| verdict["rule_id"] == id);
        let alerts = of_rule.filter(|verdict| verdict["verdict"] == "alert");
        alerts.map(|verdict| verdict["event"].as_u64().unwrap()).collect()
    };
    let (ours, theirs) = (alerts(rule.built_in), alerts("sigma"));
    let differing: Vec<_> =
        ours.symmetric_difference(&theirs).map(|number| &events[*number as usize - 1]).collect();
    assert!(
        differing.is_empty(),
        "{}: {} of {} events, the first: {}",
        rule.name,
        differing.len(),
        events.len(),
        differing[0]
    );
    assert!(
        ours.len() > 20 && ours.len() < events.len() / 2,
        "{}: {} of {} alert",
        rule.name,
        ours.len(),
        events.len()
    );
}
