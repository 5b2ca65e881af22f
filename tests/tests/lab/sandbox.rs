//! What the daemon keeps once it watches, and what somebody could do who has taken it over.

use anyhow::{Context as _, Result, ensure};
use integration_tests::{Outcome, Scenario};
use serde_json::json;

use crate::lifecycle::OWN_LOCK;
use crate::reload::RULE;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("sandbox/status", format!("{OWN_LOCK}{STATUS}")).check(|outcome| {
            let facts = outcome.facts();
            let fact = |name: &str| facts.get(name).map(String::as_str).with_context(|| format!("no {name}"));
            // CAP_DAC_READ_SEARCH, and for the reader CAP_SYS_PTRACE.
            for (name, kept) in [("daemon", "0000000000000004"), ("reader", "0000000000080000")] {
                let none = "0000000000000000";
                let expected =
                    format!("CapInh {none} CapPrm {kept} CapEff {kept} CapBnd {kept} CapAmb {none} NoNewPrivs 1 Seccomp 2");
                let of_helper = expected.replace(kept, none);
                for thread in fact(name)?.split(';').map(str::trim).filter(|thread| !thread.is_empty()) {
                    ensure!(thread == expected || thread == of_helper, "a thread of the {name} has {thread}");
                }
                ensure!(fact(name)?.contains(&expected), "{name}: {}", fact(name)?);
            }
            Ok(())
        }),
        Scenario::new("sandbox/hijacked", HIJACKED).check(all_refused),
        // Everything that is asked for after the start: paths in another mount namespace and below renamed directories, mounts.
        Scenario::new("sandbox/sees_the_same", format!("{OWN_LOCK}{SEES}"))
            .alert(json!({"event.action": "creation", "file.path": "/etc/ld.so.preload"}))
            .alert(json!({"ldsentry.origin": "hook", "file.path": "/etc/ld.so.conf.d/sub"}))
            .alert(json!({"ldsentry.origin": "directory_rename", "file.path": "/etc/ld.so.conf.d/sub/x"})),
        Scenario::new("sandbox/reader_killed", format!("{OWN_LOCK}{READER_KILLED}")).check(|outcome| {
            ensure!(outcome.number("code")? == 5, "the exit code is {}", outcome.number("code")?);
            Ok(())
        }),
        Scenario::new("sandbox/reload", format!("{OWN_LOCK}{RULE}{RELOAD}")),
        Scenario::new("sandbox/off", format!("{OWN_LOCK}{OFF}")),
    ]
}

fn all_refused(outcome: &Outcome) -> Result<()> {
    const SIGSYS: u64 = 128 + 31;
    for (attempt, codes) in [
        ("inside", &[0][..]),
        ("create", &[13]),
        ("write", &[13]),
        ("memory", &[13]),
        ("rename", &[13, 18]),
        ("chmod", &[38]),
        ("exec", &[SIGSYS]),
        ("mount", &[SIGSYS]),
        ("ptrace", &[SIGSYS]),
        ("program", &[1]),
        ("map", &[1]),
        ("probe", &[1]),
        ("connect", &[1]),
    ] {
        let code = outcome.number(attempt)?;
        ensure!(codes.contains(&code), "{attempt} ended with {code} and not with {codes:?}");
    }
    Ok(())
}

/// One line for each thread.
const STATUS: &str = r#"
launch
wait_for 'INFO watching' err
of() {
    for status in /proc/$1/task/*/status; do
        awk '/^(Cap|NoNewPrivs|Seccomp:)/ { sub(":", "", $1); printf "%s%s %s", separator, $1, $2; separator = " " }
             END { printf "; " }' $status
    done
}
fact daemon "$(of $daemon)"
fact reader "$(of $(pgrep -P $daemon))"
end TERM
test $code = 0
released
"#;

const HIJACKED: &str = r#"
mkdir own
touch own/file
try() {
    name=$1
    shift
    hijacked own "$@" 2>said && code=0 || code=$?
    cat said >&2
    fact $name $code
}
try inside create own/new
try create create /etc/ld.so.preload
try write write /etc/passwd
try memory write /proc/1/mem
try rename rename own/file /etc/ld.so.conf.d/x
try chmod chmod own/file
try exec exec /bin/true
try mount mount
try ptrace ptrace
try program load-program
try map make-map
try probe probe
try connect connect
"#;

const SEES: &str = r#"
launch
wait_for 'INFO watching' err
unshare --mount sh -c 'attack create /etc/ld.so.preload'
mkdir sub
touch sub/x
attack rename sub /etc/ld.so.conf.d/sub
wait_for '"directory_rename"' out
wait_for /etc/ld.so.preload out
end TERM
test $code = 0
released
"#;

const READER_KILLED: &str = r"
launch
wait_for watching err
wait_for 'sandbox: capabilities CAP_DAC_READ_SEARCH; writes only to its directories' err
kill -KILL $(pgrep -P $daemon)
wait $daemon && code=0 || code=$?
fact code $code
grep -q 'ldsentry-reader' err
released
";

/// Rules that need no other hooks are taken. Rules that do, and outputs in other directories, take a restart: then nothing of what
/// is new is in force, and everything that was is.
const RELOAD: &str = r#"
mkdir rules mine
output() {
    printf '[rules]\ndirs = ["rules"]\n[output.stdout]\nformat = "ndjson"\n[output.file]\npath = "%s"\n' $1 >config.toml
}
rule made creation >rules/made.toml
rule gone deletion >rules/gone.toml
output mine/alerts
launch --config config.toml
wait_for watching err
# The hooks of an action go with its last rule, and come back with a restart.
attached=$(held link_id)
rule other creation >rules/other.toml
mv rules/gone.toml gone.toml
ldsentry reload
test "$(held link_id)" -lt "$attached"
mv gone.toml rules
fails ldsentry reload 2>error
grep 'ask for deletion, which no rule in force does' error
rm rules/gone.toml
: >other
wait_for '"kibana.alert.rule.rule_id":"other"' out

rule renamed rename >rules/renamed.toml
rule third creation >rules/third.toml
fails ldsentry reload 2>said
cat said >&2
grep -q 'the new rules ask for rename, .* restart the daemon' said
rm rules/renamed.toml
mkdir other.d
output other.d/alerts
fails ldsentry reload 2>said
cat said >&2
grep -q 'cannot write to .*other.d from within its sandbox.* restart the daemon' said
test ! -e other.d/alerts
: >third
: >made
wait_for '"kibana.alert.rule.rule_id":"made"' out
wait_for '"kibana.alert.rule.rule_id":"made"' mine/alerts
test "$(grep -c '"kibana.alert.rule.rule_id":"third"' out)" = 0

# Another file where the first one is does not.
output mine/others
ldsentry reload
rm third
: >third
wait_for '"kibana.alert.rule.rule_id":"third"' mine/others
end TERM
test $code = 0
released
"#;

const OFF: &str = r#"
printf '[sensor]\nsandbox = "off"\n' >config.toml
launch --config config.toml
wait_for watching err
test "$(awk '/^Seccomp:/ { print $2 }' /proc/$daemon/status)" = 0
test -z "$(pgrep -P $daemon)"
end TERM
test $code = 0
released
"#;
