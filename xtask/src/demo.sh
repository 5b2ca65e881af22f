# What `cargo xtask run` shows in the lab: two attacks, and a package manager at its work.
set -eu

show() {
    printf '\n# %s\n' "$*"
    sh -c "$*"
}

# The daemon writes its alert when it has one, which is after the command.
wait_for_alert() {
    tries=0
    until grep -q "$1" /run/ldsentry.stdout; do
        tries=$((tries + 1))
        if [ $tries -gt 200 ]; then
            echo "there was no alert with $1" >&2
            exit 1
        fi
        sleep 0.05
    done
}

package() {
    rm -rf tree
    mkdir -p tree/DEBIAN tree/etc/ld.so.conf.d
    printf 'Package: libdemo\nVersion: %s\nArchitecture: all\nMaintainer: Demo <demo@localhost>\nDescription: a demo\n' \
        "$1" >tree/DEBIAN/control
    echo "/usr/lib/libdemo/$1" >tree/etc/ld.so.conf.d/libdemo.conf
    dpkg-deb --build --root-owner-group -Znone tree "libdemo_$1.deb" >/dev/null
}

package 1
package 2

# A library that every program can do with, so that the linker does not complain at each command.
library=$(ls /lib/*-linux-gnu/libm.so.6)
show "echo $library > /etc/ld.so.preload"
wait_for_alert /etc/ld.so.preload
show 'echo /tmp/evil > evil.conf; mv evil.conf /etc/ld.so.conf.d/evil.conf'
wait_for_alert /etc/ld.so.conf.d/evil.conf
show 'dpkg --install libdemo_1.deb'
show 'dpkg --install libdemo_2.deb'
show 'rm /etc/ld.so.preload /etc/ld.so.conf.d/evil.conf'

if grep -q libdemo /run/ldsentry.stdout; then
    echo 'there was an alert for dpkg' >&2
    exit 1
fi
printf '\n# Two alerts for what the attacks made, two for its removal, and none for the package manager.\n'
