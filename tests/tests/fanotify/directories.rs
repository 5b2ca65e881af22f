//! Directories that move, appear, are replaced or mounted over: rows 7 and 8, and the kinds of file systems.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use integration_tests::native::{Sensor, shell};
use rustix::process::Signal;
use serde_json::json;

use crate::{FANOTIFY, alerts_of, assert_fields, paths, tree};

/// Row 7.
#[test]
fn a_directory_renamed_onto_the_watched_one_is_an_alert_for_each_file() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let mut sensor = Sensor::start(tree.path(), FANOTIFY)?;
    let script =
        "rmdir $T/etc/ld.so.conf.d; mkdir -p $T/prepared/below; touch $T/prepared/a $T/prepared/below/b
        mv -T $T/prepared $T/etc/ld.so.conf.d";
    shell(tree.path(), script)?;
    let of = |path: &str| tree.path().join(path).display().to_string();
    for (file, from) in
        [("etc/ld.so.conf.d/a", "prepared/a"), ("etc/ld.so.conf.d/below/b", "prepared/below/b")]
    {
        assert_fields(
            &sensor.alert_for(file)?,
            &json!({
                "event.action": "rename",
                "file.Ext.original.path": of(from),
                "ldsentry.origin": "directory_rename",
            }),
        );
    }
    // What has moved there is watched from then on, and what went away no longer.
    shell(
        tree.path(),
        "touch $T/etc/ld.so.conf.d/below/c; mv $T/etc/ld.so.conf.d/below $T/gone; touch $T/gone/d",
    )?;
    sensor.alert_for("etc/ld.so.conf.d/below/c")?;
    shell(tree.path(), "mkdir $T/empty; mv $T/empty $T/etc/ld.so.conf.d/empty")?;
    let alert = sensor.alert_for("etc/ld.so.conf.d/empty")?;
    assert_fields(&alert, &json!({"event.action": "rename", "file.type": "dir"}));
    assert_eq!(paths(&sensor.others()?, tree.path()), Vec::<String>::new());
    Ok(())
}

/// Row 8.
#[test]
fn a_replaced_etc_is_followed() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let mut sensor = Sensor::start(tree.path(), FANOTIFY)?;
    let script =
        "mkdir -p $T/etc2/ld.so.conf.d; touch $T/etc2/ld.so.preload $T/etc2/ld.so.conf.d/x $T/etc2/passwd
        attack exchange $T/etc $T/etc2; touch $T/etc2/ld.so.conf";
    shell(tree.path(), &script.replace("attack", env!("CARGO_BIN_EXE_attack")))?;
    for file in ["etc/ld.so.preload", "etc/ld.so.conf.d/x"] {
        assert_fields(&sensor.alert_for(file)?, &json!({"ldsentry.origin": "directory_rename"}));
    }
    shell(tree.path(), "touch $T/etc/ld.so.conf")?;
    assert_fields(&sensor.alert_for("etc/ld.so.conf")?, &json!({"ldsentry.origin": "notification"}));
    assert_eq!(paths(&sensor.others()?, tree.path()), Vec::<String>::new());
    Ok(())
}

/// What is not there yet when the sensor starts, and is made name by name.
#[test]
fn directories_that_appear_are_followed() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    fs::remove_dir_all(tree.path().join("etc"))?;
    let mut sensor = Sensor::start(tree.path(), FANOTIFY)?;
    shell(
        tree.path(),
        "mkdir -p $T/etc/ld.so.conf.d/a/b; touch $T/etc/ld.so.conf.d/a/b/c $T/etc/ld.so.preload",
    )?;
    // By notification or, where it was made before its directory was marked, by looking.
    sensor.alert_for("etc/ld.so.conf.d/a/b/c")?;
    sensor.alert_for("etc/ld.so.preload")?;
    shell(tree.path(), "touch $T/etc/ld.so.conf.d/a/b/d")?;
    assert_fields(&sensor.alert_for("etc/ld.so.conf.d/a/b/d")?, &json!({"ldsentry.origin": "notification"}));
    assert_eq!(paths(&sensor.others()?, tree.path()), Vec::<String>::new());
    Ok(())
}

/// Directories that come and go use nothing up: more of them than can be marked at once.
#[test]
fn directories_that_are_gone_make_room() -> Result<()> {
    const AT_ONCE: usize = 1_000;
    let Some(tree) = tree()? else { return Ok(()) };
    let mut sensor = Sensor::start(tree.path(), FANOTIFY)?;
    let directory = tree.path().join("etc/ld.so.conf.d");
    for round in 0..18 {
        let names: Vec<PathBuf> =
            (0..AT_ONCE).map(|number| directory.join(format!("{round}-{number}"))).collect();
        names.iter().try_for_each(fs::create_dir)?;
        // By then all are marked.
        sensor.others()?;
        names.iter().try_for_each(fs::remove_dir)?;
    }
    fs::create_dir(directory.join("last"))?;
    sensor.others()?;
    fs::write(directory.join("last/x"), "")?;
    assert_fields(&sensor.alert_for("etc/ld.so.conf.d/last/x")?, &json!({"ldsentry.origin": "notification"}));
    let ended = sensor.end(Signal::TERM)?;
    assert_eq!(ended.counter("ldsentry_directories_not_watched_total")?, 0, "{}", ended.stderr);
    Ok(())
}

/// Mounts that come later are followed as directories are.
#[test]
fn what_is_mounted_on_the_way_is_looked_at_and_watched() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let mut sensor = Sensor::start(tree.path(), FANOTIFY)?;
    shell(tree.path(), "mkdir $T/other; touch $T/other/x; mount --bind $T/other $T/etc/ld.so.conf.d")?;
    assert_fields(&sensor.alert_for("etc/ld.so.conf.d/x")?, &json!({"ldsentry.origin": "rescan"}));
    shell(tree.path(), "touch $T/other/y")?;
    assert_fields(&sensor.alert_for("etc/ld.so.conf.d/y")?, &json!({"ldsentry.origin": "notification"}));
    shell(tree.path(), "touch $T/evil; touch $T/etc/ld.so.preload")?;
    sensor.alert_for("etc/ld.so.preload")?;
    shell(tree.path(), "mount --bind $T/evil $T/etc/ld.so.preload")?;
    assert_fields(&sensor.alert_for("etc/ld.so.preload")?, &json!({"ldsentry.origin": "rescan"}));
    assert_eq!(paths(&sensor.others()?, tree.path()), Vec::<String>::new());
    Ok(())
}

#[test]
fn file_systems_of_all_kinds_can_be_marked() -> Result<()> {
    for (kind, mount) in [
        ("ext4", "truncate -s 32M $T/image; mkfs.ext4 -q $T/image; mount -o loop $T/image $T/mnt"),
        ("tmpfs", "mount -t tmpfs none $T/mnt"),
        (
            "overlay",
            "mkdir $T/layers; mount -t tmpfs none $T/layers; cd $T/layers; mkdir -p lower/etc upper work
             mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none $T/mnt",
        ),
    ] {
        let Some(tree) = tree()? else { return Ok(()) };
        shell(tree.path(), &format!("mkdir $T/mnt; {mount}; mkdir -p $T/mnt/etc/ld.so.conf.d"))
            .with_context(|| kind.to_owned())?;
        let mnt: PathBuf = tree.path().join("mnt");
        let script = "attack create $T/etc/ld.so.preload; touch $T/etc/new; attack rename $T/etc/new $T/etc/ld.so.conf.d/new";
        let alerts = alerts_of(&mnt, &["etc/ld.so.preload", "etc/ld.so.conf.d/new"], script)
            .with_context(|| kind.to_owned())?;
        assert_fields(&alerts[0], &json!({"ldsentry.file.file_system": kind, "file.type": "file"}));
        let from = mnt.join("etc/new").display().to_string();
        assert_fields(&alerts[1], &json!({"event.action": "rename", "file.Ext.original.path": from}));
        // Some mounts cannot go while the thread's namespace lasts, and go with it.
        shell(tree.path(), "umount -l $T/mnt")?;
    }
    Ok(())
}
