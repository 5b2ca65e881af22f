//! The daemon with fanotify on this machine's own kernel: the rows of evasions that apply, each by an attack of its own.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use integration_tests::lookup;
use integration_tests::native::{Sensor, Waiting, isolate, run, say, shell};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

const FANOTIFY: &[&str] = &["--source", "fanotify"];

/// A directory with `etc/ld.so.conf.d` in it. None without root.
fn tree() -> Result<Option<TempDir>> {
    if !isolate()? {
        return Ok(None);
    }
    let tree = tempfile::tempdir()?;
    fs::create_dir_all(tree.path().join("etc/ld.so.conf.d"))?;
    Ok(Some(tree))
}

fn attack<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
    run(env!("CARGO_BIN_EXE_attack"), arguments)
}

#[track_caller]
fn assert_fields(alert: &Value, expected: &Value) {
    for (field, expected) in expected.as_object().into_iter().flatten() {
        assert_eq!(lookup(alert, field).unwrap_or(&Value::Null), expected, "{field} in {alert:#}");
    }
}

/// The paths of alerts below the tree, in the order of the alphabet.
fn paths(alerts: &[Value], tree: &Path) -> Vec<String> {
    let path = |alert: &Value| {
        let path = lookup(alert, "file.path").and_then(Value::as_str).unwrap_or_default().to_owned();
        path.strip_prefix(&format!("{}/", tree.display())).map_or(path.clone(), str::to_owned)
    };
    let mut paths: Vec<_> = alerts.iter().map(path).collect();
    paths.sort();
    paths
}

/// Runs an attack and gives the alerts, waiting for as many as there must be. `$T` is the tree.
fn alerts_of(tree: &Path, expected: &[&str], script: &str) -> Result<Vec<Value>> {
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

/// Row 20: what a file calls itself excludes nothing, its path does.
#[test]
fn a_copy_of_a_shell_under_an_excluded_name_alerts() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    fs::copy("/bin/sh", tree.path().join("dpkg"))?;
    let mut sensor = Sensor::start(tree.path(), FANOTIFY)?;
    let _attacker =
        Waiting::shell(tree.path(), "$T/dpkg -c 'echo x > $0; read forever' $T/etc/ld.so.preload")?;
    let executable = tree.path().join("dpkg").display().to_string();
    let alert = sensor.alert_for("etc/ld.so.preload")?;
    assert_fields(&alert, &json!({"process.executable": executable, "process.name": "dpkg"}));
    Ok(())
}

/// Row 24.
#[test]
fn a_killed_sensor_starts_again_and_watches() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let mut sensor = Sensor::start(tree.path(), FANOTIFY)?;
    shell(tree.path(), "touch $T/etc/ld.so.preload")?;
    sensor.alert_for("etc/ld.so.preload")?;
    sensor.end(Signal::KILL)?;
    let mut sensor = Sensor::start(tree.path(), FANOTIFY)?;
    shell(tree.path(), "rm $T/etc/ld.so.preload; touch $T/etc/ld.so.preload")?;
    sensor.alert_for("etc/ld.so.preload")?;
    let ended = sensor.end(Signal::INT)?;
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(ended.counter("ldsentry_events_total{outcome=\"success\"}")?, 1);
    Ok(())
}

/// What could not be learned is no executable that is not there: from a pid namespace of its own, the daemon cannot ask
/// for others.
#[test]
fn an_unknown_executable_does_not_fall_under_the_exclusion_of_none() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let mut sensor = Sensor::start_apart(tree.path(), FANOTIFY)?;
    attack(["create", &tree.path().join("etc/ld.so.preload").display().to_string()])?;
    assert_fields(
        &sensor.alert_for("etc/ld.so.preload")?,
        &json!({
            "event.action": "creation",
            "process.executable": "unknown",
            "process.name": "unknown",
            "process.pid": null,
            "user.id": null,
            "ldsentry.process.executable.status": "unknown",
        }),
    );
    let ended = sensor.end(Signal::KILL)?;
    assert!(ended.stderr.contains("processes that are gone"), "{}", ended.stderr);
    Ok(())
}

/// Row 19: whoever did it is gone before the daemon is told.
#[test]
fn processes_that_are_gone_are_remembered() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let mut sensor = Sensor::start(tree.path(), FANOTIFY)?;
    let shell_path = fs::canonicalize("/bin/sh")?.display().to_string();
    let (preload, conf) = (tree.path().join("etc/ld.so.preload"), tree.path().join("etc/ld.so.conf"));
    sensor.behind_its_back(|| {
        attack(["create", &preload.display().to_string()])?;
        // A shell that goes on without running another program, whose parent is gone too.
        shell(tree.path(), "(echo x > $T/etc/ld.so.conf; true)")?;
        // Which user it was, it decided itself.
        let perl = "$) = 5678; $> = 1234; open(my $file, '>', $ARGV[0]) or die";
        shell(
            tree.path(),
            &format!(
                "chmod 777 $T $T/etc/ld.so.conf.d; perl -e \"{}\" $T/etc/ld.so.conf.d/x",
                perl.replace('$', "\\$")
            ),
        )
    })?;
    let alert = sensor.alert_for("etc/ld.so.preload")?;
    if lookup(&alert, "process.executable") == Some(&json!("unknown")) {
        say("skipped: this kernel takes no programs on the tracepoints of processes");
        return Ok(());
    }
    assert_fields(
        &alert,
        &json!({
            "process.executable": env!("CARGO_BIN_EXE_attack"),
            "process.args": [env!("CARGO_BIN_EXE_attack"), "create", preload.display().to_string()],
            "process.parent.pid": std::process::id(),
            "process.parent.executable": std::env::current_exe()?.display().to_string(),
            "ldsentry.file.view": "process",
            "user.id": "0",
        }),
    );
    let alert = sensor.alert_for("etc/ld.so.conf")?;
    assert_fields(
        &alert,
        &json!({
            "file.path": conf.display().to_string(),
            "process.executable": shell_path,
            "process.parent.executable": shell_path,
        }),
    );
    let alert = sensor.alert_for("etc/ld.so.conf.d/x")?;
    assert_fields(&alert, &json!({"process.name": "perl", "user.id": "1234", "group.id": "5678"}));
    Ok(())
}

/// The real dpkg, in a tree of its own.
#[test]
fn dpkg_is_excluded_and_counted() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let mut sensor = Sensor::start(tree.path(), FANOTIFY)?;
    let script = "
        mkdir -p $T/package/DEBIAN $T/package/etc/ld.so.conf.d $T/var/lib/dpkg/updates $T/var/lib/dpkg/info
        touch $T/var/lib/dpkg/status
        printf 'Package: libdemo\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@example.com>\\nDescription: x\\n' \
            > $T/package/DEBIAN/control
        echo /opt > $T/package/etc/ld.so.conf.d/libdemo.conf
        dpkg-deb --build $T/package $T/libdemo.deb
        dpkg --root=$T --install $T/libdemo.deb
        test -e $T/etc/ld.so.conf.d/libdemo.conf";
    shell(tree.path(), script)?;
    assert_eq!(paths(&sensor.others()?, tree.path()), Vec::<String>::new());
    let ended = sensor.end(Signal::TERM)?;
    let line = ended.stderr.lines().rfind(|line| line.starts_with("{\"counters\"")).context("no counters")?;
    let counters: Value = serde_json::from_str(line)?;
    let suppressed: u64 = counters["counters"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(series, _)| {
            series.starts_with("ldsentry_alerts_suppressed_total") && series.contains("dpkg")
        })
        .filter_map(|(_, value)| value.as_u64())
        .sum();
    assert_eq!(suppressed, 2, "one for libdemo.conf.dpkg-new, one for its rename: {line}");
    Ok(())
}

/// Row 21: what is lost is counted, said, and looked for.
#[test]
fn an_overflow_is_a_gap_and_what_appeared_in_it_is_found() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    fs::write(tree.path().join("etc/ld.so.conf.d/old"), "")?;
    let mut sensor = Sensor::start(tree.path(), FANOTIFY)?;
    let limit: u64 = fs::read_to_string("/proc/sys/fs/fanotify/max_queued_events")?.trim().parse()?;
    sensor.behind_its_back(|| {
        let etc = tree.path().join("etc").display().to_string();
        attack(["flood", &etc, "decoy", &(limit + 1000).to_string()])?;
        shell(
            tree.path(),
            "touch $T/etc/ld.so.preload; mkdir $T/etc/ld.so.conf.d/sub; touch $T/etc/ld.so.conf.d/sub/x",
        )
    })?;
    for file in ["etc/ld.so.preload", "etc/ld.so.conf.d/sub/x"] {
        assert_fields(
            &sensor.alert_for(file)?,
            &json!({
                "event.action": "creation",
                "file.type": "file",
                "ldsentry.origin": "rescan",
                "process.executable": "unknown",
                "process.pid": null,
                "user.id": null,
            }),
        );
    }
    // Found by looking, and watched from then on.
    shell(tree.path(), "touch $T/etc/ld.so.conf.d/sub/y")?;
    assert_fields(&sensor.alert_for("etc/ld.so.conf.d/sub/y")?, &json!({"ldsentry.origin": "notification"}));
    assert_eq!(paths(&sensor.others()?, tree.path()), Vec::<String>::new());
    let ended = sensor.end(Signal::TERM)?;
    assert_eq!(ended.counter("ldsentry_events_lost_total{reason=\"queue_overflow\"}")?, 1);
    assert_eq!(ended.counter("ldsentry_rescans_total")?, 1);
    assert!(ended.stderr.contains("gap: the queue of fanotify was full"), "{}", ended.stderr);
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
