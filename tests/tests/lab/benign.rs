//! What administrators and package managers do, and exactly what the rule's text says of it.

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
