//! What was there before the sensor: rows 26 and 28.

use anyhow::{Context as _, Result, ensure};
use integration_tests::{Outcome, Scenario, lookup};
use serde_json::{Value, json};

use crate::lifecycle::OWN_LOCK;

pub(crate) fn scenarios() -> Vec<Scenario> {
    let scenario = |name: &str, script: &str| {
        Scenario::new(format!("inventory/{name}"), format!("{OWN_LOCK}{PREPARE}{script}{CLEAN_UP}"))
            // The lab's own daemon sees what is prepared.
            .any_alerts()
    };
    vec![
        scenario("alert", "begin alert\nend TERM\ncat out\n").check(|outcome| {
            let documents = documents(outcome)?;
            let preload = state(&documents, "/etc/ld.so.preload")?;
            for (field, expected) in [
                ("event.action", json!("inventory")),
                ("file.type", json!("file")),
                ("file.size", json!(17)),
                ("file.owner", json!("root")),
                ("file.mode", json!("0644")),
                ("file.hash.sha256", json!(outcome.facts().get("sha256"))),
                ("file.mtime", json!("2001-02-03T04:05:06Z")),
                ("ldsentry.inventory.head", json!("/opt/lab/evil.so\n")),
                ("ldsentry.inventory.named_by", Value::Null),
                ("host.hostname", json!("lab")),
            ] {
                let found = lookup(preload, field).cloned().unwrap_or_default();
                ensure!(found == expected, "{field} is {found} and not {expected}");
            }
            // What the linker's files name is found where it is.
            for (path, named_by) in [
                ("/etc/ld.so.conf", Value::Null),
                ("/etc/ld.so.conf.d/libc.conf", Value::Null),
                ("/etc/ld.so.conf.d/lab.conf", Value::Null),
                ("/opt/lab/evil.so", json!("/etc/ld.so.preload")),
                ("/opt/lab/x.conf", json!("/etc/ld.so.conf.d/lab.conf")),
            ] {
                let found = lookup(state(&documents, path)?, "ldsentry.inventory.named_by").cloned();
                ensure!(found.unwrap_or_default() == named_by, "{path} is not named by {named_by}");
            }
            let alerts: Vec<&Value> = documents.iter().filter(|document| is(document, "signal")).collect();
            let [alert] = alerts.as_slice() else { anyhow::bail!("{} alerts: {alerts:#?}", alerts.len()) };
            let path = lookup(alert, "file.path").cloned();
            ensure!(path == Some(json!("/etc/ld.so.preload")), "the alert is for {path:?}");
            Ok(())
        }),
        scenario(
            "state_and_nothing",
            "begin state\nend TERM\ncat out\nrm out err\nlaunch\nwait_for watching err\nend TERM\nfails grep inventory out\n",
        )
        .check(|outcome| {
            let documents = documents(outcome)?;
            state(&documents, "/etc/ld.so.preload")?;
            ensure!(documents.iter().all(|document| is(document, "state")), "there is an alert");
            Ok(())
        }),
        // The directory is somewhere else.
        scenario(
            "linked_directory",
            "mount -t tmpfs none /etc\nmkdir /opt/lab/conf.d\n: >/opt/lab/conf.d/y.conf\n\
             ln -s /opt/lab/conf.d /etc/ld.so.conf.d\nbegin state\nend TERM\ncat out\numount /etc\n",
        )
        .check(|outcome| {
            let found = documents(outcome)?;
            let link = lookup(state(&found, "/etc/ld.so.conf.d")?, "file.target_path").cloned();
            ensure!(link == Some(json!("/opt/lab/conf.d")), "the link points to {link:?}");
            let by = lookup(state(&found, "/opt/lab/conf.d/y.conf")?, "ldsentry.inventory.named_by").cloned();
            ensure!(by == Some(json!("/etc/ld.so.conf.d")), "it is named by {by:?}");
            Ok(())
        }),
    ]
}

fn documents(outcome: &Outcome) -> Result<Vec<Value>> {
    let lines = outcome.stdout.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).with_context(|| format!("reading {line}"))).collect()
}

fn is(document: &Value, kind: &str) -> bool {
    lookup(document, "event.kind").is_some_and(|found| found == kind)
}

/// The one document that says how a file is.
fn state<'d>(documents: &'d [Value], path: &str) -> Result<&'d Value> {
    let of_path = |document: &&Value| lookup(document, "file.path").is_some_and(|found| found == path);
    let mut found = documents.iter().filter(of_path).filter(|document| is(document, "state"));
    let document =
        found.next().with_context(|| format!("there is no document for {path}: {documents:#?}"))?;
    ensure!(found.next().is_none(), "there are several documents for {path}");
    Ok(document)
}

const PREPARE: &str = r#"
mkdir -p /opt/lab
echo library >/opt/lab/evil.so
echo /x >/opt/lab/x.conf
echo 'include /opt/lab/*.conf' >/etc/ld.so.conf.d/lab.conf
# Every program that starts from here on complains of what is no library.
echo /opt/lab/evil.so >/etc/ld.so.preload
touch -d 2001-02-03T04:05:06Z /etc/ld.so.preload 2>/dev/null
fact sha256 "$(sha256sum /etc/ld.so.preload 2>/dev/null | cut -d ' ' -f 1 2>/dev/null)"
begin() {
    printf '[sensor]\ninventory = "%s"\n' $1 >config.toml
    launch --config config.toml
    wait_for 'were there already' err 2>/dev/null
}
"#;

const CLEAN_UP: &str = "
rm -rf /opt/lab /etc/ld.so.conf.d/lab.conf /etc/ld.so.preload
";
