//! The daemon with fanotify on this machine's own kernel: the rows of evasions that apply, each by an attack of its own.

mod attacks;
mod changes;
mod directories;
mod reload;
mod sensor;

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use integration_tests::lookup;
use integration_tests::native::{Sensor, isolate, run, shell};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const FANOTIFY: &[&str] = &["--source", "fanotify"];

/// A directory with `etc/ld.so.conf.d` in it. None without root.
pub(crate) fn tree() -> Result<Option<TempDir>> {
    if !isolate()? {
        return Ok(None);
    }
    let tree = tempfile::tempdir()?;
    fs::create_dir_all(tree.path().join("etc/ld.so.conf.d"))?;
    Ok(Some(tree))
}

pub(crate) fn attack<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
    run(env!("CARGO_BIN_EXE_attack"), arguments)
}

#[track_caller]
pub(crate) fn assert_fields(alert: &Value, expected: &Value) {
    for (field, expected) in expected.as_object().into_iter().flatten() {
        assert_eq!(lookup(alert, field).unwrap_or(&Value::Null), expected, "{field} in {alert:#}");
    }
}

/// The paths of alerts below the tree, in the order of the alphabet.
pub(crate) fn paths(alerts: &[Value], tree: &Path) -> Vec<String> {
    let path = |alert: &Value| {
        let path = lookup(alert, "file.path").and_then(Value::as_str).unwrap_or_default().to_owned();
        path.strip_prefix(&format!("{}/", tree.display())).map_or(path.clone(), str::to_owned)
    };
    let mut paths: Vec<_> = alerts.iter().map(path).collect();
    paths.sort();
    paths
}

/// Runs an attack and gives the alerts, waiting for as many as there must be. `$T` is the tree.
pub(crate) fn alerts_of(tree: &Path, expected: &[&str], script: &str) -> Result<Vec<Value>> {
    let mut sensor = Sensor::start(tree, FANOTIFY)?;
    let script = script.replace("attack", env!("CARGO_BIN_EXE_attack"));
    shell(tree, &script)?;
    let mut alerts = Vec::new();
    for file in expected {
        alerts.push(sensor.alert_for(file)?);
    }
    let others = sensor.others()?;
    ensure!(others.is_empty(), "further alerts: {others:#?}");
    let ended = sensor.end(Signal::TERM)?;
    ensure!(ended.status.success(), "{ended:?}");
    Ok(alerts)
}
