//! A file system that is a process, and tells the kernel nothing of new inodes: what cannot be known is `unknown`, and
//! reported. Row 23.

use integration_tests::Scenario;
use serde_json::json;

use crate::expected::{created, renamed, with};

pub(crate) fn scenarios() -> Vec<Scenario> {
    let unknown = |path: &str| with(created(path), json!({"event.outcome": "unknown"}));
    let (file, other) = ("/etc/ld.so.preload", "/etc/ld.so.conf.d/file");
    vec![
        on_fuse("create", &format!("attack create {file}"))
            .alert(with(unknown(file), json!({"ldsentry.file.file_system": "fuse"}))),
        on_fuse("create_new", &format!("attack create-new {other}")).alert(unknown(other)),
        on_fuse("mknod", &format!("attack mknod {other}")).alert(unknown(other)),
        // The end of a rename is known on any file system.
        on_fuse("rename", &format!("touch /etc/new; attack rename /etc/new {other}"))
            .alert(renamed("/etc/new", other)),
        on_fuse(
            "rename_onto_directory",
            &format!("mkdir {other}; touch /etc/new; fails attack rename /etc/new {other}"),
        ),
        // An entry that the kernel has cached says itself that nothing is made.
        on_fuse(
            "open_existing_cached",
            &format!("touch {other}; cat {other}; attack open-or-create {other}"),
        )
        .alert(
            json!({"event.outcome": "unknown", "file.path": other, "process.executable": "/usr/bin/touch"}),
        ),
    ]
}

/// With `/etc` on it, for the script alone. What the file system itself does to its upper directory is nobody's event.
fn on_fuse(name: &str, script: &str) -> Scenario {
    let mount = "mount=lowerdir=/etc,upperdir=/var/fuse/upper,workdir=/var/fuse/work\n\
                 rm -rf /var/fuse; mkdir -p /var/fuse/upper /var/fuse/work; modprobe fuse\n\
                 fuse-overlayfs -o $mount /etc 2>/dev/null";
    let script = format!("{OWN_MOUNTS}{mount}\n{script}\numount /etc");
    Scenario::new(format!("outcome/fuse/{name}"), script)
}

const OWN_MOUNTS: &str = r#"
if [ -z "${OWN_MOUNTS:-}" ]; then
    export OWN_MOUNTS=1
    exec unshare --mount sh "$0"
fi
"#;
