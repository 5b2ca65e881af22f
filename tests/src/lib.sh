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
    subvolume)
        file_system btrfs
        root=/mnt/subvolume
        btrfs subvolume create /mnt/btrfs/@ >/dev/null
        mount -o subvol=@ "$(findmnt --noheadings --output SOURCE /mnt/btrfs)" "$root"
        ;;
    casefold)
        truncate -s 64M "$image"
        mkfs.ext4 -q -O casefold "$image"
        mount -o loop "$image" "$root"
        mkdir "$root/etc"
        chattr +F "$root/etc"
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

# Makes a container of the lab's own root, whose upper layer is on another file system, without starting it.
container() {
    file_system ext4
    bundle=/mnt/ext4/containers/$1
    container=$(printf '%s' "$1" | sha256sum | cut -d ' ' -f 1)
    fact container "$container"
    mkdir -p "$bundle/upper/usr/local/bin" "$bundle/work" "$bundle/rootfs"
    cp /lab/bin/attack "$bundle/upper/usr/local/bin/attack"
    mount -t overlay -o "lowerdir=/,upperdir=$bundle/upper,workdir=$bundle/work" overlay "$bundle/rootfs"
    cat >"$bundle/config.json" <<END
{
    "ociVersion": "1.0.2",
    "process": {
        "user": {"uid": 0, "gid": 0}, "args": ["sh", "-eu", "/script"], "cwd": "/",
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "capabilities": {
            "bounding": ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SYS_CHROOT"],
            "effective": ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SYS_CHROOT"],
            "permitted": ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SYS_CHROOT"]
        }
    },
    "root": {"path": "rootfs"},
    "hostname": "container",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]}
    ],
    "linux": {
        "cgroupsPath": "/docker/$container",
        "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]
    }
}
END
}

# Runs the script on standard input in the container.
container_runs() {
    cat >"$bundle/rootfs/script"
    runc run --bundle "$bundle" "$container"
}

# Starts the container, for what is done to it from outside; its process is $inside.
container_waits() {
    echo 'exec sleep 1000' >"$bundle/rootfs/script"
    runc run --detach --pid-file "$bundle/pid" --bundle "$bundle" "$container" </dev/null >/dev/null 2>&1
    inside=$(cat "$bundle/pid")
}

container_ends() {
    runc delete --force "$container" 2>/dev/null || true
    umount "$bundle/rootfs"
    rm -r "$bundle"
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
