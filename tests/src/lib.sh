# Shell functions for scenarios.

# Succeeds if the command fails.
fails() {
    if "$@"; then
        echo "lab: expected to fail: $*" >&2
        return 1
    fi
}

# Prints a fact that the test may refer to.
fact() {
    printf '%s=%s\n' "$1" "$2"
}

# Forgets cached directory entries and inodes.
forget_entries() {
    sync
    echo 2 >/proc/sys/vm/drop_caches
}

# Makes a file system of a kind with a small root in it, once in a boot; afterwards it is at /mnt/KIND.
file_system() {
    root=/mnt/$1
    if mountpoint --quiet "$root"; then
        return
    fi
    mkdir -p "$root"
    # Without udev nothing loads it when its device is opened.
    modprobe loop
    image=/tmp/$1.img
    case $1 in
    ext4)
        truncate -s 64M "$image"
        mkfs.ext4 -q "$image"
        mount -o loop "$image" "$root"
        ;;
    xfs)
        truncate -s 320M "$image"
        mkfs.xfs -q -f "$image"
        mount -o loop "$image" "$root"
        ;;
    btrfs)
        truncate -s 256M "$image"
        mkfs.btrfs -q -f "$image"
        mount -o loop "$image" "$root"
        ;;
    tmpfs)
        mount -t tmpfs none "$root"
        ;;
    overlay)
        mkdir -p /mnt/overlay-layers/lower/etc /mnt/overlay-layers/upper /mnt/overlay-layers/work
        mount -t overlay overlay \
            -o lowerdir=/mnt/overlay-layers/lower,upperdir=/mnt/overlay-layers/upper,workdir=/mnt/overlay-layers/work \
            "$root"
        ;;
    esac
    mkdir -p "$root/bin" "$root/etc/ld.so.conf.d" "$root/tmp" "$root/proc"
    cp /lab/bin/attack "$root/bin/attack"
}

# Runs a command in the root of a file system of that kind.
within() {
    kind=$1
    shift
    chroot "/mnt/$kind" "$@"
}

# Prints the daemon's counters as a fact.
counters() {
    seen=$(grep -c '^{"counters"' /run/ldsentry.stderr || true)
    kill -USR1 "$LDSENTRY_PID"
    tries=0
    until [ "$(grep -c '^{"counters"' /run/ldsentry.stderr || true)" -gt "$seen" ]; do
        tries=$((tries + 1))
        if [ $tries -gt 200 ]; then
            echo "lab: the daemon printed no counters" >&2
            return 1
        fi
        sleep 0.05
    done
    fact "$1" "$(grep '^{"counters"' /run/ldsentry.stderr | tail -n 1)"
}

# The sum of all series of a counter, of the counters printed last.
sum_of() {
    grep '^{"counters"' /run/ldsentry.stderr | tail -n 1 | tr ',' '\n' |
        awk -F: -v name="$1" 'index($0, name) { sum += $NF } END { print sum + 0 }'
}

# Prints the daemon's counters as the fact `after`, once so many events more than in `before` came or were lost.
counters_after() {
    events=$(($(sum_of ldsentry_events_total) + $(sum_of ldsentry_events_lost_total) + $1))
    tries=0
    counters after
    while [ $(($(sum_of ldsentry_events_total) + $(sum_of ldsentry_events_lost_total))) -lt $events ]; do
        tries=$((tries + 1))
        if [ $tries -gt 600 ]; then
            echo "lab: the daemon did not account for all events" >&2
            return 1
        fi
        sleep 0.05
        counters after
    done
}

# Waits until the daemon has written an alert with this text.
wait_for_alert() {
    tries=0
    until grep -q "$1" /run/ldsentry.stdout; do
        tries=$((tries + 1))
        if [ $tries -gt 1200 ]; then
            echo "lab: there is no alert with $1" >&2
            return 1
        fi
        sleep 0.05
    done
}
