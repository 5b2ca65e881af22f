//! What is done to a file that exists: row 10, as far as fanotify tells of it, and deletions.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::Result;
use integration_tests::lookup;
use integration_tests::native::{Sensor, shell};
use serde_json::{Value, json};

use crate::{FANOTIFY, assert_fields, tree};

/// A sensor with a rule for changes and deletions beside the built-in one.
fn start(tree: &Path) -> Result<Sensor> {
    let rule = format!(
        "[rule]\nname = \"Changes\"\ndescription = \"of this test\"\nrule_id = \"changes\"\nrisk_score = 1\nseverity = \"low\"\n\
         type = \"eql\"\nquery = '''file where event.action in (\"modification\", \"deletion\") and \
         file.path : (\"{0}/etc/ld.so.preload\", \"{0}/etc/ld.so.conf.d/*\")'''\n",
        tree.display()
    );
    fs::create_dir_all(tree.join("rules"))?;
    fs::write(tree.join("rules/changes.toml"), rule)?;
    Sensor::start(tree, FANOTIFY)
}

fn text<'a>(alert: &'a Value, field: &str) -> &'a str {
    lookup(alert, field).and_then(Value::as_str).unwrap_or_default()
}

/// Action and name of each alert so far, but for those about what shows that it has come so far.
fn so_far(sensor: &mut Sensor) -> Result<Vec<String>> {
    let alerts = sensor.others()?;
    let alerts = alerts.iter().filter(|alert| !text(alert, "file.name").starts_with("test-marker-"));
    Ok(alerts.map(|alert| format!("{} {}", text(alert, "event.action"), text(alert, "file.name"))).collect())
}

#[test]
fn a_change_is_told_once_for_all_that_is_written_before_the_file_is_closed() -> Result<()> {
    for change in [
        "attack open-for-writing $T/etc/ld.so.preload",
        "attack open-and-empty $T/etc/ld.so.preload",
        "attack truncate $T/etc/ld.so.preload",
        "echo x >> $T/etc/ld.so.preload",
        "exec 3>>$T/etc/ld.so.preload; echo a >&3; echo b >&3; exec 3>&-",
        "exec 3>>$T/etc/ld.so.preload; echo a >&3; until [ -e $T/etc/told ]; do sleep 0.01; done; echo b >&3",
    ] {
        let Some(tree) = tree()? else { return Ok(()) };
        let file = tree.path().join("etc/ld.so.preload");
        fs::write(&file, "x")?;
        let mut sensor = start(tree.path())?;
        let script = change.replace("attack", env!("CARGO_BIN_EXE_attack"));
        let alert = std::thread::scope(|scope| {
            let writer = scope.spawn(|| shell(tree.path(), &script));
            let alert = sensor.alert_for("etc/ld.so.preload");
            fs::write(tree.path().join("etc/told"), "")?;
            writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            alert
        })?;
        assert_fields(
            &alert,
            &json!({
                "event.action": "modification",
                "event.type": ["change"],
                "event.outcome": "success",
                "file.inode": fs::metadata(&file)?.ino().to_string(),
            }),
        );
        assert_eq!(so_far(&mut sensor)?, Vec::<String>::new(), "{change}");
    }
    Ok(())
}

#[test]
fn what_is_written_to_a_file_that_was_just_made_belongs_to_its_creation() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let mut sensor = start(tree.path())?;
    shell(
        tree.path(),
        "exec 3>$T/etc/ld.so.conf.d/a; echo a >&3; echo b >&3; exec 3>&-; sh -c 'echo c >> $0' $T/etc/ld.so.conf.d/a",
    )?;
    // Another process.
    assert_eq!(so_far(&mut sensor)?, ["creation a", "modification a"]);
    Ok(())
}

#[test]
fn a_deletion_says_what_was_known_of_the_file() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let file = tree.path().join("etc/ld.so.preload");
    fs::write(&file, "")?;
    let inode = fs::metadata(&file)?.ino().to_string();
    let mut sensor = start(tree.path())?;
    shell(
        tree.path(),
        "rm $T/etc/ld.so.preload; mkdir $T/etc/ld.so.conf.d/sub; rmdir $T/etc/ld.so.conf.d/sub",
    )?;
    assert_fields(
        &sensor.alert_for("etc/ld.so.preload")?,
        &json!({"event.action": "deletion", "event.type": ["deletion"], "file.type": "file", "file.inode": inode}),
    );
    assert_eq!(so_far(&mut sensor)?, Vec::<String>::new(), "of directories the hooks do not tell either");
    Ok(())
}
