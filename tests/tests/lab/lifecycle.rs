//! Starting, being told to stop, being killed, twice at once: nothing is left behind, and the next start works.

use anyhow::{Context as _, Result, ensure};
use integration_tests::{Outcome, Scenario};
use serde_json::json;

pub(crate) fn scenarios() -> Vec<Scenario> {
    let created = |path: &str| json!({"event.action": "creation", "file.path": path});
    let mut scenarios = vec![
        // The lab's daemon goes on as if nothing had been.
        Scenario::new("lifecycle/second_is_refused", SECOND).alert(created("/etc/ld.so.preload")).check(
            |outcome| {
                ensure!(outcome.number("code")? == 1, "the exit code is {}", outcome.number("code")?);
                ensure!(
                    objects(outcome, "before")? == objects(outcome, "after")?,
                    "something is left behind"
                );
                Ok(())
            },
        ),
        Scenario::new("lifecycle/killed_while_it_starts", format!("{OWN_LOCK}{KILLED_EARLY}")),
        Scenario::new("lifecycle/stale_lock", format!("{OWN_LOCK}{STALE_LOCK}")),
        Scenario::new("lifecycle/diagnostics", format!("{OWN_LOCK}{DIAGNOSTICS}"))
            .alert(created("/etc/ld.so.preload"))
            .check(|outcome| {
                // The lab's own daemon is at the level that everybody has.
                ensure!(!outcome.daemon_stderr.contains("no root"), "it speaks without being asked");
                Ok(())
            }),
    ];
    for (signal, codes) in [("TERM", &[0][..]), ("INT", &[0]), ("KILL", &[128 + 9, 128 + 9])] {
        let scenario = Scenario::new(
            format!("lifecycle/sig{}", signal.to_lowercase()),
            format!("{OWN_LOCK}signal={signal} starts={}\n{STOPPED}", codes.len()),
        );
        // The lab's daemon reports everything too.
        let alerts = codes.iter().map(|_| created("/etc/ld.so.conf.d/watched"));
        scenarios.push(scenario.seconds(240).alerts(alerts).check(|outcome| stopped(outcome, codes)));
    }
    scenarios
}

/// Programs, links and maps in the kernel.
fn objects(outcome: &Outcome, fact: &str) -> Result<[u64; 3]> {
    let facts = outcome.facts();
    let line = facts.get(fact).with_context(|| format!("the script did not print {fact}=…"))?;
    let mut numbers =
        line.split(|character: char| !character.is_ascii_digit()).filter(|word| !word.is_empty());
    let mut number =
        || -> Result<u64> { Ok(numbers.next().with_context(|| format!("no counts in {line}"))?.parse()?) };
    Ok([number()?, number()?, number()?])
}

fn stopped(outcome: &Outcome, codes: &[u64]) -> Result<()> {
    let before = objects(outcome, "before")?;
    for (start, expected) in codes.iter().enumerate() {
        let fact = |name: &str| format!("{name}_{}", start + 1);
        let during = objects(outcome, &fact("during"))?;
        // Else the counts say nothing.
        let held = (outcome.number(&fact("programs"))?, outcome.number(&fact("links"))?);
        ensure!(
            held.0 >= 4
                && held.1 >= 4
                && (during[0] - before[0], during[1] - before[1]) == held
                && during[2] > before[2],
            "{before:?} programs, links and maps without it, {during:?} with it, and {held:?} are its own"
        );
        let code = outcome.number(&fact("code"))?;
        ensure!(code == *expected, "the exit code is {code} and not {expected}");
        let after = objects(outcome, &fact("after"))?;
        ensure!(after == before, "{before:?} programs, links and maps before it, {after:?} after it");
    }
    Ok(())
}

/// A second one beside the lab's.
const SECOND: &str = r#"
fact before "$(bpf-objects)"
/lab/bin/ldsentry run >out 2>err && code=0 || code=$?
fact code $code
fact after "$(bpf-objects)"
grep -q "another ldsentry is running already (pid $LDSENTRY_PID)" err
test ! -s out
attack create /etc/ld.so.preload
"#;

/// The lock is in /run: with a /run of its own, a script can have its own daemon.
pub(crate) const OWN_LOCK: &str = r#"
if [ -z "${OWN_LOCK:-}" ]; then
    export OWN_LOCK=1
    exec unshare --mount sh "$0"
fi
mount -t tmpfs none /run

# Starts a daemon that attaches as the lab's does, unless told otherwise.
attach=$(tr '\0' ' ' <"/proc/$LDSENTRY_PID/cmdline" | grep -o 'attach [a-z]*')
launch() {
    /lab/bin/ldsentry run --output ndjson --$attach "$@" >out 2>err &
    daemon=$!
}

# Waits for a line in what the daemon says.
wait_for() {
    tries=0
    until grep -q "$1" "$2"; do
        tries=$((tries + 1))
        if [ $tries -gt 600 ] || ! kill -0 $daemon; then
            echo "lab: no \"$1\" in:" >&2
            cat "$2" >&2
            return 1
        fi
        sleep 0.05
    done
}

# Sends a signal, and waits for the end.
end() {
    kill -$1 $daemon
    wait $daemon && code=0 || code=$?
}

# How many of a kind the daemon holds.
held() {
    cat /proc/$daemon/fdinfo/* | grep "^$1:" | sort -u | wc -l
}

# Waits until the kernel has as much as it had before: it lets go on its own time.
released() {
    tries=0
    until [ "$(bpf-objects)" = "$before" ]; do
        tries=$((tries + 1))
        if [ $tries -gt 200 ]; then
            echo "lab: before $before, now $(bpf-objects)" >&2
            return 1
        fi
        sleep 0.05
    done
}
before=$(bpf-objects)
"#;

const STOPPED: &str = r#"
fact before "$before"
for start in $(seq $starts); do
    launch
    wait_for watching err
    fact during_$start "$(bpf-objects)"
    fact programs_$start "$(held prog_id)"
    fact links_$start "$(held link_id)"
    attack create /etc/ld.so.conf.d/watched >/dev/null
    wait_for /etc/ld.so.conf.d/watched out
    rm /etc/ld.so.conf.d/watched
    end $signal
    fact code_$start $code
    released
    fact after_$start "$(bpf-objects)"
    # That it is removed is another alert.
    test "$(grep /etc/ld.so.conf.d/watched out | grep -c '"creation"')" = 1
    # What it counted is its last word, if it is given one.
    test $signal = KILL || grep -q '^{"counters"' err
    # The directory for pins is the lab's own daemon's, which it says once.
    test "$(grep -c 'nothing stays in the kernel when the daemon ends' err)" = 1
done
"#;

/// Killed once it has the lock: while it loads, and then while it tries what it loaded.
const KILLED_EARLY: &str = r#"
launch
tries=0
until [ -s /run/ldsentry/lock ]; do
    tries=$((tries + 1))
    test $tries -lt 2000
    sleep 0.005
done
end KILL
test $code = 137
released
launch
until [ "$(bpf-objects)" != "$before" ]; do
    kill -0 $daemon
done
end KILL
test $code = 137
released
launch
wait_for watching err
end TERM
test $code = 0
released
"#;

/// The file is there, with a process that runs, and nobody holds it.
const STALE_LOCK: &str = r#"
mkdir /run/ldsentry
echo 1 >/run/ldsentry/lock
launch
wait_for watching err
test "$(cat /run/ldsentry/lock)" = $daemon
end TERM
test $code = 0
released
"#;

/// Beside its own daemon: what a memfd has for a path ends before a root.
const DIAGNOSTICS: &str = r"
export LDSENTRY_LOG=info,sensor_ebpf=debug
launch
wait_for watching err
attack from-memfd evil create /etc/ld.so.preload
wait_for '/etc/ld.so.preload' out
wait_for 'DEBUG.*a path has no root' err
end TERM
test $code = 0
released
";
