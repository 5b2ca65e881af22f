//! The kernel goes on collecting while there is no daemon; where it does not, that is said: row 24.

use integration_tests::Scenario;
use serde_json::json;

use crate::lifecycle::OWN_LOCK;

pub(crate) fn scenarios() -> Vec<Scenario> {
    // The lab's own daemon reports everything too.
    let reported = |names: &[&str]| {
        let alert = |name: &&str| json!({"file.path": format!("/etc/ld.so.conf.d/{name}")});
        names.iter().map(alert).collect::<Vec<_>>()
    };
    let scenario = |name: &str, script: &str| {
        Scenario::new(format!("lifecycle/pins_{name}"), format!("{OWN_LOCK}{OWN_PINS}{script}")).seconds(240)
    };
    vec![
        scenario("restart", RESTART).alerts(reported(&["one", "two", "three"])),
        scenario("service", SERVICE).alerts(reported(&["one", "two"])),
        scenario("removed", REMOVED).alerts(reported(&["unseen"])),
        scenario("upgrade", UPGRADE).alerts(reported(&["old", "unread"])),
    ]
}

/// A BPF file system that no other daemon uses.
const OWN_PINS: &str = r#"
mount -t bpf none /sys/fs/bpf
pins=/sys/fs/bpf/ldsentry
attack_on() {
    attack create /etc/ld.so.conf.d/$1 >/dev/null
    rm /etc/ld.so.conf.d/$1
}
start() {
    launch "$@"
    wait_for watching err
}
# Ends the daemon and keeps what it said.
stop() {
    end $1
    cat out >>all
    cat err >>log
}
# How many alerts there are with a text.
count() {
    grep -c "$1" all || true
}
gaps() {
    count '"kibana.alert.rule.name":"This host was not watched"'
}
"#;

/// Told to end, and killed: what happened meanwhile is reported afterwards, once, and nothing was missed.
const RESTART: &str = r#"
start
attack_on one
wait_for conf.d/one out
stop KILL
test $code = 137
attack_on two
start
wait_for conf.d/two out
stop TERM
test $code = 0
attack_on three
start
wait_for conf.d/three out
stop TERM
# What was shown and not given back when it was killed is shown again, under the same id.
test "$(grep '"path":"/etc/ld.so.conf.d/one"' all | grep -o '"kibana.alert.uuid":"[0-9a-f]*"' | sort -u | wc -l)" = 1
for name in two three; do
    test "$(count "\"path\":\"/etc/ld.so.conf.d/$name\"")" = 1
done
test "$(gaps)" = 0
test -d $pins
ldsentry unload | grep 'removed [1-9][0-9]* links and [1-9][0-9]* maps'
test ! -e $pins
released
ldsentry unload | grep 'nothing is pinned'
"#;

/// With no more capabilities than the unit and the DaemonSet give it; Debian wants one more for kprobes.
const SERVICE: &str = r#"
only=-all,+bpf,+perfmon,+sys_ptrace,+dac_read_search
effective=000000c000080004
case $attach in *kprobe*) only=$only,+sys_admin effective=000000c000280004 ;; esac
launch() {
    setpriv --bounding-set=$only --inh-caps=-all --no-new-privs \
        /lab/bin/ldsentry run --output ndjson --$attach >out 2>err &
    daemon=$!
}
start
grep "^CapEff:.*$effective" /proc/$daemon/status
attack_on one
wait_for conf.d/one out
stop TERM
attack_on two
start
wait_for conf.d/two out
stop TERM
test "$(gaps)" = 0
! grep -q 'cannot go on' log
for name in one two; do
    test "$(count "\"path\":\"/etc/ld.so.conf.d/$name\"")" = 1
done
ldsentry unload
released
"#;

/// Somebody takes away what was pinned.
const REMOVED: &str = r#"
start
stop TERM
rm -r $pins
released
attack_on unseen
start
wait_for 'This host was not watched' out
# A person at a terminal: nothing stays.
stop INT
test "$(gaps)" = 1
test "$(count conf.d/unseen)" = 0
grep -q 'gap: nothing was watched from .* to .*: what was pinned for it in the kernel was removed' log
test ! -e $pins/abi*
released
"#;

/// Other programs, whose records this version can read, and then such as it cannot.
const UPGRADE: &str = r#"
start
stop TERM
attack_on old
mv $pins/abi* $pins/abi1-fentry-0123456789abcdef
start
wait_for conf.d/old out
tries=0
while [ -e $pins/abi1-fentry-0123456789abcdef ]; do
    tries=$((tries + 1))
    test $tries -lt 600
    sleep 0.05
done
stop TERM
test "$(count '"path":"/etc/ld.so.conf.d/old"')" = 1
test "$(gaps)" = 0
attack_on unread
mv $pins/abi* $pins/abi9-fentry-0123456789abcdef
start
wait_for 'This host was not watched' out
stop TERM
test "$(count conf.d/unread)" = 0
grep -q 'gap: .*: this version cannot read what the programs of the one before it collected' log
ldsentry unload
released
"#;
