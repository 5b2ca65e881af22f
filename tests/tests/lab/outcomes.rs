//! Only what happened is reported: row 23, on every file system, with entries that the kernel has cached and with ones that
//! it has not.

use integration_tests::Scenario;
use serde_json::{Value, json};

use crate::expected::{created, renamed, with};

const FILE_SYSTEMS: [&str; 5] = ["ext4", "xfs", "btrfs", "tmpfs", "overlay"];

pub(crate) fn scenarios() -> Vec<Scenario> {
    let mut scenarios: Vec<Scenario> = FILE_SYSTEMS.into_iter().flat_map(on_file_system).collect();
    scenarios.extend(without_room());
    scenarios.push(without_signs());
    scenarios
}

fn seen_within(kind: &str, alert: Value) -> Value {
    // Overlayfs has an upper layer where the same thing happens once more: that is no event of its own.
    let file_system = if kind == "overlay" { "overlay" } else { kind };
    with(alert, json!({"process.executable": "/bin/attack", "ldsentry.file.file_system": file_system}))
}

/// Every script begins and ends with an empty `/etc/ld.so.conf.d` in a root on that file system.
fn on_file_system(kind: &str) -> Vec<Scenario> {
    let scenario = |name: &str, script: &str| {
        let script = format!(
            "file_system {kind}\nattack() {{ within {kind} /bin/attack \"$@\"; }}\ncd /mnt/{kind}/etc/ld.so.conf.d\n\
             {script}\nrm -rf /mnt/{kind}/etc/ld.so.conf.d/* /mnt/{kind}/etc/ld.so.preload"
        );
        Scenario::new(format!("outcome/{kind}/{name}"), script)
    };
    let created = |path: &str| seen_within(kind, created(path));
    let renamed = |from: &str, to: &str| seen_within(kind, renamed(from, to));
    let file = "/etc/ld.so.conf.d/file";
    vec![
        scenario("create_uncached", &format!("forget_entries; attack create {file}")).alert(created(file)),
        scenario("create_cached_absence", &format!("test ! -e file; attack create {file}"))
            .alert(created(file)),
        scenario("create_new", &format!("attack create-new {file}")).alert(created(file)),
        scenario("link", &format!("echo >../new; attack link /etc/new {file}; rm ../new"))
            .alert(with(created(file), json!({"ldsentry.file.linked_path": "/etc/new"}))),
        scenario("symlink", &format!("attack symlink /x.so {file}"))
            .alert(with(created(file), json!({"file.target_path": "/x.so"}))),
        scenario("mkfifo", &format!("attack mkfifo {file}")).alert(created(file)),
        scenario(
            "link_existing",
            &format!("echo >../new; echo >file; fails attack link /etc/new {file}; rm ../new"),
        ),
        scenario("symlink_existing", &format!("echo >file; fails attack symlink /x.so {file}")),
        scenario("mkfifo_existing", &format!("echo >file; fails attack mkfifo {file}")),
        // mknod of a regular file gives no sign that leads back from an overlay's upper layer.
        scenario("mknod", &format!("attack mknod {file}")).alert(with(
            created(file),
            json!({"event.outcome": if kind == "overlay" { "unknown" } else { "success" }}),
        )),
        // The shell outside of the root makes what is there: its path is not watched.
        scenario("open_existing_cached", &format!("echo >file; cat file; attack open-or-create {file}")),
        scenario(
            "open_existing_uncached",
            &format!("echo >file; forget_entries; attack open-or-create {file}"),
        ),
        scenario("write_existing_uncached", &format!("echo >file; forget_entries; attack create {file}")),
        scenario("exclusive_existing_cached", &format!("echo >file; fails attack create-new {file}")),
        scenario(
            "exclusive_existing_uncached",
            &format!("echo >file; forget_entries; fails attack create-new {file}"),
        ),
        scenario("mknod_existing", &format!("echo >file; forget_entries; fails attack mknod {file}")),
        scenario("rename", &format!("echo >../new; attack rename /etc/new {file}"))
            .alert(renamed("/etc/new", file)),
        scenario(
            "rename_uncached",
            &format!("echo >../new; echo >file; forget_entries; attack rename /etc/new {file}"),
        )
        .alert(renamed("/etc/new", file)),
        scenario(
            "rename_noreplace_existing",
            &format!("echo >../new; echo >file; fails attack rename-noreplace /etc/new {file}; rm ../new"),
        ),
        // The file system refuses: the hooks have run by then.
        scenario(
            "rename_onto_directory_in_use",
            "mkdir ../new full; echo >full/file; fails attack rename /etc/new /etc/ld.so.conf.d/full; rmdir ../new",
        ),
        scenario(
            "rename_onto_directory",
            &format!("echo >../new; mkdir file; fails attack rename /etc/new {file}; rm ../new"),
        ),
        scenario("name_too_long", &format!("fails attack create {file}{}", "x".repeat(255))),
        scenario(
            "read_only_mount",
            &format!(
                "mount -o bind,ro /mnt/{kind} /mnt/{kind}; fails attack create {file}; umount /mnt/{kind}"
            ),
        ),
    ]
}

/// The file system has no inode left. That the first file is reported shows that the second would be.
fn without_room() -> Vec<Scenario> {
    let scenario = |kind: &str, mount: &str| {
        let script = format!(
            "unshare --mount sh -eu -c '. /lab/lib.sh; {mount}; attack create /etc/ld.so.preload; \
             n=0; while mkdir /etc/$n 2>/dev/null; do n=$((n + 1)); done; test $n -gt 0; \
             fails attack create /etc/ld.so.conf >/dev/null'"
        );
        Scenario::new(format!("outcome/{kind}/no_inodes"), script).alert(created("/etc/ld.so.preload"))
    };
    vec![
        scenario("tmpfs", "mount -t tmpfs -o nr_inodes=8 none /etc"),
        scenario(
            "ext4",
            "modprobe loop; truncate -s 8M small.img; mkfs.ext4 -q -N 16 small.img; mount -o loop small.img /etc",
        ),
    ]
}

/// A file system that tells nobody of new inodes: what cannot be known is said so, and reported.
fn without_signs() -> Scenario {
    let script = "unshare --mount sh -eu -c 'mount -t ramfs none /etc; attack create /etc/ld.so.preload; \
                  attack rename /etc/ld.so.preload /etc/ld.so.conf'";
    Scenario::new("outcome/ramfs/create_and_rename", script).alerts([
        json!({"event.action": "creation", "event.outcome": "unknown", "file.path": "/etc/ld.so.preload"}),
        renamed("/etc/ld.so.preload", "/etc/ld.so.conf"),
    ])
}
