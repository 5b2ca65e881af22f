//! Configuration and rules change while the daemon watches: all at once, or nothing.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use integration_tests::command_line::{self, Said};
use integration_tests::lookup;
use integration_tests::native::{Sensor, shell};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{assert_fields, paths, tree};

/// A daemon with a configuration, in which `$T` is the tree.
fn start(tree: &Path, configuration: &str) -> Result<Sensor> {
    configure(tree, configuration)?;
    let file = tree.join("ldsentry.toml").display().to_string();
    Sensor::start(tree, &["--source", "fanotify", "--config", &file])
}

fn configure(tree: &Path, configuration: &str) -> Result<()> {
    let text = configuration.replace("$T", &tree.display().to_string());
    Ok(fs::write(tree.join("ldsentry.toml"), text)?)
}

fn reload() -> Said {
    command_line::run(["reload"], "")
}

/// The first heartbeat comes at the start, and it is no alert; without the key there is none.
#[test]
fn heartbeats_come_if_they_are_asked_for() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let is_heartbeat =
        |document: &Value| lookup(document, "event.action").is_some_and(|action| action == "heartbeat");
    let mut sensor = start(tree.path(), "[sensor]\nheartbeat = \"1s\"\n")?;
    let [first, second] =
        [sensor.wait_for("a heartbeat", is_heartbeat)?, sensor.wait_for("another one", is_heartbeat)?];
    assert_fields(
        &first,
        &json!({
            "event.kind": "state",
            "kibana.alert.uuid": null,
            "ldsentry.heartbeat.interval": 1,
            "ldsentry.heartbeat.lost": 0,
        }),
    );
    assert_ne!(lookup(&first, "event.id"), lookup(&second, "event.id"));
    sensor.end(Signal::INT)?;
    let sensor = start(tree.path(), "")?;
    let (alerts, _) = sensor.end_with_alerts(Signal::TERM)?;
    assert!(!alerts.iter().any(is_heartbeat), "{alerts:#?}");
    Ok(())
}

const MORE_RULES: &str = r#"
[rule]
name = "More"
rule_id = "more"
description = "d"
type = "eql"
risk_score = 1
severity = "low"
query = 'file where event.action == "creation" and file.path == "$T/more/file"'
"#;

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

#[test]
fn new_rules_exceptions_and_outputs_are_in_force_after_a_reload() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let place = tree.path();
    fs::create_dir(place.join("more"))?;
    let mut sensor = start(place, "[output.file]\npath = '$T/one'")?;
    shell(place, "touch $T/more/file $T/etc/ld.so.preload")?;
    sensor.alert_for("etc/ld.so.preload")?;

    fs::write(place.join("rules/more.toml"), MORE_RULES.replace("$T", &place.display().to_string()))?;
    configure(
        place,
        r#"
[output.file]
path = '$T/two'
[[exceptions]]
name = "preload"
rules = ["Dynamic Linker Creation or Modification"]
condition = 'file.name == "ld.so.preload"'
reason = "a test"
"#,
    )?;
    let said = reload();
    ensure!((said.code, said.stdout.as_str()) == (Some(0), "reloaded\n"), "{said:?}");
    shell(place, "rm $T/more/file $T/etc/ld.so.preload; touch $T/etc/ld.so.preload $T/more/file")?;
    sensor.alert_for("more/file")?;
    let others = sensor.others()?;
    ensure!(paths(&others, place).is_empty(), "{others:?}");
    let ended = sensor.end(Signal::TERM)?;
    ensure!(ended.status.success(), "{ended:?}");
    assert_eq!((lines(&place.join("one")), lines(&place.join("two"))), (1, 2), "the second has a marker too");
    Ok(())
}

#[test]
fn what_cannot_be_reloaded_is_said_and_changes_nothing() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let place = tree.path();
    let configuration = "[sensor]\nring_bytes = 65536\n";
    let mut sensor = start(place, configuration)?;
    let broken_rule = place.join("rules/broken.toml");
    let cases = [
        ("[sensor]\nring_size = 1\n", "ring_size"),
        (
            "[sensor]\nring_bytes = 131072\n",
            "sensor.ring_bytes cannot change while the daemon runs; restart it",
        ),
        (
            "[sensor]\nring_bytes = 65536\n[output.file]\npath = '$T/missing/alerts'",
            "the output file does not work",
        ),
        (configuration, "broken.toml"),
    ];
    for (index, (changed, complaint)) in cases.into_iter().enumerate() {
        if index == cases.len() - 1 {
            fs::write(&broken_rule, MORE_RULES.replace("== \"creation\"", "==="))?;
        }
        configure(place, changed)?;
        let said = reload();
        ensure!(said.code == Some(1) && said.stderr.contains(complaint), "{complaint}: {said:?}");
        ensure!(said.stderr.contains("the configuration before stays in force"), "{said:?}");
    }
    fs::remove_file(broken_rule)?;
    shell(place, "touch $T/etc/ld.so.preload")?;
    sensor.alert_for("etc/ld.so.preload")?;
    let ended = sensor.end(Signal::TERM)?;
    assert_eq!(ended.stderr.matches("are not reloaded, those before stay in force").count(), cases.len());
    let said = reload();
    ensure!(said.code == Some(1) && said.stderr.contains("no ldsentry runs"), "{said:?}");
    Ok(())
}

/// What systemd's `Type=notify-reload` and `WatchdogSec=` wait for.
#[test]
fn the_service_manager_hears_of_a_reload() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let path = tree.path().join("notify");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(Duration::from_mins(1)))?;
    let sensor = Sensor::start_notifying(tree.path(), &["--source", "fanotify"], &path)?;
    let next = || -> Result<String> {
        let mut message = [0; 4096];
        loop {
            match socket.recv(&mut message) {
                // A machine that was frozen meanwhile says so.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("waiting for the daemon's word"),
                Ok(length) => return Ok(String::from_utf8_lossy(&message[..length]).into_owned()),
            }
        }
    };
    while next()? != "READY=1\n" {}
    ensure!(reload().code == Some(0));
    while !next()?.starts_with("RELOADING=1\nMONOTONIC_USEC=") {}
    while next()? != "READY=1\n" {}
    for _ in 0..2 {
        while next()? != "WATCHDOG=1\n" {}
    }
    sensor.end(Signal::TERM)?;
    while next()? != "STOPPING=1\n" {}
    Ok(())
}
