# What runs in the guest. A line of figures is `LABEL<tab>OPERATION<tab>INSTRUCTIONS`, another fact is `NAME=VALUE`.
set -eu

mkdir -p /cost/tmpfs
mount -t tmpfs tmpfs /cost/tmpfs
echo "kernel=$(uname -r -v)"

fail() {
    echo "$1" >&2
    cat /run/errors /run/output >&2 || true
    exit 1
}

# begin TEXT COMMAND…: starts a program and waits until it has said TEXT.
begin() {
    text=$1
    shift
    : >/run/output
    : >/run/errors
    "$@" >/run/output 2>/run/errors </dev/null &
    process=$! tries=0
    until grep -q "$text" /run/output /run/errors; do
        kill -0 $process 2>/dev/null || fail "$1 ended before it was ready"
        tries=$((tries + 1))
        test $tries -lt 600 || fail "$1 is not ready after a minute"
        sleep 0.1
    done
}

# bpftrace 0.17 overlooks a signal that does not come in one of its waits, as on 6.12 where one is just over: it is told again.
end() {
    kill -TERM $process
    tries=0
    # A shell that waits for something else hears of the end.
    while kill -0 $process 2>/dev/null; do
        tries=$((tries + 1))
        test $tries -lt 600 || fail "process $process does not end"
        if [ $((tries % 50)) -eq 0 ]; then
            kill -TERM $process
        fi
        sleep 0.1
    done
    # The daemon's programs outlive it.
    ldsentry unload >/run/output 2>&1 || fail "the programs cannot be taken away"
}

baselines=0
baseline() {
    baselines=$((baselines + 1))
    cost measure "nothing $baselines"
}

# with NAME: measures with what runs, ends it, and measures without.
with() {
    cost measure "$1"
    end
    baseline
}

floor() {
    begin ready cost floor "$1" security_inode_create security_inode_init_security security_inode_rename end:vfs_rename
    with "floor: $1"
}

# sensor ATTACH WHAT ARGUMENT…: the daemon with a way to attach.
sensor() {
    attach=$1 what=$2
    shift 2
    begin 'watching' ldsentry run --output ndjson --attach "$attach" "$@"
    with "ldsentry: $attach, $what"
}

sensor_by_fanotify() {
    begin 'watching' ldsentry run --output ndjson --source fanotify
    with "ldsentry: fanotify"
}

# Where something is watched on the file system already, as systemd, udev and others do.
sensor_by_fanotify_beside_inotify() {
    begin 'established' inotifywait -m -e create /usr
    other=$process
    baseline
    begin 'watching' ldsentry run --output ndjson --source fanotify
    with "ldsentry: fanotify, beside an inotify watch"
    process=$other
    end
    baseline
}

# Others that can be had: see docs/cost.md for what each is told to do. This one comes last.
audit() {
    mkdir -p /var/log/audit
    auditctl -D >/dev/null
    auditctl -w /etc/ld.so.preload -p wa >/dev/null
    auditctl -w /etc/ld.so.conf.d -p wa >/dev/null
    : >/run/output
    : >/run/errors
    auditd -n >/run/output 2>/run/errors </dev/null &
    process=$! tries=0
    # It does not say when it is ready; the kernel knows whom it tells.
    until auditctl -s 2>/dev/null | grep -q "^pid $process$"; do
        kill -0 $process 2>/dev/null || fail "auditd ended before it was ready"
        tries=$((tries + 1))
        test $tries -lt 100 || fail "the kernel does not know auditd: $(auditctl -s 2>&1)"
        sleep 0.1
    done
    auditctl -e 1 >/dev/null
    cost measure "auditd"
    # No measurement after it: what the kernel adds to every process from now on stays, rules or not.
    auditctl -e 0 >/dev/null
    auditctl -D >/dev/null
    end
}

trace() {
    begin 'ready' bpftrace -B none -e '
        BEGIN { printf("ready\n"); }
        kfunc:security_inode_create {
            if (str(args->dentry->d_name.name) == "ld.so.preload") { printf("created by %s\n", comm); }
        }
        kfunc:security_inode_rename {
            if (str(args->new_dentry->d_name.name) == "ld.so.preload") { printf("renamed by %s\n", comm); }
        }'
    with "bpftrace"
}

inotify() {
    begin 'established' inotifywait -m -e create,move /etc /etc/ld.so.conf.d
    with "inotifywait, directories"
}

fanotify() {
    begin 'ready' cost fanotify "$1" /etc
    with "fanotify, $2"
}

# resources NAME ARGUMENT…: what the daemon needs beside instructions of others.
resources() {
    name=$1
    shift
    echo "$name.binary=$(stat -c %s "$(command -v ldsentry)")"
    rm -f /run/alerts
    mkfifo /run/alerts
    exec 3<>/run/alerts
    : >/run/errors
    # 6.12 detaches what is gone one program after the other when nobody waits for it, and attaches none meanwhile.
    sleep 10
    ready_before=$(cost now)
    ldsentry run --output ndjson "$@" >/run/alerts 2>/run/errors </dev/null &
    process=$!
    ready=$(cost ready /run/errors watching) || fail "the daemon did not get ready"
    echo "$name.ready=$((ready - ready_before))"
    # Mounts have been looked at, and what starting took was given back.
    sleep 30
    memory "$name.idle"
    before=$(switches)
    sleep 60
    echo "$name.wakeups=$(($(switches) - before))"
    cost react /run/alerts $process 200 | sed "s/^/$name./"
    sleep 30
    memory "$name.after"
    if [ "$name" = one ]; then
        floods
    fi
    end
    exec 3>&-
}

FLOOD=5000

# Watched files: the most in a second of which none is lost, then more than the daemon can take in, and an alert after that.
floods() {
    # Of the rates below, should all be too fast.
    echo "$name.rate=0"
    for rate in 500 1000 2000 3000 3250 3500 3750; do
        flooded $FLOOD $rate
        test $lost -eq 0 || break
        echo "$name.rate=$rate"
    done
    sleep 30
    memory "$name.flooded"
    flooded $FLOOD 0
    echo "$name.flood_rate=$made"
    echo "$name.flood_lost=$lost"
    cost react /run/alerts $process 20 | sed -n "s/^latency_median/$name.recovered/p"
    sleep 30
    memory "$name.recovered"
}

# flooded COUNT RATE: sets `made`, how many there were in a second, and `lost`.
flooded() {
    count
    before=$(sum ldsentry_events_lost_total) seen=$(sum ldsentry_events_total)
    cat /run/alerts >/dev/null &
    reader=$!
    made=$(cost flood $1 $2)
    tries=0
    until count && test $(($(sum ldsentry_events_total) - seen + $(sum ldsentry_events_lost_total) - before)) -ge $1; do
        tries=$((tries + 1))
        test $tries -lt 600 || fail "the daemon did not account for a flood"
        sleep 1
    done
    lost=$(($(sum ldsentry_events_lost_total) - before))
    kill $reader
    wait $reader || true
}

# Has the daemon print its counters.
count() {
    printed=$(grep -c '^{"counters"' /run/errors || true)
    kill -USR1 $process
    until [ "$(grep -c '^{"counters"' /run/errors || true)" -gt "$printed" ]; do
        kill -0 $process 2>/dev/null || fail "the daemon ended"
        sleep 0.1
    done
}

# sum NAME: of all series of a counter.
sum() {
    grep '^{"counters"' /run/errors | tail -n 1 | tr ',' '\n' |
        awk -F: -v name="$1" 'index($0, name) { sum += $NF } END { print sum + 0 }'
}

memory() {
    awk -v name="$1" '/^(VmRSS|RssAnon):/ { sub(":", "", $1); print name "." $1 "=" $2 }' /proc/$process/status
}

# How often its threads waited for something.
switches() {
    cat /proc/$process/task/*/status | awk '/^voluntary_ctxt_switches/ { sum += $2 } END { print sum }'
}

