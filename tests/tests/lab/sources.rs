//! Both sources side by side: the same attacks give the same alerts, but for what docs/sources.md says.

use anyhow::{Context as _, Result, ensure};
use integration_tests::{CHANGES_IN_PLACE, Outcome, Scenario, lookup};
use serde_json::{Value, json};

/// Both must say the same here.
const FIELDS: &[&str] = &[
    "event.action",
    "event.type",
    "event.outcome",
    "file.path",
    "file.name",
    "file.type",
    "file.target_path",
    "file.inode",
    "file.device",
    "process.executable",
    "process.name",
    "process.args",
    "process.pid",
    "process.entity_id",
    "process.parent.pid",
    "process.parent.executable",
    "process.thread.capabilities.effective",
    "user.id",
    "user.name",
    "group.id",
    "ldsentry.file.file_system",
    "ldsentry.process.cgroup_id",
    "ldsentry.process.cgroup",
    "ldsentry.process.executable.untrusted",
    "ldsentry.process.mount_namespace",
    "ldsentry.process.in_host_mount_namespace",
];

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("sources/side_by_side", format!("{SECOND_DAEMON}{ATTACKS}"))
            .any_alerts()
            .check(same_alerts),
    ]
}

fn same_alerts(outcome: &Outcome) -> Result<()> {
    let of_hooks: Vec<&Value> = outcome.alerts.iter().collect();
    let told = outcome.stdout.lines().filter(|line| line.starts_with('{'));
    let told: Vec<Value> =
        told.map(serde_json::from_str).collect::<Result<_, _>>().context("reading the alerts")?;
    // Of changes in place fanotify tells some.
    let is_other = |alert: &&Value| {
        text(alert, "file.name").starts_with("lab-marker-")
            || text(alert, "kibana.alert.rule.name") == CHANGES_IN_PLACE
    };
    let told: Vec<&Value> = told.iter().filter(|alert| !is_other(alert)).collect();
    let shown = |alerts: &[&Value]| -> Vec<String> {
        alerts
            .iter()
            .map(|alert| format!("{} {}", text(alert, "event.action"), text(alert, "file.path")))
            .collect()
    };
    ensure!(
        shown(&of_hooks) == shown(&told),
        "the hooks: {:#?}\nfanotify: {:#?}",
        shown(&of_hooks),
        shown(&told)
    );
    ensure!(of_hooks.len() == ALERTS, "{} alerts: {:#?}", of_hooks.len(), shown(&of_hooks));
    for (hook, notification) in of_hooks.iter().zip(&told) {
        for field in FIELDS {
            let (one, other) = (lookup(hook, field), lookup(notification, field));
            // A file that is gone has no type and no inode any more; the hook knew them.
            let gone = other.is_none() && text(hook, "file.name") == "gone" && field.starts_with("file.");
            // Some hooks run before there is an inode, and of two files that are exchanged they know one.
            let early = one.is_none() && field.starts_with("file.");
            ensure!(
                one == other || gone || early,
                "{field} of {} is {one:?} for the hooks, {other:?} for fanotify",
                text(hook, "file.path")
            );
        }
        let (one, other) = (lookup(hook, "ldsentry.origin"), lookup(notification, "ldsentry.origin"));
        ensure!((one, other) == (Some(&json!("hook")), Some(&json!("notification"))), "{one:?}, {other:?}");
        // From a directory that is not marked, the old name is not told.
        let original = text(hook, "file.Ext.original.path");
        let expected = if original.starts_with("/var/lab") { "" } else { original };
        let found = text(notification, "file.Ext.original.path");
        ensure!(found == expected, "the old path of {} is `{found}`", text(hook, "file.path"));
    }
    Ok(())
}

fn text<'a>(alert: &'a Value, field: &str) -> &'a str {
    lookup(alert, field).and_then(Value::as_str).unwrap_or_default()
}

/// There is one daemon a host: this one has a `/run` of its own for its lock.
const SECOND_DAEMON: &str = r#"
unshare --mount sh -c '
    mount -t tmpfs none /run
    exec /lab/bin/ldsentry run --source fanotify --output ndjson' >second.ndjson 2>second.errors &
second=$!
tries=0
until grep --quiet 'INFO watching' second.errors; do
    tries=$((tries + 1))
    if [ $tries -gt 1200 ] || ! kill -0 $second; then
        cat second.errors >&2
        exit 1
    fi
    sleep 0.05
done

# Waits until both have reported everything up to here.
both_reported() {
    marker=/etc/ld.so.conf.d/lab-marker-$1
    : >"$marker"
    for said in /run/ldsentry.stdout second.ndjson; do
        tries=0
        until grep --quiet "$marker" $said; do
            tries=$((tries + 1))
            if [ $tries -gt 1200 ]; then
                echo "no alert for $marker in $said" >&2
                exit 1
            fi
            sleep 0.05
        done
    done
    rm "$marker"
}
"#;

/// Alerts that these attacks give.
const ALERTS: usize = 14;

const ATTACKS: &str = r"
touch here
attack create /etc/ld.so.preload
attack create /etc/ld.so.conf.d/a
attack symlink /x.so /etc/ld.so.conf.d/s
attack mkfifo /etc/ld.so.conf.d/p
attack link here /etc/ld.so.conf.d/l
attack create /etc/LD.SO.CONF
attack create-and-unlink /etc/ld.so.conf.d/gone
mkdir /etc/ld.so.conf.d/sub
both_reported first
attack create /etc/ld.so.conf.d/sub/b
touch /etc/there
attack rename here /etc/ld.so.conf.d/c
attack rename /etc/there /etc/ld.so.conf.d/d
attack exchange /etc/ld.so.conf.d/c /etc/ld.so.conf.d/d
(echo x >/etc/ld.so.conf.d/e)
chmod 777 /etc/ld.so.conf.d
setpriv --reuid 1234 --regid 5678 --clear-groups attack create /etc/ld.so.conf.d/f
chmod 755 /etc/ld.so.conf.d
# None of these: it failed, it was there, no rule asks for it.
touch new
fails attack rename-noreplace new /etc/ld.so.conf.d/f
attack open-or-create /etc/ld.so.conf.d/f
attack create /etc/ld.so.preloaded
both_reported last
rm /etc/ld.so.preload /etc/LD.SO.CONF /etc/ld.so.preloaded
(cd /etc/ld.so.conf.d && rm -r sub a c d e f l p s)
kill $second
wait $second
cat second.ndjson
";
