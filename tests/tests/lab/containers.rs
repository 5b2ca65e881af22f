//! Containers that runc made, on overlayfs: rows 15 and 16.

use integration_tests::Scenario;
use serde_json::{Value, json};

use crate::benign::PACKAGES;
use crate::expected::{created, renamed, with};

const PRELOAD: &str = "/etc/ld.so.preload";

pub(crate) fn scenarios() -> Vec<Scenario> {
    let scenario = |name: &str, script: &str| {
        Scenario::new(
            format!("container/{name}"),
            format!("container {name}\nfact container \"$container\"\n{script}\ncontainer_ends"),
        )
    };
    vec![
        // Nothing that runc does to start it is an alert, and of an operation on an overlay there is one, not two.
        scenario("attacks", &format!("container_runs <<'END'\n{ATTACKS}END\n")).alerts([
            inside("attack", created(PRELOAD)),
            inside("attack", renamed("/tmp/new", "/etc/ld.so.conf.d/renamed.conf")),
            inside("attack", with(created("/etc/ld.so.conf.d/linked"), json!({"file.target_path": "/x.so"}))),
            // The name alone excludes nobody who can write a file in there.
            inside("java", created("/etc/ld.so.conf.d/by_java")),
        ]),
        scenario("packages", &format!("{PACKAGES}{PREPARE_PACKAGE}container_runs <<'END'\n{INSTALL}END\n")),
        // From outside, through the container's root: the path is the one inside.
        scenario("from_the_host", &format!("{WAITING}attack create /proc/$inside/root/etc/ld.so.preload\n"))
            .alert(with(
                created(PRELOAD),
                json!({"ldsentry.file.file_system": "overlay", "ldsentry.file.view": "other", "container.id": null}),
            )),
        // Into the layer itself: no path that the rule names.
        scenario(
            "into_upper_layer",
            &format!("{WAITING}mkdir -p $bundle/upper/etc; attack create $bundle/upper/etc/ld.so.preload\n"),
        ),
    ]
}

/// A pid is another one inside.
fn inside(program: &str, alert: Value) -> Value {
    let fields = json!({
        "process.executable": format!("/usr/local/bin/{program}"),
        "process.pid": null,
        "container.id": "$container",
        "container.runtime": "docker",
        "ldsentry.process.executable.untrusted": ["overlay_upper"],
        "ldsentry.process.in_host_mount_namespace": false,
        "ldsentry.process.mount_namespace": "$mount_namespace",
        "container.id": "$container",
        "ldsentry.file.file_system": "overlay",
        "ldsentry.file.view": "process",
        "user.id": "0",
    });
    let mut alert = with(alert, fields);
    if let Some(alert) = alert.as_object_mut() {
        alert.remove("process.pid");
    }
    alert
}

const ATTACKS: &str = "
echo mount_namespace=$(stat -L -c %i /proc/self/ns/mnt)
attack create /etc/ld.so.preload
echo >/tmp/new
attack rename /tmp/new /etc/ld.so.conf.d/renamed.conf
attack symlink /x.so /etc/ld.so.conf.d/linked
attack open-or-create /etc/ld.so.conf
attack create /etc/other
cp /usr/local/bin/attack /usr/local/bin/java
java create /etc/ld.so.conf.d/by_java
";

const PREPARE_PACKAGE: &str = "
package 1 conffile
package 2 conffile
cp libdemo_1.deb libdemo_2.deb $bundle/rootfs/
";

const INSTALL: &str = "
dpkg --install /libdemo_1.deb
dpkg --install /libdemo_2.deb
grep 2 /etc/ld.so.conf.d/libdemo.conf
dpkg --purge libdemo
";

const WAITING: &str = "
container_waits
";
