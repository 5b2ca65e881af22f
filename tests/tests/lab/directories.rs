//! Directories that bring files to a watched path: rows 7 and 8.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use integration_tests::{Outcome, Scenario, lookup};
use serde_json::{Value, json};

use crate::expected::{created, renamed, with};
use crate::loss::increase;

pub(crate) fn scenarios() -> Vec<Scenario> {
    // In a root of its own, so that the guest keeps its /etc. What the shell does from outside has another path.
    let scenario = |name: &str, script: &str| {
        let script = format!("file_system ext4; cd /mnt/ext4/etc\n{script}");
        Scenario::new(format!("directory/{name}"), script)
    };
    vec![
        scenario(
            "onto_conf_d",
            "mkdir prepared; touch prepared/directory1.conf; \
             within ext4 /bin/attack rename /etc/prepared /etc/ld.so.conf.d; \
             wait_for_alert directory1.conf; rm ld.so.conf.d/*",
        )
        .alert(brought("/etc/prepared/directory1.conf", "/etc/ld.so.conf.d/directory1.conf")),
        scenario(
            "exchanged_with_conf_d",
            "mkdir prepared; touch prepared/directory2.conf; \
             within ext4 /bin/attack exchange /etc/prepared /etc/ld.so.conf.d; \
             wait_for_alert directory2.conf; rm ld.so.conf.d/*; rmdir prepared",
        )
        .alert(brought("/etc/prepared/directory2.conf", "/etc/ld.so.conf.d/directory2.conf")),
        scenario(
            "exchanged_the_other_way",
            "mkdir prepared; touch prepared/directory3.conf; \
             within ext4 /bin/attack exchange /etc/ld.so.conf.d /etc/prepared; \
             wait_for_alert directory3.conf; rm ld.so.conf.d/*; rmdir prepared",
        )
        .alert(brought("/etc/prepared/directory3.conf", "/etc/ld.so.conf.d/directory3.conf")),
        scenario(
            "deep_in_conf_d",
            "mkdir -p prepared/a/b; touch prepared/a/b/directory4.conf; \
             within ext4 /bin/attack rename /etc/prepared /etc/ld.so.conf.d; \
             wait_for_alert directory4.conf; rm -r ld.so.conf.d/*",
        )
        .alert(brought("/etc/prepared/a/b/directory4.conf", "/etc/ld.so.conf.d/a/b/directory4.conf")),
        scenario(
            "onto_etc",
            "mkdir ../made; touch ../made/ld.so.preload ../made/other; mv ../etc ../saved; \
             within ext4 /bin/attack rename /made /etc; wait_for_alert /made/ld.so.preload; \
             rm -r ../etc; mv ../saved ../etc",
        )
        .alert(brought("/made/ld.so.preload", "/etc/ld.so.preload")),
        // The link leads where it leads whoever made it: below that root.
        scenario(
            "linked",
            "mkdir -p ../srv/made; touch ../srv/made/directory5.conf; mv ld.so.conf.d saved; \
             within ext4 /bin/attack symlink /srv/made /etc/ld.so.conf.d; \
             wait_for_alert directory5.conf; rm -r ld.so.conf.d ../srv; mv saved ld.so.conf.d",
        )
        .alert(linked("/etc/ld.so.conf.d/directory5.conf")),
        scenario(
            "etc_linked",
            "mkdir ../made; touch ../made/ld.so.preload ../made/other; mv ../etc ../saved; \
             within ext4 /bin/attack symlink made /etc; wait_for_alert /etc/ld.so.preload.*directory_link; \
             rm ../etc; mv ../saved ../etc; rm -r ../made",
        )
        .alert(linked("/etc/ld.so.preload")),
        scenario(
            "link_renamed",
            "mkdir -p ../srv/made; touch ../srv/made/directory6.conf; ln -s ../srv/made link; mv ld.so.conf.d saved; \
             within ext4 /bin/attack rename /etc/link /etc/ld.so.conf.d; \
             wait_for_alert directory6.conf; rm -r ld.so.conf.d ../srv; mv saved ld.so.conf.d",
        )
        .alert(with(
            brought("/etc/link/directory6.conf", "/etc/ld.so.conf.d/directory6.conf"),
            json!({"ldsentry.origin": "directory_link"}),
        )),
        scenario(
            "linked_to_nothing",
            "mv ld.so.conf.d saved; within ext4 /bin/attack symlink /nowhere /etc/ld.so.conf.d; \
             rm ld.so.conf.d; mv saved ld.so.conf.d",
        ),
        scenario(
            "several",
            "mkdir prepared; touch prepared/several1 prepared/several2 prepared/several3; \
             within ext4 /bin/attack rename /etc/prepared /etc/ld.so.conf.d; \
             for number in 1 2 3; do wait_for_alert several$number; done; rm ld.so.conf.d/*",
        )
        .any_alerts()
        .check(|outcome| all_brought(outcome, 3)),
        // More than are looked at: that there are more is said and counted.
        scenario(
            "bounded",
            "mkdir prepared; (cd prepared; seq -f bounded%.0f 1010 | xargs touch); counters before; \
             within ext4 /bin/attack rename /etc/prepared /etc/ld.so.conf.d; \
             counters_after 1002; rm -r ld.so.conf.d; mkdir ld.so.conf.d",
        )
        .any_alerts()
        .check(|outcome| {
            all_brought(outcome, 1000)?;
            let lost = increase(outcome, "ldsentry_events_lost_total{reason=\"directory\"}")?;
            ensure!(lost == 1, "{lost} directories are said to have more");
            let said = "only 1000 files below /etc/ld.so.conf.d were looked at";
            ensure!(outcome.daemon_stderr.contains(said), "it does not say that there are more");
            Ok(())
        }),
        scenario("unwatched", "mkdir -p a/b; touch a/b/x; mv a c; mv c/b d; rm -r c d"),
    ]
}

/// There is an alert for each of so many files, and no other.
fn all_brought(outcome: &Outcome, count: usize) -> Result<()> {
    let text = |alert, field| lookup(alert, field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut files = BTreeSet::new();
    for alert in &outcome.alerts {
        let (path, origin) = (text(alert, "file.path"), text(alert, "ldsentry.origin"));
        let from = path.replace("/ld.so.conf.d/", "/prepared/");
        ensure!(
            origin == "directory_rename" && from != path && text(alert, "file.Ext.original.path") == from,
            "an alert with origin {origin} for {path}"
        );
        files.insert(path);
    }
    let alerts = outcome.alerts.len();
    ensure!((alerts, files.len()) == (count, count), "{alerts} alerts for {} files", files.len());
    Ok(())
}

fn linked(path: &str) -> Value {
    with(
        created(path),
        json!({
            "process.executable": "/bin/attack",
            "ldsentry.origin": "directory_link",
            "file.target_path": null,
        }),
    )
}

fn brought(from: &str, to: &str) -> Value {
    let fields = json!({"process.executable": "/bin/attack", "ldsentry.origin": "directory_rename"});
    with(renamed(from, to), fields)
}
