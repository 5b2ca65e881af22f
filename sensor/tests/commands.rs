//! What the commands about rules and configuration print.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs `ldsentry` in `directory`.
fn run(directory: &tempfile::TempDir, arguments: &[&str], input: &str) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ldsentry"));
    command.args(arguments).current_dir(directory.path());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that needs no input may be gone before it gets any.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs a command that must succeed, for what it prints.
#[track_caller]
fn printed(directory: &tempfile::TempDir, arguments: &[&str], input: &str) -> String {
    let said = run(directory, arguments, input);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    said.stdout
}

/// A directory `rules` with a rule of each kind that there is to tell apart, and `ldsentry.toml` with an exception.
fn site() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, id: &str, kind: &str, query: &str| {
        let path = directory.path().join("rules").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let rule = format!(
            "[rule]\nname = \"Rule {id}\"\ndescription = \"About {id}\"\nrule_id = \"{id}\"\n\
             risk_score = 21\nseverity = \"low\"\nversion = 3\n{kind}\nquery = '''\n{query}\n'''\n"
        );
        fs::write(path, rule).unwrap();
    };
    let eql = "type = \"eql\"\nlanguage = \"eql\"";
    write(
        "a/passwd.toml",
        "passwd",
        eql,
        "file where file.path == \"/etc/passwd\" and\n  not process.name in (\"vipw\", \"passwd\")",
    );
    write(
        "b/odd.toml",
        "odd",
        &format!("{eql}\nmax_signal = 5"),
        "file where file.extention == \"so\" and event.type == \"creation\"",
    );
    write("b/dead.toml", "dead", eql, "file where event.action == \"access\"");
    write("c/process.toml", "process", eql, "process where true");
    write("c/kuery.toml", "kuery", "type = \"query\"\nlanguage = \"kuery\"", "file.path: *");
    write("c/sequence.toml", "sequence", eql, "sequence [file where true] [file where true]");
    fs::write(
        directory.path().join("ldsentry.toml"),
        "[rules]\ndirs = [\"rules\"]\n\n[[exceptions]]\nname = \"cloud-init\"\nrules = [\"passwd\"]\n\
         condition = 'process.executable == \"/usr/bin/cloud-init\"'\nreason = \"it makes the first user\"\n",
    )
    .unwrap();
    directory
}

fn event(executable: &str) -> String {
    let name = executable.rsplit('/').next();
    json!({
        "event": {"category": ["file"], "type": ["creation"], "action": "creation"},
        "file": {"path": "/etc/passwd", "name": "passwd"},
        "process": {"executable": executable, "name": name},
        "host": {"os": {"type": "linux"}},
    })
    .to_string()
}

#[test]
fn rules_are_listed_in_the_order_in_which_they_are_tried() {
    let site = site();
    insta::assert_snapshot!(printed(&site, &["rules", "list", "--rules", "rules", "--rules", "builtin"], ""));
    let json: Value =
        serde_json::from_str(&printed(&site, &["rules", "list", "--rules", "rules", "--format", "json"], ""))
            .unwrap();
    insta::assert_json_snapshot!(json);
}

#[test]
fn a_rule_is_shown_by_id_name_and_file() {
    let site = site();
    let shown = printed(&site, &["rules", "show", "passwd", "--rules", "rules"], "");
    insta::assert_snapshot!(shown);
    assert_eq!(printed(&site, &["rules", "show", "rule PASSWD", "--rules", "rules"], ""), shown);
    assert!(
        printed(&site, &["rules", "show", "dynamic_linker_creation_or_modification"], "")
            .contains("T1574.006")
    );

    let unknown = run(&site, &["rules", "show", "nothing"], "");
    assert_eq!(unknown.code, Some(1));
    insta::assert_snapshot!(unknown.stderr);
}

#[test]
fn a_check_warns_and_says_what_rules_cost() {
    let site = site();
    insta::assert_snapshot!(printed(&site, &["rules", "check", "--rules", "rules"], ""));
    let json: Value = serde_json::from_str(&printed(
        &site,
        &["rules", "check", "--rules", "rules", "--format", "json"],
        "",
    ))
    .unwrap();
    insta::assert_json_snapshot!(json);
}

#[test]
fn a_check_finds_every_error_of_every_file() {
    let site = site();
    fs::write(
        site.path().join("rules/x.toml"),
        "[rule]\ntype = \"eql\"\nquery = \"file where file.path = 1\"\n",
    )
    .unwrap();
    fs::write(site.path().join("rules/y.toml"), "[rule]\ntype = eql\n").unwrap();
    let said = run(&site, &["rules", "check", "--rules", "rules"], "");
    assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""));
    insta::assert_snapshot!(said.stderr);

    let said = run(&site, &["rules", "check", "--rules", "rules", "--format", "json"], "");
    let json: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((said.code, json["errors"].as_array().unwrap().len()), (Some(1), 2));
    assert_eq!(json["errors"][0]["line"], 3);
}

#[test]
fn an_explanation_names_the_clause_that_decided() {
    let site = site();
    let explain = ["rules", "explain", "--config", "ldsentry.toml", "passwd"];
    insta::assert_snapshot!(printed(&site, &explain, ""));
    let events = ["/tmp/evil", "/usr/sbin/vipw", "/usr/bin/cloud-init"].map(event).join("\n");
    insta::assert_snapshot!(printed(&site, &[&explain[..], &["-"]].concat(), &events));
    // An event need not be on one line to be explained.
    let pretty = format!("{:#}", serde_json::from_str::<Value>(&event("/tmp/evil")).unwrap());
    fs::write(site.path().join("event.json"), pretty).unwrap();
    let json = printed(&site, &[&explain[..], &["event.json", "--format", "json"]].concat(), "");
    insta::assert_json_snapshot!(serde_json::from_str::<Value>(&json).unwrap());

    let said = run(&site, &[&explain[..], &["-"]].concat(), "nonsense");
    assert_eq!(said.code, Some(1));
    insta::assert_snapshot!(said.stderr);
}

#[test]
fn exceptions_are_shown_as_the_clause_that_excluded() {
    let site = site();
    let replay = ["replay", "--config", "ldsentry.toml", "--format", "verdicts"];
    let verdicts = printed(&site, &replay, &event("/usr/bin/cloud-init"));
    let first: Value = serde_json::from_str(verdicts.lines().next().unwrap()).unwrap();
    assert_eq!(
        first,
        json!({"event": 1, "rule_id": "passwd", "verdict": "excluded", "clause": "exception: cloud-init"})
    );
}

#[test]
fn an_exception_at_fault_is_shown_in_the_configuration() {
    let site = site();
    let path = site.path().join("ldsentry.toml");
    let broken = fs::read_to_string(&path).unwrap().replace("executable ==", "executable =");
    fs::write(&path, broken).unwrap();
    let said = run(&site, &["rules", "check", "--config", "ldsentry.toml"], "");
    assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""));
    insta::assert_snapshot!(said.stderr);
}

/// With this, who may not run ldsentry against the cluster can install the templates with any client.
#[test]
fn the_set_up_of_elasticsearch_is_printed_on_request() {
    let site = tempfile::tempdir().unwrap();
    let set_up = ["setup", "elasticsearch", "--config", "ldsentry.toml", "--print"];
    let config = site.path().join("ldsentry.toml");
    fs::write(
        &config,
        "[output.elasticsearch]\nurls = [\"http://localhost:1\"]\ndata_stream = \"logs-ldsentry.alerts-prod\"\n",
    )
    .unwrap();
    let text = printed(&site, &set_up, "");
    let mut requests = Vec::new();
    for request in text.split("PUT ").filter(|request| !request.is_empty()) {
        let (path, body) = request.split_once('\n').unwrap();
        requests.push((path, serde_json::from_str::<Value>(body).unwrap()));
    }
    let paths: Vec<_> = requests.iter().map(|(path, _)| *path).collect();
    assert_eq!(
        paths,
        [
            "/_component_template/ldsentry-ecs-mappings",
            "/_component_template/ldsentry-alert-mappings",
            "/_component_template/ldsentry-alerts-settings",
            "/_index_template/ldsentry-alerts",
        ]
    );
    assert_eq!(requests[3].1["index_patterns"], json!(["logs-ldsentry.alerts-*"]));

    fs::write(&config, "").unwrap();
    let said = run(&site, &set_up, "");
    assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""));
    assert!(said.stderr.contains("[output.elasticsearch]"), "{}", said.stderr);
}

#[test]
fn help_has_examples() {
    let site = site();
    insta::assert_snapshot!(printed(&site, &["--help"], ""));
    for command in [&["run", "--help"][..], &["replay", "--help"], &["rules", "explain", "--help"]] {
        assert!(printed(&site, command, "").contains("Examples:"), "{command:?}");
    }
}

/// Where fanotify is the source, a process may be gone: that must not be taken for one without an executable.
#[test]
fn an_explanation_says_that_an_unknown_executable_is_not_null() {
    let site = tempfile::tempdir().unwrap();
    let rule = "dynamic_linker_creation_or_modification";
    let outline = printed(&site, &["rules", "explain", rule], "");
    let note =
        "note: an executable that could not be learned is `unknown` where fanotify is the source, not null";
    assert!(outline.contains(&format!("process.executable == null\n    {note}\n")), "{outline}");

    let explained = |executable: &str| {
        let event = event(executable).replace("/etc/passwd", "/etc/ld.so.preload");
        printed(&site, &["rules", "explain", rule, "-"], &event)
    };
    let unknown = explained("unknown");
    assert!(unknown.starts_with("event 1: alert"), "{unknown}");
    assert!(unknown.contains("false process.executable == null\n"), "{unknown}");
    assert!(unknown.ends_with(&format!("  {note}\n\n")), "{unknown}");
    let known = explained("/tmp/evil");
    assert!(known.starts_with("event 1: alert") && !known.contains(note), "{known}");
}

/// Our own documents say what speaks against an executable, and so a replay decides as the sensor did.
#[test]
fn an_exclusion_that_is_not_honoured_is_explained_and_replayed() {
    let site = tempfile::tempdir().unwrap();
    let rule = "dynamic_linker_creation_or_modification";
    let event = |untrusted: Value| {
        let event = json!({
            "event": {"category": ["file"], "action": "creation", "id": "1"}, "host.os.type": "linux",
            "file.path": "/etc/ld.so.preload",
            "process": {"name": "java", "executable": "/snap/java"},
            "ldsentry.process.executable.untrusted": untrusted,
        });
        event.to_string()
    };
    let untrusted = event(json!(["owner", "unlinked"]));
    let explained = printed(&site, &["rules", "explain", rule, "-"], &untrusted);
    assert!(explained.starts_with("event 1: excluded, decided by process.executable :"), "{explained}");

    let untrusted = untrusted.replace("/snap/java", "/tmp/java");
    let explained = printed(&site, &["rules", "explain", rule, "-"], &untrusted);
    assert!(explained.starts_with("event 1: alert, decided by file.path :"), "{explained}");
    let reason = "the executable is not owned by root, and it has been unlinked";
    assert!(
        explained.contains("  not honoured: process.name in (") && explained.contains(reason),
        "{explained}"
    );
    let json = printed(&site, &["rules", "explain", rule, "-", "--format", "json"], &untrusted);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["not_honoured"]["reason"], reason);

    let replayed = |arguments: &[&str], event: &str| -> Value {
        let lines = printed(&site, &[&["replay", "--format", "verdicts"], arguments, &["-"]].concat(), event);
        // The first of the built-in rules.
        serde_json::from_str(lines.lines().next().unwrap()).unwrap()
    };
    let line = replayed(&[], &untrusted);
    assert_eq!(line["verdict"], "alert");
    assert!(line["not_honoured"].as_str().unwrap().starts_with("process.name in ("), "{line}");
    fs::write(site.path().join("off.toml"), "[rules]\ntrusted_exclusions = \"off\"\n").unwrap();
    assert_eq!(replayed(&["--config", "off.toml"], &untrusted)["verdict"], "excluded");
    fs::write(site.path().join("all.toml"), "[rules]\ntrusted_exclusions = \"all\"\n").unwrap();
    let snap = event(json!("owner"));
    assert_eq!(replayed(&["--config", "all.toml"], &snap)["verdict"], "alert");
    // Without any facts the text alone holds.
    let silent = event(Value::Null);
    assert_eq!(replayed(&["--config", "all.toml"], &silent)["verdict"], "excluded");
}
