//! What administrators and package managers do, and exactly what the rule's text says of it.

use anyhow::ensure;
use integration_tests::Scenario;
use serde_json::{Value, json};

use crate::expected::with;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("benign/dpkg", format!("{PACKAGES}{DPKG}")),
        Scenario::new("benign/ldconfig", "ldconfig"),
        // sed writes `sedXXXXXX` beside the file, which the rule excludes, and renames it onto the file, which it does not.
        Scenario::new(
            "benign/sed",
            "cp /etc/ld.so.conf.d/libc.conf saved; \
             sh -c 'echo pid=$$; exec sed -i s/local/LOCAL/ /etc/ld.so.conf.d/libc.conf'; \
             cat saved >/etc/ld.so.conf.d/libc.conf",
        )
        .alerts([
            json!({
                "event.action": "rename",
                "file.path": "/etc/ld.so.conf.d/libc.conf",
                "process.name": "sed",
                "process.pid": "$pid",
            }),
            json!({"event.action": "modification", "file.path": "/etc/ld.so.conf.d/libc.conf", "process.name": "dash"}),
        ]),
        // vim tries whether it may create files (`4913`), keeps the old file as `x.conf~` until the new one is written, and
        // has a swap file, which alone the rule excludes.
        Scenario::new("benign/vim_saves", format!("echo one >/etc/ld.so.conf.d/x.conf; {VIM}")).alerts([
            json!({"event.action": "creation", "file.path": "/etc/ld.so.conf.d/x.conf", "process.name": "dash"}),
            by_vim("creation", "/etc/ld.so.conf.d/4913"),
            with(
                by_vim("rename", "/etc/ld.so.conf.d/x.conf~"),
                json!({"file.Ext.original.path": "/etc/ld.so.conf.d/x.conf"}),
            ),
            by_vim("creation", "/etc/ld.so.conf.d/x.conf"),
        ]),
        // What gives services views of the file system of their own: their mounts over `/etc` are made elsewhere.
        Scenario::new("benign/systemd", SYSTEMD).seconds(300).check(|outcome| {
            let seen: Vec<_> = outcome.stdout.lines().filter(|line| line.starts_with("service ")).collect();
            ensure!(seen.len() == 6, "these services found /etc as they were to find it: {seen:?}");
            Ok(())
        }),
        Scenario::new("benign/vim_creates", VIM).alert(by_vim("creation", "/etc/ld.so.conf.d/x.conf")),
    ]
}

const VIM: &str = r#"sh -c '
echo pid=$$
exec vim.tiny -u NONE -N -c "normal ihello" -c wq /etc/ld.so.conf.d/x.conf
'; grep hello /etc/ld.so.conf.d/x.conf"#;

fn by_vim(action: &str, path: &str) -> Value {
    json!({
        "event.action": action,
        "event.outcome": "success",
        "file.path": path,
        "process.executable": "/usr/bin/vim.tiny",
        "process.pid": "$pid",
    })
}

/// `package VERSION KIND` makes a package with a file for the linker.
pub(crate) const PACKAGES: &str = r#"
package() {
    rm -rf tree
    mkdir -p tree/DEBIAN tree/etc/ld.so.conf.d
    printf 'Package: libdemo\nVersion: %s\nArchitecture: all\nMaintainer: Lab <lab@localhost>\nDescription: a test\n' \
        "$1" >tree/DEBIAN/control
    echo "/usr/lib/libdemo/$1" >tree/etc/ld.so.conf.d/libdemo.conf
    if [ "$2" = conffile ]; then
        echo /etc/ld.so.conf.d/libdemo.conf >tree/DEBIAN/conffiles
    fi
    dpkg-deb --build --root-owner-group -Znone tree "libdemo_$1.deb" >/dev/null
}
"#;

const DPKG: &str = "
for kind in plain conffile; do
    package 1 $kind
    package 2 $kind
    dpkg --install libdemo_1.deb
    test -e /etc/ld.so.conf.d/libdemo.conf
    dpkg --install libdemo_2.deb
    grep 2 /etc/ld.so.conf.d/libdemo.conf
    dpkg --purge libdemo
    test ! -e /etc/ld.so.conf.d/libdemo.conf
done
";

/// systemd as the first process of a pid namespace, and services with the options that mount something over `/etc`. Each says
/// whether it has what it was to have.
const SYSTEMD: &str = r#"
: >results
here=$PWD
mkdir -p /sys/fs/cgroup/lab-systemd
cat >begin <<'END'
mount -t proc proc /proc
mount -t tmpfs -o mode=755 none /run
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p /run/systemd/system
cd /run/systemd/system
service() {
    printf '[Unit]\nDefaultDependencies=no\nBefore=lab-end.service\n[Service]\nType=oneshot\n' >"lab-$1.service"
    printf 'StandardOutput=append:%s/results\n%s\n' "$HERE" "$2" >>"lab-$1.service"
    printf 'ExecStart=/bin/sh -c "if %s; then echo service %s; fi"\n' "$3" "$1" >>"lab-$1.service"
    echo "Wants=lab-$1.service" >>lab.target
}
printf '[Unit]\nDefaultDependencies=no\nWants=lab-end.service\n' >lab.target
printf '[Unit]\nDefaultDependencies=no\nSuccessAction=exit-force\n' >lab-end.service
printf '[Service]\nType=oneshot\nExecStart=/bin/true\n' >>lab-end.service
read_only='! touch /etc/lab-x 2>/dev/null'
service full 'ProtectSystem=full' "$read_only"
service strict 'ProtectSystem=strict' "$read_only"
service paths 'ReadOnlyPaths=/etc' "$read_only"
service temporary 'TemporaryFileSystem=/etc' 'test ! -e /etc/ld.so.conf'
service bound 'BindReadOnlyPaths=/usr:/etc' 'test -e /etc/bin'
printf 'PrivateTmp=yes\nProtectHome=yes\nProtectKernelTunables=yes\nPrivateDevices=yes' >options
service private "$(cat options)" 'touch /etc/lab-x'
exec env -i container=lab PATH="$PATH" /lib/systemd/systemd --unit=lab.target --log-target=console --log-level=info
END
sh -c 'echo $$ >/sys/fs/cgroup/lab-systemd/cgroup.procs
HERE=$1 exec unshare --mount --pid --fork --cgroup --ipc --uts --kill-child sh -eu begin' sh "$here" >&2
rm -f /etc/lab-x
cat results
"#;
