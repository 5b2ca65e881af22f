//! Ways to a new file or a new name: rows 1 to 6, 13, 17, 18 and 22.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use anyhow::{Context as _, Result};
use integration_tests::lookup;
use integration_tests::native::{Sensor, Waiting, say, shell};
use serde_json::json;

use crate::{FANOTIFY, alerts_of, assert_fields, attack, tree};

/// Row 1.
#[test]
fn a_creation_names_who_did_it() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let mut sensor = Sensor::start(tree.path(), FANOTIFY)?;
    let attacker = Waiting::shell(tree.path(), "echo /x.so > $T/etc/ld.so.preload")?;
    let alert = sensor.alert_for("etc/ld.so.preload")?;
    assert_fields(
        &alert,
        &json!({
            "event.action": "creation",
            "event.type": ["creation"],
            "event.outcome": "success",
            "file.name": "ld.so.preload",
            "file.type": "file",
            "process.pid": attacker.pid(),
            "process.executable": fs::canonicalize("/bin/sh")?.display().to_string(),
            "process.parent.pid": std::process::id(),
            "process.args_count": 3,
            "user.id": "0",
            "group.id": "0",
            "ldsentry.origin": "notification",
            "ldsentry.file.view": "process",
            "ldsentry.process.executable.status": "known",
        }),
    );
    assert!(sensor.others()?.is_empty());
    Ok(())
}

/// Kernels before 5.17 tell only the new name of a rename, and those before 5.15 have no descriptor of the process.
#[test]
fn older_kernels_tell_less_and_nothing_is_missed() -> Result<()> {
    let up_to_5_16 = libc::FAN_REPORT_TARGET_FID;
    for refused in [up_to_5_16, up_to_5_16 | libc::FAN_REPORT_PIDFD] {
        let Some(tree) = tree()? else { return Ok(()) };
        let mut sensor = Sensor::start_without(tree.path(), FANOTIFY, refused)?;
        shell(tree.path(), "touch $T/new; mv $T/new $T/etc/ld.so.preload")?;
        assert_fields(
            &sensor.alert_for("etc/ld.so.preload")?,
            &json!({
                "event.action": "rename",
                "file.name": "ld.so.preload",
                "file.Ext.original.path": null,
            }),
        );
        shell(
            tree.path(),
            "mkdir $T/prepared; touch $T/prepared/x; rmdir $T/etc/ld.so.conf.d; mv $T/prepared $T/etc/ld.so.conf.d",
        )?;
        assert_fields(&sensor.alert_for("etc/ld.so.conf.d/x")?, &json!({"event.action": "rename"}));
        let attacker = Waiting::shell(tree.path(), "echo /x.so > $T/etc/ld.so.conf.d/y")?;
        assert_fields(
            &sensor.alert_for("etc/ld.so.conf.d/y")?,
            &json!({"event.action": "creation", "process.pid": attacker.pid()}),
        );
        assert!(sensor.others()?.is_empty());
    }
    Ok(())
}

/// Rows 2 and 22, and names that are not quite those of the rule.
#[test]
fn creations_and_renames_are_told_from_what_no_rule_asks_for() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let script = "
        attack create $T/etc/ld.so.preloaded
        attack create $T/ld.so.preload
        mkdir $T/etc/ld.so.preload.d; attack create $T/etc/ld.so.preload.d/x
        attack create-and-unlink $T/etc/ld.so.conf
        touch $T/etc/ld.so.conf.d/a
        touch $T/etc/ld.so.conf.d/a
        attack rename $T/etc/ld.so.conf.d/a $T/away
        touch $T/new; attack rename-noreplace $T/new $T/etc/ld.so.preload
        attack rename $T/etc/ld.so.preload $T/etc/LD.so.conf";
    let expected = ["etc/ld.so.conf", "etc/ld.so.conf.d/a", "etc/ld.so.preload", "etc/LD.so.conf"];
    let alerts = alerts_of(tree.path(), &expected, script)?;
    let of = |path: &str| tree.path().join(path).display().to_string();
    // The tree itself leads to the files and is marked; so the old name is known.
    assert_fields(
        &alerts[2],
        &json!({"event.action": "rename", "file.Ext.original.path": of("new"), "event.type": ["change"]}),
    );
    assert_fields(
        &alerts[3],
        &json!({"event.action": "rename", "file.Ext.original.path": of("etc/ld.so.preload"), "file.name": "LD.so.conf"}),
    );
    Ok(())
}

/// Row 2, from a directory that is not marked: there the old name is not known.
#[test]
fn a_rename_from_an_unmarked_directory_has_no_old_name() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let script =
        "mkdir $T/elsewhere; touch $T/elsewhere/x; attack rename $T/elsewhere/x $T/etc/ld.so.preload";
    let alerts = alerts_of(tree.path(), &["etc/ld.so.preload"], script)?;
    assert_fields(&alerts[0], &json!({"event.action": "rename", "file.Ext.original.path": null}));
    Ok(())
}

/// Row 3.
#[test]
fn an_exchange_is_a_rename_of_each_side() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    fs::write(tree.path().join("etc/ld.so.conf"), "")?;
    fs::write(tree.path().join("etc/ld.so.preload"), "")?;
    let script = "attack exchange $T/etc/ld.so.conf $T/etc/ld.so.preload";
    let alerts = alerts_of(tree.path(), &["etc/ld.so.conf", "etc/ld.so.preload"], script)?;
    let of = |path: &str| tree.path().join(path).display().to_string();
    assert_fields(
        &alerts[0],
        &json!({"event.action": "rename", "file.Ext.original.path": of("etc/ld.so.preload")}),
    );
    assert_fields(
        &alerts[1],
        &json!({"event.action": "rename", "file.Ext.original.path": of("etc/ld.so.conf")}),
    );
    Ok(())
}

/// Rows 4, 5 and 6.
#[test]
fn links_and_special_files_are_creations() -> Result<()> {
    for (technique, kind) in [
        ("link $T/x $T/etc/ld.so.preload", "file"),
        ("link-unnamed $T/etc/ld.so.preload", "file"),
        ("link-unnamed-through-proc $T/etc/ld.so.preload", "file"),
        ("symlink /x.so $T/etc/ld.so.preload", "symlink"),
        ("mknod $T/etc/ld.so.preload", "file"),
        ("mkfifo $T/etc/ld.so.preload", "fifo"),
    ] {
        let Some(tree) = tree()? else { return Ok(()) };
        fs::write(tree.path().join("x"), "")?;
        let alerts = alerts_of(tree.path(), &["etc/ld.so.preload"], &format!("attack {technique}"))
            .with_context(|| technique.to_owned())?;
        let target = (kind == "symlink").then_some("/x.so");
        assert_fields(
            &alerts[0],
            &json!({"event.action": "creation", "file.type": kind, "file.target_path": target}),
        );
    }
    Ok(())
}

/// Row 13.
#[test]
fn detours_lead_to_the_same_path() -> Result<()> {
    for script in [
        "mkdir $T/alias; mount --bind $T/etc $T/alias; touch $T/alias/ld.so.preload",
        "touch /proc/self/root/$T/etc/ld.so.preload",
        "cd $T/etc; touch /proc/self/cwd/ld.so.preload",
        "ln -s etc $T/link; touch $T/link/ld.so.preload",
        "touch $T/etc//ld.so.conf.d/..//./ld.so.preload",
        "unshare --mount touch $T/etc/ld.so.preload",
        "mkdir $T/alias; unshare --mount sh -c \"mount --bind $T/etc $T/alias; touch $T/alias/ld.so.preload\"",
    ] {
        let Some(tree) = tree()? else { return Ok(()) };
        alerts_of(tree.path(), &["etc/ld.so.preload"], script).with_context(|| script.to_owned())?;
    }
    Ok(())
}

/// Row 17.
#[test]
fn a_case_insensitive_directory_tells_the_name_as_it_stores_it() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let image = "truncate -s 32M $T/image; mkfs.ext4 -q -O casefold $T/image
        mkdir $T/mnt; mount -o loop $T/image $T/mnt; mkdir -p $T/mnt/etc; chattr +F $T/mnt/etc; mkdir $T/mnt/etc/ld.so.conf.d";
    if let Err(error) = shell(tree.path(), image) {
        say(&format!("skipped: no case-insensitive file system here: {error}"));
        return Ok(());
    }
    let mnt = tree.path().join("mnt");
    alerts_of(&mnt, &["etc/LD.SO.PRELOAD"], "touch $T/etc/LD.SO.PRELOAD")?;
    shell(tree.path(), "umount $T/mnt")?;
    Ok(())
}

/// Row 18.
#[test]
fn hostile_names_come_out_whole() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let mut sensor = Sensor::start(tree.path(), FANOTIFY)?;
    let directory = tree.path().join("etc/ld.so.conf.d");
    let long = "x".repeat(255);
    for name in [long.as_bytes(), b"a\nb\x1b[2J\"\\", b"\xff\xfe.conf"] {
        fs::write(directory.join(OsStr::from_bytes(name)), "")?;
        // The test's own files.
        let shown = String::from_utf8_lossy(name).into_owned();
        let alert = sensor.alert_for(&format!("etc/ld.so.conf.d/{shown}"))?;
        let raw = std::str::from_utf8(name).is_err().then(|| {
            let path = [directory.as_os_str().as_bytes(), b"/", name].concat();
            path.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
        });
        assert_fields(&alert, &json!({"file.name": shown, "ldsentry.file.raw_path": raw}));
    }
    // Deeper than a path that a system call takes.
    let deep = "d".repeat(250);
    attack(["create-deep", &directory.display().to_string(), &deep, "20", "bottom"])?;
    let alert = sensor
        .wait_for("the file at the bottom", |alert| lookup(alert, "file.name") == Some(&json!("bottom")))?;
    let path = format!("{}/{}bottom", directory.display(), format!("{deep}/").repeat(20));
    assert_fields(&alert, &json!({"file.path": path}));
    Ok(())
}
