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
        scenario("unhooked", UNHOOKED).alerts(reported(&["unseen", "seen"])),
        scenario("sandbox", SANDBOX).alerts(reported(&["one", "two"])),
        scenario("impossible", IMPOSSIBLE).alerts(reported(&["one", "unseen"])),
        scenario("off", OFF).alerts(reported(&["unseen"])),
        scenario("output_gone", OUTPUT_GONE).alerts(reported(&["one"])),
        scenario("killed", KILLED).any_alerts(),
        scenario("overflow", OVERFLOW).with_changes_in_place().any_alerts(),
        scenario("upgrade", UPGRADE).alerts(reported(&["old", "unread"])),
    ]
}

/// A BPF file system that no other daemon uses.
pub(crate) const OWN_PINS: &str = r#"
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
# The alerts for a creation: that the file is removed is another alert.
created() {
    grep "\"path\":\"/etc/ld.so.conf.d/$1\"" all | grep '"action":"creation"' || true
}
gaps() {
    grep '"kibana.alert.rule.name":"This host was not watched"' all || true
}
wait_until_gone() {
    tries=0
    while [ -e "$1" ]; do
        tries=$((tries + 1))
        test $tries -lt 600
        sleep 0.05
    done
}
# Checks how many lines something prints.
lines() {
    count=$1
    shift
    lines=$("$@" | wc -l)
    if [ $lines != $count ]; then
        echo "lab: \"$*\" gives $lines and not $count lines; the daemons said:" >&2
        cat log >&2
        return 1
    fi
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
ids() {
    created one | grep -o '"kibana.alert.uuid":"[0-9a-f]*"' | sort -u
}
lines 1 ids
lines 1 created two
lines 1 created three
lines 0 gaps
test -d $pins
ldsentry unload | grep 'removed [1-9][0-9]* links and [1-9][0-9]* maps'
test ! -e $pins
released
ldsentry unload | grep 'nothing is pinned'
"#;

/// With no more capabilities than the unit and the `DaemonSet` give it; Debian wants one more for kprobes. Of these it keeps one.
const SERVICE: &str = r#"
only=-all,+bpf,+perfmon,+sys_ptrace,+dac_read_search
case $attach in *kprobe*) only=$only,+sys_admin ;; esac
launch() {
    setpriv --bounding-set=$only --inh-caps=-all --no-new-privs \
        /lab/bin/ldsentry run --output ndjson --$attach >out 2>err &
    daemon=$!
}
start
grep "^CapEff:.*0000000000000004" /proc/$daemon/status
attack_on one
wait_for conf.d/one out
stop TERM
attack_on two
start
wait_for conf.d/two out
stop TERM
lines 0 gaps
fails grep 'cannot go on' log
lines 1 created one
lines 1 created two
ldsentry unload
released
"#;

/// Somebody takes away what was pinned.
const REMOVED: &str = r"
start
stop TERM
rm -r $pins
released
attack_on unseen
start
wait_for 'This host was not watched' out
# A person at a terminal: nothing stays.
stop INT
lines 1 gaps
lines 0 created unseen
grep -q 'gap: nothing was watched from .* to .*: what was pinned for it in the kernel was removed' log
test ! -e $pins/abi*
released
";

/// Somebody takes away one link of those that are needed: what is left does not do for going on.
const UNHOOKED: &str = r#"
now() {
    date --utc +%FT%T.%NZ
}
start
set=$(echo $pins/abi*)
before=$(now)
stop TERM
after=$(now)
rm $set/links/inode_create
attack_on unseen
start
wait_for 'This host was not watched' out
attack_on seen
wait_for conf.d/seen out
wait_until_gone $set-old
test -e $set/links/inode_create
stop TERM
# The second one of its kind finds all of it.
start
stop INT
lines 1 gaps
lines 0 created unseen
lines 1 created seen
grep -q 'links are missing in .*: attaching anew' log
gap=$(sed -n 's/.*gap: nothing was watched from \(.*\) to \(.*\): links of its programs were removed from the kernel.*/\1 \2/p' log)
echo "$gap"
# It begins when the first one saw the last of what happened, and ends when the second one watched.
printf '%s\n' "$before" "${gap% *}" "$after" "${gap#* }" | LC_ALL=C sort --check
gaps | grep -q "\"start\":\"${gap% *}\"" && gaps | grep -q "\"end\":\"${gap#* }\""
test ! -e $pins/abi*
"#;

/// What was given up does not keep it from taking over what another version left, nor from removing it all in the end.
const SANDBOX: &str = r"
start
attack_on one
wait_for conf.d/one out
stop TERM
set=$(echo $pins/abi*)
mv $set ${set%-*}-0123456789abcdef
attack_on two
start
wait_for conf.d/two out
wait_until_gone ${set%-*}-0123456789abcdef
stop INT
lines 1 created one
lines 1 created two
lines 0 gaps
fails grep 'stays in the kernel' log
test ! -e $pins/abi*
released
";

/// Without a BPF file system it watches all the same, says what that means, and afterwards from when to when it did not.
const IMPOSSIBLE: &str = r#"
umount /sys/fs/bpf
mount -t tmpfs none /sys/fs/bpf
start
attack_on one
wait_for conf.d/one out
stop TERM
released
attack_on unseen
start
wait_for 'This host was not watched' out
stop TERM
test "$(grep -c 'nothing stays in the kernel when the daemon ends' log)" = 2
lines 1 created one
lines 0 created unseen
lines 1 gaps
grep -q 'gap: nothing was watched from .* to .*: the sensor did not run' log
released
"#;

/// It can be told to leave nothing behind, and then says what that meant.
const OFF: &str = r#"
printf '[sensor]\npins = "off"\n' >config.toml
start --config config.toml
test ! -e $pins
stop TERM
released
attack_on unseen
start --config config.toml
wait_for 'This host was not watched' out
stop TERM
lines 1 gaps
lines 0 created unseen
fails grep 'nothing stays in the kernel' log
test ! -e $pins
released
"#;

/// Who read its alerts is gone, and so it ends: what nobody got, the next one tells.
const OUTPUT_GONE: &str = r"
mkfifo pipe
/lab/bin/ldsentry run --output ndjson --$attach >pipe 2>err &
daemon=$!
exec 3<pipe
wait_for watching err
exec 3<&-
attack_on one
wait $daemon && code=0 || code=$?
cat err >>log
test $code = 5
start
wait_for conf.d/one out
stop INT
lines 1 created one
lines 0 gaps
test ! -e $pins/abi*
";

/// Killed again and again while something happens all the time: a server gets all of it, under one id each.
const KILLED: &str = r#"
cat >receive.pl <<'END'
use IO::Socket::UNIX;
$| = 1;
my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => 'socket') or die $!;
while (defined $socket->recv(my $message, 65536)) {
    print "$message\n";
}
END
perl receive.pl >received &
printf '[output.syslog]\naddress = "unix://%s/socket"\nmessage = "json"\n' $PWD >config.toml
printf '[spool]\npath = "%s/spool.redb"\ndead_letters = "%s/dead"\n' $PWD $PWD >>config.toml
start --config config.toml
(
    for number in $(seq 60); do
        attack create /etc/ld.so.conf.d/made$number >/dev/null
    done
) &
for life in 1 2 3 4; do
    wait_for "conf.d/made$life" received
    stop KILL
    start --config config.toml
done
for number in $(seq 60); do
    wait_for "conf.d/made$number\"" received
done
stop INT
rm /etc/ld.so.conf.d/made*
ids() {
    grep '"action":"creation"' received | grep -o '"kibana.alert.uuid":"[0-9a-f]*"' | sort -u
}
lines 60 ids
lines 0 gaps
test ! -e dead
"#;

/// More than the ring has room for, with nobody there to read it: the next daemon has what fitted, and says what did not.
const OVERFLOW: &str = r#"
printf '[sensor]\nring_bytes = 65536\n' >config.toml
start --config config.toml
stop TERM
attack flood /etc/ld.so.conf.d flooded 300 >/dev/null
start --config config.toml
wait_for 'Events of this host were lost' out
stop INT
lost=$(sed -n 's/.*events_lost_total{reason=\\"ring_full\\"}":\([0-9]*\).*/\1/p' log | tail -n 1)
seen=$(grep -c conf.d/flooded all)
echo "$seen seen, $lost lost"
test $lost -gt 0
test $((seen + lost)) = 600
grep 'Events of this host were lost' all | grep -q "\"lost\":{\"count\":$lost"
lines 0 gaps
"#;

/// Other programs, whose records this version can read, and then such as it cannot.
const UPGRADE: &str = r"
start
stop TERM
attack_on old
set=$(echo $pins/abi*)
other=${set%-*}-0123456789abcdef
mv $set $other
start
wait_for conf.d/old out
wait_until_gone $other
stop TERM
lines 1 created old
lines 0 gaps
attack_on unread
mv $pins/abi* $pins/abi255-fentry-0123456789abcdef
start
wait_for 'This host was not watched' out
stop TERM
lines 0 created unread
grep -q 'gap: .*: this version cannot read what the programs of the one before it collected' log
ldsentry unload
released
";
