//! Changes of what is there: rows 9, 10, 11 and 30, and of row 23 what is about them.

use integration_tests::Scenario;
use serde_json::{Value, json};

use crate::expected::{created, deleted, digits, modified, mounted, touched, with};
use crate::rules::{DAEMON, expect, rule};

const CONF: &str = "/etc/ld.so.conf";
const CONF_D: &str = "/etc/ld.so.conf.d";
const FILE: &str = "/etc/ld.so.conf.d/x";

pub(crate) fn scenarios() -> Vec<Scenario> {
    let mut scenarios = modifications();
    scenarios.extend(overlays());
    scenarios.extend(deletions());
    scenarios.extend(mounts());
    scenarios.extend(other_mounts());
    scenarios.extend(refused());
    scenarios.extend([opened_before(), roots(), without_ima()]);
    scenarios
}

fn scenario(name: &str, script: &str) -> Scenario {
    Scenario::new(format!("in_place/{name}"), script).with_changes_in_place()
}

/// With mounts of its own, which go with it.
fn apart(name: &str, script: &str) -> Scenario {
    scenario(name, &format!("unshare --mount sh -eu -c '. /lab/lib.sh; {script}'"))
}

fn modifications() -> Vec<Scenario> {
    // The file is there before: its creation is an alert of its own.
    let changed = |name: &str, script: &str| {
        scenario(name, &format!("echo /x >{FILE}; {script}")).alerts([
            json!({"event.action": "creation", "file.path": FILE, "process.name": "dash"}),
            modified(FILE),
        ])
    };
    vec![
        scenario("open", "attack open-for-writing /etc/ld.so.conf").alert(modified(CONF)),
        changed("append", &format!("attack append {FILE}")),
        changed("truncate", &format!("attack truncate {FILE}; test ! -s {FILE}")),
        changed("open_and_empty", &format!("attack open-and-empty {FILE}; test ! -s {FILE}")),
        changed("create_existing", &format!("attack create {FILE}")),
        changed("copy_range", &format!("echo /y >y; attack copy-range y {FILE}; grep /y {FILE}")),
        changed("splice", &format!("attack splice {FILE}; grep x.so {FILE}")),
        changed("map", &format!("attack map {FILE}")),
        scenario("reopen", "attack reopen /etc/ld.so.conf").alert(modified(CONF)),
        // A file that has no name yet is changed by nobody; the link is what counts.
        scenario("unnamed", &format!("attack link-unnamed {FILE}")).alert(created(FILE)),
        scenario(
            "through_bind_mount",
            "mkdir alias; mount --bind /etc alias; attack open-for-writing alias/ld.so.conf; umount alias",
        )
        .alert(modified(CONF)),
        scenario("through_proc_root", "attack open-for-writing /proc/$$/root/etc/ld.so.conf").alert(modified(CONF)),
        scenario(
            "chroot",
            "file_system tmpfs; : >/mnt/tmpfs/etc/ld.so.conf; within tmpfs /bin/attack open-for-writing /etc/ld.so.conf >/dev/null; \
             within tmpfs /bin/attack truncate /etc/ld.so.conf; rm /mnt/tmpfs/etc/ld.so.conf",
        )
        .alerts([inside(json!({"event.action": "modification", "file.path": CONF})), inside(modified(CONF))]),
        scenario(
            "reading",
            "cat /etc/ld.so.conf; attack open-or-create /etc/ld.so.conf; echo >ld.so.preload; echo >>ld.so.preload; \
             rm ld.so.preload",
        ),
    ]
}

fn inside(alert: Value) -> Value {
    with(alert, json!({"process.executable": "/bin/attack"}))
}

/// One alert for one operation, whether the file is copied to the upper layer for it or is there already.
fn overlays() -> Vec<Scenario> {
    let on_overlay = |name: &str, layer: &str, script: &str| {
        let script = script.replace("attack", "within overlay /bin/attack");
        let file = script.rsplit('/').next().unwrap_or_default();
        scenario(
            &format!("overlay_{name}"),
            &format!(
                "file_system overlay; echo >{layer}/etc/{file}; forget_entries; {script}; rm -f /mnt/overlay/etc/{file}"
            ),
        )
    };
    let (lower, merged) = ("/mnt/overlay-layers/lower", "/mnt/overlay");
    vec![
        on_overlay("open", lower, "attack open-for-writing /etc/ld.so.conf").alert(inside(modified(CONF))),
        on_overlay("truncate", lower, "attack truncate /etc/ld.so.preload")
            .alert(inside(modified("/etc/ld.so.preload"))),
        on_overlay(
            "open_twice",
            merged,
            "attack open-for-writing /etc/ld.so.conf >/dev/null; attack append /etc/ld.so.conf",
        )
        .alerts([inside(json!({"event.action": "modification"})), inside(modified(CONF))]),
        on_overlay("unlink", merged, "attack unlink /etc/ld.so.conf").alert(inside(deleted(CONF))),
    ]
}

fn deletions() -> Vec<Scenario> {
    vec![
        scenario("unlink", &format!("touch {FILE}; attack unlink {FILE}"))
            .alerts([touched(FILE), with(deleted(FILE), json!({"process.pid": "$pid"}))]),
        scenario("rm", &format!("touch {FILE}; rm {FILE}"))
            .alerts([touched(FILE), with(deleted(FILE), json!({"process.executable": "/usr/bin/rm"}))]),
        scenario("unlink_unwatched", "touch ld.so.preload; rm ld.so.preload"),
    ]
}

fn mounts() -> Vec<Scenario> {
    let here = "/var/lab/in_place";
    let on_host = json!({"ldsentry.process.in_host_mount_namespace": true});
    let elsewhere = json!({"ldsentry.process.in_host_mount_namespace": false});
    let of = |path: &str, operation: &str, fields: Value| with(mounted(path, operation), fields);
    let tmpfs = json!({"ldsentry.mount.file_system": "tmpfs"});
    vec![
        // Row 30 too: what was covered is seen again.
        scenario("bind_file", "echo >x; mount --bind x /etc/ld.so.conf; umount /etc/ld.so.conf").alerts([
            with(
                of(CONF, "bind", json!({"ldsentry.mount.source": format!("{here}/bind_file/x")})),
                with(on_host.clone(), json!({"process.executable": "/usr/bin/mount"})),
            ),
            with(of(CONF, "unmount", on_host), json!({"process.executable": "/usr/bin/umount"})),
        ]),
        apart("bind_directory", "mkdir x; mount --bind x /etc/ld.so.conf.d")
            .alert(of(CONF_D, "bind", elsewhere)),
        apart("tmpfs_on_directory", "mount -t tmpfs none /etc/ld.so.conf.d").alert(of(
            CONF_D,
            "mount",
            tmpfs.clone(),
        )),
        apart("tmpfs_on_etc", "mount -t tmpfs none /etc").alert(of("/etc", "mount", tmpfs.clone())),
        apart(
            "overlay_on_etc",
            "mkdir u w; mount -t overlay none -o lowerdir=/etc,upperdir=u,workdir=w /etc",
        )
        .alert(of("/etc", "mount", json!({"ldsentry.mount.file_system": "overlay"}))),
        apart("bind_on_etc", "mkdir x; mount --bind x /etc").alert(of("/etc", "bind", json!({}))),
        apart(
            "overlay_on_directory",
            "mkdir u w; mount -t overlay none -o lowerdir=/etc/ld.so.conf.d,upperdir=u,workdir=w /etc/ld.so.conf.d",
        )
        .alert(of(CONF_D, "mount", json!({"ldsentry.mount.file_system": "overlay"}))),
        apart("bind_not_utf8", r#"name=$(printf x\\377); mkdir "$name"; mount --bind "$name" /etc/ld.so.conf.d"#)
            .alert(of(
                CONF_D,
                "bind",
                json!({
                    "ldsentry.mount.source": format!("{here}/bind_not_utf8/x\u{fffd}"),
                    "ldsentry.mount.raw_source": digits(format!("{here}/bind_not_utf8/x").as_bytes()) + "ff",
                }),
            )),
        apart("new_interface", "attack mount-tmpfs /etc/ld.so.conf.d").alert(of(
            CONF_D,
            "move",
            with(tmpfs.clone(), json!({"ldsentry.mount.source": null})),
        )),
        apart("new_interface_on_etc", "attack mount-tmpfs /etc").alert(of("/etc", "move", tmpfs)),
        apart("tree", "mkdir x; attack bind-tree x /etc/ld.so.conf.d").alert(of(CONF_D, "move", json!({}))),
        apart("tree_on_file", "echo >x; attack bind-tree x /etc/ld.so.conf").alert(of(
            CONF,
            "move",
            json!({}),
        )),
        apart("moved", "mkdir x; mount -t tmpfs none x; mount --move x /etc/ld.so.conf.d").alert(of(
            CONF_D,
            "move",
            json!({"ldsentry.mount.source": format!("{here}/moved/x")}),
        )),
        apart(
            "moved_there_and_away",
            "mkdir x; mount -t tmpfs none x; attack move-mount x /etc/ld.so.conf.d >/dev/null; \
             attack move-mount /etc/ld.so.conf.d x",
        )
        .alerts([
            of(CONF_D, "move", json!({"ldsentry.mount.source": format!("{here}/moved_there_and_away/x")})),
            with(mounted(CONF_D, "unmount"), json!({"process.pid": "$pid"})),
        ]),
        apart("lazy_unmount", "mount -t tmpfs none /etc/ld.so.conf.d; umount --lazy /etc/ld.so.conf.d")
            .alerts([mounted(CONF_D, "mount"), mounted(CONF_D, "unmount")]),
        apart(
            "on_top_of_each_other",
            "mount -t tmpfs none /etc/ld.so.conf.d; mount -t tmpfs none /etc/ld.so.conf.d",
        )
        .alerts([mounted(CONF_D, "mount"), mounted(CONF_D, "mount")]),
        // Mounted beside it, and there too because the mounts are shared.
        apart(
            "propagated",
            "mount --make-rshared /; echo >x; mkdir r; mount --bind / r; mount --bind x r/etc/ld.so.conf; \
             cmp x /etc/ld.so.conf",
        )
        .alert(mounted(CONF, "bind")),
        apart(
            "propagated_to_slave",
            "mount --make-rshared /; echo >x; mkdir r; mount --bind / r; mount --make-slave /; \
             mount --bind x r/etc/ld.so.conf; cmp x /etc/ld.so.conf",
        )
        .alert(mounted(CONF, "bind")),
    ]
}

/// Mounts by which nothing else is at these paths, and what others do when they begin.
fn other_mounts() -> Vec<Scenario> {
    vec![
        apart(
            "not_propagated",
            "mount --make-rprivate /; echo >x; mkdir r; mount --bind / r; mount --bind x r/etc/ld.so.conf; \
             mount --make-rslave /; mount --make-shared /",
        ),
        apart("unwatched_mounts", "mkdir etc; mount -t tmpfs none etc; umount etc; mount --bind /usr /usr"),
        apart(
            "remounted",
            "mount --bind /usr /usr; mount -o remount,bind,ro /usr; mkdir m; mount -t tmpfs none m; mount -o remount,ro m",
        ),
        // As systemd 252 sets up a service with ProtectSystem and PrivateTmp.
        apart(
            "like_systemd",
            "mount --make-rslave /; root=/run/systemd/unit-root; mkdir -p $root; mount --rbind / $root; \
             for path in /etc /usr /boot; do mount --rbind $root$path $root$path; \
             mount -o remount,bind,ro $root$path; done; mkdir -p t; mount --bind t $root/tmp; cd $root; \
             attack pivot-root; umount --lazy .; mount --make-rshared /",
        ),
        // As runc sets up a container, up to where it detaches the old root: the new one has no program for that.
        apart(
            "like_runc",
            "mount --make-rslave /; mkdir -p l/etc l/proc l/old u w root; \
             mount -t overlay none -o lowerdir=l,upperdir=u,workdir=w root; mount --rbind root root; \
             mount --make-private root; mount -t proc proc root/proc; : >hosts; : >root/etc/hosts; \
             mount --bind hosts root/etc/hosts; cd root; attack pivot-root",
        ),
    ]
}

/// Row 23: what fails after its hook.
fn refused() -> Vec<Scenario> {
    let on_file = |name: &str, script: &str| {
        scenario(&format!("refused/{name}"), &format!("touch {FILE}; {script}")).alert(touched(FILE))
    };
    let on_nothing = |name: &str, script: &str| scenario(&format!("refused/{name}"), script);
    vec![
        on_file("open_leased", &format!("fails attack open-leased {FILE}")),
        on_file("truncate", &format!("fails denied attack truncate {FILE}")),
        on_file("unlink", &format!("fails denied attack unlink {FILE}")),
        on_nothing(
            "open_by_others",
            "fails setpriv --reuid 1234 --clear-groups attack open-for-writing /etc/ld.so.conf",
        ),
        on_nothing("mount", "fails denied mount -t tmpfs none /etc/ld.so.conf.d"),
        on_nothing("mount_unknown", "fails mount -i -t nonesuch none /etc/ld.so.conf.d"),
        on_nothing("move_mount", "fails denied attack mount-tmpfs /etc/ld.so.conf.d"),
        on_nothing("move_mount_onto_file", "fails attack mount-tmpfs /etc/ld.so.conf"),
        on_nothing("pivot_root", "cd /etc; fails attack pivot-root"),
        apart(
            "refused/unmount",
            "mount -t tmpfs none /etc/ld.so.conf.d; fails denied umount /etc/ld.so.conf.d; \
             (cd /etc/ld.so.conf.d; fails umount /etc/ld.so.conf.d)",
        )
        .alert(mounted(CONF_D, "mount")),
    ]
}

/// Row 11: a descriptor that was opened before the sensor looked. What is done with it is not seen, a new one is.
fn opened_before() -> Scenario {
    let rules = rule("changed", r#"event.action == "modification" and file.name == "watched""#);
    let script = format!(
        "{DAEMON}\n{rules}\n: >watched; exec 3>>watched\ndaemon_begins a\necho >&3; test -s watched\ndaemon_ends a\n\
         echo again; daemon_begins a\necho >/proc/self/fd/3\ndaemon_ends a"
    );
    scenario("opened_before", &script).seconds(300).check(|outcome| {
        let before = outcome.stdout.split("again").next().unwrap_or_default();
        anyhow::ensure!(!before.contains("a: changed"), "a write to an open descriptor is seen");
        expect(outcome, &["changed modification /var/lab/in_place/opened_before/watched"])
    })
}

/// Another root: in the host's namespace an alert of the built-in rule, so a rule of its own is asked here.
fn roots() -> Scenario {
    let rules = rule("root", r#"event.action == "mount" and file.path == "/""#);
    let script = format!(
        "{DAEMON}\n{rules}\ndaemon_begins a\n\
         unshare --mount sh -eu -c 'mkdir root; mount --bind / root; cd root; /lab/bin/attack pivot-root'\n\
         daemon_ends a"
    );
    scenario("pivot_root", &script).check(|outcome| expect(outcome, &["root mount /"]))
}

/// A kernel that has neither `security_file_post_open` nor `ima_file_check`, as far as the daemon can tell.
fn without_ima() -> Scenario {
    let rules = rule("changed", r#"event.action == "modification" and file.name : "watched*""#);
    let script = format!(
        "{DAEMON}\n{rules}\nfile_system overlay\n\
         sed 's/security_file_post_open/security_file_post_nope/; s/ima_file_check/ima_file_nope_/' \
         /sys/kernel/btf/vmlinux >btf\nmount --bind btf /sys/kernel/btf/vmlinux\n\
         trap 'umount /sys/kernel/btf/vmlinux' EXIT\n\
         daemon_begins a\n: >watched; attack open-for-writing watched; : >watched2; attack open-and-empty watched2; \
         cat watched; echo >/mnt/overlay/watched3; cd /mnt/overlay; attack append watched3; rm watched3; cd -\n\
         daemon_ends a"
    );
    scenario("without_ima", &script).check(|outcome| {
        let here = "/var/lab/in_place/without_ima";
        expect(
            outcome,
            &[
                &format!("changed modification {here}/watched"),
                &format!("changed modification {here}/watched2"),
                "changed modification /mnt/overlay/watched3",
            ],
        )
    })
}
