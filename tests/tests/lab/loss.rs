//! Nothing goes missing unseen: row 21.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use integration_tests::{Outcome, Scenario, lookup};
use serde_json::Value;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("loss/flood_of_unwatched_files", UNWATCHED).check(|outcome| {
            for result in ["success", "failure", "unknown"] {
                let events = increase(outcome, &format!("ldsentry_events_total{{outcome=\"{result}\"}}"))?;
                ensure!(
                    events == 0,
                    "{events} events with outcome {result} left the kernel for files that no rule names"
                );
            }
            ensure!(lost(outcome)? == 0, "events are lost");
            Ok(())
        }),
        // Each is created and removed, and both is an alert.
        Scenario::new("loss/flood_of_watched_files", WATCHED).with_changes_in_place().any_alerts().check(|outcome| {
            let attempts = 4 * outcome.number("count")?;
            let of = |alert: &Value, field: &str| lookup(alert, field).map(Value::to_string);
            let named: BTreeSet<_> =
                outcome.alerts.iter().map(|alert| (of(alert, "event.action"), of(alert, "file.path"))).collect();
            let alerts = outcome.alerts.len() as u64;
            ensure!(named.len() as u64 == alerts, "{alerts} alerts for {} files", named.len());
            let dropped =
                increase(outcome, "ldsentry_output_alerts_total{output=\"stdout\",result=\"dropped\"}")?;
            let lost = lost(outcome)?;
            ensure!(
                alerts + dropped + lost == attempts,
                "{attempts} files were created or removed; {alerts} alerts, {dropped} dropped, {lost} events lost"
            );
            let events = increase(outcome, "ldsentry_events_total{outcome=\"success\"}")?
                + increase(outcome, "ldsentry_events_total{outcome=\"unknown\"}")?;
            ensure!(events + lost == attempts, "{attempts} operations; {events} events, {lost} lost");
            Ok(())
        }),
        Scenario::new("loss/watched_among_unwatched", MIXED).any_alerts().check(|outcome| {
            let attempts = outcome.number("count")?;
            let alerts = outcome.alerts.len() as u64;
            ensure!(alerts == attempts, "{attempts} files were created; {alerts} alerts");
            Ok(())
        }),
        // More than the ring holds.
        Scenario::new("loss/failures_that_wake_nobody", FAILURES).check(|outcome| {
            let attempts = outcome.number("count")?;
            let failures = increase(outcome, "ldsentry_events_total{outcome=\"failure\"}")?;
            let lost = lost(outcome)?;
            ensure!(
                failures == attempts && lost == 0,
                "{attempts} creations failed; {failures} of them were seen, {lost} lost"
            );
            Ok(())
        }),
        load(),
        // Runs after the floods. Without what is of the program's file: this build is not the one that people run.
        Scenario::new("loss/memory_is_given_back", RESIDENT),
    ]
}

/// Creations and renames that no rule is about, on both processors. More than the default take minutes, and are for when
/// they are asked for.
const LOAD: &str = "LDSENTRY_LOAD";
const USUAL_LOAD: u64 = 20_000;

/// One in a hundred operations is watched, and none of them is lost.
fn load() -> Scenario {
    let unrelated = std::env::var(LOAD).ok().and_then(|number| number.parse().ok()).unwrap_or(USUAL_LOAD);
    let watched = unrelated / 100;
    let script = format!(
        "counters before\nmkdir one two\n\
         taskset -c 0 attack churn one {half} /etc/ld.so.conf.d one {half_watched} >/dev/null &\n\
         taskset -c 1 attack churn two {half} /etc/ld.so.conf.d two {half_watched}\nwait\ncounters_after {events}",
        half = unrelated / 2,
        half_watched = watched / 2,
        // Each is removed again.
        events = 2 * watched,
    );
    Scenario::new("loss/load", script).seconds(90 + unrelated / 1000).any_alerts().check(move |outcome| {
        let paths = |alert: &Value| lookup(alert, "file.path").map(Value::to_string);
        let named: BTreeSet<String> = outcome.alerts.iter().filter_map(paths).collect();
        let alerts = outcome.alerts.len() as u64;
        ensure!(
            alerts == watched && named.len() as u64 == watched,
            "{alerts} alerts for {} files, and {watched} were created",
            named.len()
        );
        ensure!(lost(outcome)? == 0, "events are lost");
        let events = increase(outcome, "ldsentry_events_total")?;
        ensure!(
            events == 2 * watched,
            "{events} events left the kernel for {watched} files that a rule names"
        );
        Ok(())
    })
}

/// How much a counter, or all those whose names begin so, grew from `before` to `after`.
pub(crate) fn increase(outcome: &Outcome, name: &str) -> Result<u64> {
    let facts = outcome.facts();
    let value = |when: &str| -> Result<u64> {
        let line = facts.get(when).with_context(|| format!("the script did not print {when}=…"))?;
        let document: Value = serde_json::from_str(line).with_context(|| format!("reading {line}"))?;
        let counters = document["counters"].as_object().with_context(|| format!("no counters in {line}"))?;
        let named = counters.iter().filter(|(series, _)| series.starts_with(name));
        let values: Vec<u64> = named.filter_map(|(_, value)| value.as_u64()).collect();
        ensure!(!values.is_empty(), "there is no counter {name}");
        Ok(values.iter().sum())
    };
    value("after")?.checked_sub(value("before")?).with_context(|| format!("{name} went down"))
}

fn lost(outcome: &Outcome) -> Result<u64> {
    increase(outcome, "ldsentry_events_lost_total")
}

const RESIDENT: &str = "
resident() {
    awk '/^RssAnon/ { print $2 }' /proc/$LDSENTRY_PID/status
}
started=$(cut -d . -f 1 /proc/uptime)
until [ $(resident) -lt 6144 ]; do
    if [ $(($(cut -d . -f 1 /proc/uptime) - started)) -gt 60 ]; then
        grep -E '^(VmRSS|Rss)' /proc/$LDSENTRY_PID/status >&2
        grep -E '^[0-9a-f]+-|^(Rss|Anonymous):' /proc/$LDSENTRY_PID/smaps | paste - - - | awk '$(NF-1) > 100' >&2
        exit 1
    fi
    sleep 0.05
done
# What a thread has in memory of its own is not given back. It is 64 MiB of addresses; the heap of all can have been as long.
awk '/^[0-9a-f]+-/ { place = $0 } /^Size:/ && $2 > 32768 && place !~ /heap/ { print place, $2; found = 1 } END { exit found }' \
    /proc/$LDSENTRY_PID/smaps >&2
# What was given back would come again as huge pages, some time later.
grep -q '^THP_enabled:[[:space:]]*0$' /proc/$LDSENTRY_PID/status
";

const UNWATCHED: &str = "
counters before
mkdir one two
attack flood one file 5000 >/dev/null &
attack flood two preload 5000
wait
counters after
";

/// From both processors at once.
const WATCHED: &str = "
fact count 1000
counters before
attack flood /etc/ld.so.conf.d a 1000 >/dev/null &
attack flood /etc/ld.so.conf.d b 1000
wait
counters_after 4000
";

/// The file system has no inode left.
const FAILURES: &str = "
fact count 2000
counters before
unshare --mount sh -eu -c '
    mount -t tmpfs -o nr_inodes=8 none /etc
    n=0
    while mkdir /etc/$n 2>/dev/null; do n=$((n + 1)); done
    test $n -gt 0
    n=0
    while [ $n -lt 2000 ]; do
        if { true >/etc/ld.so.conf; } 2>/dev/null; then exit 1; fi
        n=$((n + 1))
    done'
# The mount counts too.
counters_after 2001
";

const MIXED: &str = "
fact count 100
attack flood . file 20000 >/dev/null &
attack flood /etc/ld.so.conf.d watched 100
wait
";
