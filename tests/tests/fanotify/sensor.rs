//! Who did it, what is excluded, what is lost, and the daemon itself: rows 19, 20, 21 and 24.

use std::fs;

use anyhow::{Context as _, Result};
use integration_tests::lookup;
use integration_tests::native::{Sensor, Waiting, say, shell};
use rustix::process::Signal;
use serde_json::{Value, json};
use xtask::command::workspace;

use crate::{FANOTIFY, assert_fields, attack, paths, tree};

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

/// Row 20: a name that the rule excludes is worth what the file is worth that has it.
#[test]
fn an_excluded_name_does_not_cover_what_others_could_have_written() -> Result<()> {
    for (change, reason) in [
        ("chown 1234 $T/java", "is not owned by root"),
        ("chmod 775 $T/java", "can be written by its group or by others"),
    ] {
        let Some(tree) = tree()? else { return Ok(()) };
        fs::copy("/bin/sh", tree.path().join("java"))?;
        let mut sensor = Sensor::start(tree.path(), FANOTIFY)?;
        let attack = format!("{change}; $T/java -c 'echo x > $0; read forever' $T/etc/ld.so.preload");
        let _attacker = Waiting::shell(tree.path(), &attack)?;
        let alert = sensor.alert_for("etc/ld.so.preload")?;
        assert_fields(&alert, &json!({"process.name": "java"}));
        let said = lookup(&alert, "ldsentry.not_honoured.reason").and_then(Value::as_str);
        assert!(said.is_some_and(|said| said.contains(reason)), "{said:?} does not say {reason}");
    }
    Ok(())
}

/// Row 20: a thread can call itself what it likes.
#[test]
fn a_process_that_calls_itself_by_an_excluded_name_alerts() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let mut sensor = Sensor::start(tree.path(), FANOTIFY)?;
    let attack = "printf java >/proc/$$/comm; echo x > $T/etc/ld.so.preload; read forever";
    let _attacker = Waiting::shell(tree.path(), attack)?;
    let alert = sensor.alert_for("etc/ld.so.preload")?;
    let shell = fs::canonicalize("/bin/sh")?.display().to_string();
    assert_fields(&alert, &json!({"process.executable": shell, "ldsentry.not_honoured": null}));
    Ok(())
}

/// Row 24: what changed while none watched is found by looking, and the gap is told.
#[test]
fn a_sensor_that_was_stopped_or_killed_reports_the_gap_and_what_changed_in_it() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    fs::write(tree.path().join("etc/ld.so.conf.d/old"), "")?;
    fs::write(tree.path().join("prepared"), "")?;
    // It is to be older than a tick of the kernel's clock.
    std::thread::sleep(std::time::Duration::from_millis(20));
    let sensor = Sensor::start(tree.path(), FANOTIFY)?;
    let noted = fs::read_to_string("/run/ldsentry/last-seen")?;
    assert!(noted.contains("boot_ns"), "a daemon that is killed at once leaves {noted:?} to the next");
    let ended = sensor.end(Signal::TERM)?;
    assert!(!ended.stderr.contains("gap:"), "{}", ended.stderr);
    shell(tree.path(), "touch $T/etc/ld.so.preload; mv $T/prepared $T/etc/ld.so.conf.d/renamed")?;
    let mut sensor = Sensor::start(tree.path(), FANOTIFY)?;
    let gap = sensor.wait_for("the gap", |alert| {
        lookup(alert, "kibana.alert.rule.name") == Some(&json!("This host was not watched"))
    })?;
    let [start, end] = ["event.start", "event.end"].map(|field| lookup(&gap, field).cloned());
    assert!(start.is_some() && end.is_some() && start != end, "{gap:#}");
    for file in ["etc/ld.so.preload", "etc/ld.so.conf.d/renamed"] {
        assert_fields(
            &sensor.alert_for(file)?,
            &json!({"ldsentry.origin": "rescan", "process.executable": "unknown"}),
        );
    }
    assert_eq!(paths(&sensor.others()?, tree.path()), Vec::<String>::new(), "nothing else has changed");
    sensor.end(Signal::KILL)?;
    let mut sensor = Sensor::start(tree.path(), FANOTIFY)?;
    shell(tree.path(), "touch $T/etc/ld.so.conf.d/new")?;
    assert_fields(&sensor.alert_for("etc/ld.so.conf.d/new")?, &json!({"ldsentry.origin": "notification"}));
    let ended = sensor.end(Signal::INT)?;
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(ended.counter("ldsentry_gaps_total")?, 1);
    Ok(())
}

/// A service manager starts again what ends so, and not what a mistake has ended.
#[test]
fn a_daemon_whose_alerts_nobody_reads_ends_to_be_started_again() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let sensor = Sensor::start_unread(tree.path(), FANOTIFY)?;
    shell(tree.path(), "touch $T/etc/ld.so.preload")?;
    // It ends by itself.
    let ended = sensor.end(Signal::CONT)?;
    assert_eq!(ended.status.code(), Some(5), "{ended:?}");
    assert!(ended.stderr.contains("the last output is gone"), "{}", ended.stderr);
    let unit = fs::read_to_string(workspace().join("deploy/systemd/ldsentry.service"))?;
    let codes = unit.lines().find_map(|line| line.strip_prefix("RestartPreventExitStatus="));
    assert_eq!(codes, Some("1 2 3"));
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
    let lost = sensor.wait_for("what is lost", |alert| {
        lookup(alert, "kibana.alert.rule.name") == Some(&json!("Events of this host were lost"))
    })?;
    assert_fields(&lost, &json!({"event.action": "lost", "ldsentry.lost.count": 1}));
    assert_eq!(paths(&sensor.others()?, tree.path()), Vec::<String>::new());
    let ended = sensor.end(Signal::TERM)?;
    assert_eq!(ended.counter("ldsentry_events_lost_total{reason=\"queue_overflow\"}")?, 1);
    assert_eq!(ended.counter("ldsentry_rescans_total")?, 1);
    // Whoever made those that were found by looking.
    assert_eq!(ended.counter("ldsentry_events_without_executable_total{reason=\"unknown\"}")?, 2);
    assert!(ended.stderr.contains("gap: the queue of fanotify was full"), "{}", ended.stderr);
    Ok(())
}

/// Of its own accord it takes fanotify only where there are no hooks, and then says so once.
#[test]
fn without_hooks_it_falls_back_and_says_so_once() -> Result<()> {
    let Some(tree) = tree()? else { return Ok(()) };
    let mut sensor = Sensor::start(tree.path(), &[])?;
    shell(tree.path(), "touch $T/etc/ld.so.preload")?;
    let alert = sensor.alert_for("etc/ld.so.preload")?;
    let ended = sensor.end(Signal::TERM)?;
    if lookup(&alert, "ldsentry.origin") == Some(&json!("hook")) {
        say("skipped: this kernel takes hooks");
        return Ok(());
    }
    assert_eq!(ended.stderr.matches(" WARN ").count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("the hooks cannot be attached"), "{}", ended.stderr);
    assert_eq!(ended.counter("ldsentry_source_fallbacks_total")?, 1);
    Ok(())
}
