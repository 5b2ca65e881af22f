//! Roots, `/etc` and namespaces of a process's own: rows 14 to 16, and directories that do not tell `A` from `a`: row 17.

use integration_tests::Scenario;
use serde_json::{Value, json};

use crate::expected::{created, renamed, with};
use crate::rules::{self, DAEMON, rule};

const PRELOAD: &str = "/etc/ld.so.preload";

pub(crate) fn scenarios() -> Vec<Scenario> {
    let mut scenarios: Vec<Scenario> =
        ["btrfs", "tmpfs", "overlay", "subvolume"].into_iter().flat_map(of_kind).collect();
    scenarios.extend(etc_of_its_own());
    scenarios.extend(case_insensitive());
    scenarios.push(into_upper_layer());
    scenarios
}

/// What the attack is in a root of its own.
fn within(alert: Value) -> Value {
    with(alert, json!({"process.executable": "/bin/attack"}))
}

/// The root of the whole mount namespace, and not only of the process.
fn of_kind(kind: &str) -> Vec<Scenario> {
    let pivoted = |name: &str, before: &str, attack: &str, alert: Value| {
        let root = format!("/mnt/{kind}");
        let script = format!(
            "file_system {kind}; cd {root}; mkdir -p old; {before}\n\
             unshare --mount sh -euc 'cd {root}; \
             echo mount_namespace=$(stat -L -c %i /proc/self/ns/mnt); pivot_root . old; exec /bin/attack {attack}'\n\
             rm -rf {root}/etc/ld.so.preload {root}/etc/ld.so.conf.d/*"
        );
        let alert = with(within(alert), json!({"ldsentry.process.mount_namespace": "$mount_namespace"}));
        Scenario::new(format!("root/pivoted/{kind}/{name}"), script).alert(alert)
    };
    vec![
        pivoted("create", "", "create /etc/ld.so.preload", created(PRELOAD)),
        pivoted("rename", ": >etc/new", "rename /etc/new /etc/ld.so.preload", renamed("/etc/new", PRELOAD)),
        pivoted(
            "in_conf_d",
            "",
            "create /etc/ld.so.conf.d/evil.conf",
            created("/etc/ld.so.conf.d/evil.conf"),
        ),
    ]
}

/// `/etc` alone, in a namespace of its own.
fn etc_of_its_own() -> Vec<Scenario> {
    let scenario = |name: &str, mount: &str, attack: &str, alert: Value| {
        let script = format!("mkdir other; unshare --mount sh -euc '{mount}; exec attack {attack}'");
        Scenario::new(format!("root/etc/{name}"), script).alert(alert)
    };
    let create = "create /etc/ld.so.preload";
    let rename = "rename /etc/new /etc/ld.so.preload";
    let overlay = "mkdir /tmp/e; mount -t tmpfs none /tmp/e; mkdir /tmp/e/u /tmp/e/w; \
                   mount -t overlay -o lowerdir=/etc,upperdir=/tmp/e/u,workdir=/tmp/e/w overlay /etc";
    let tmpfs = "mount -t tmpfs none /etc";
    vec![
        scenario("bound", "mount --bind other /etc", create, created(PRELOAD)),
        scenario(
            "bound_rename",
            "mount --bind other /etc; : >/etc/new",
            rename,
            renamed("/etc/new", PRELOAD),
        ),
        scenario("tmpfs_rename", &format!("{tmpfs}; : >/etc/new"), rename, renamed("/etc/new", PRELOAD)),
        scenario("tmpfs_symlink", tmpfs, "symlink /x.so /etc/ld.so.preload", created(PRELOAD)),
        scenario(
            "overlay",
            overlay,
            create,
            with(created(PRELOAD), json!({"ldsentry.file.file_system": "overlay"})),
        ),
        // Without any privilege on the host.
        Scenario::new(
            "root/etc/in_user_namespace",
            "setpriv --reuid 1234 --regid 1234 --clear-groups unshare --user --map-root-user --mount sh -euc \
             'mount -t tmpfs none /etc; exec attack create /etc/ld.so.preload'",
        )
        .alert(with(created(PRELOAD), json!({"user.id": "1234", "user.name": null}))),
    ]
}

/// The path is the one that the directory stores.
fn case_insensitive() -> Vec<Scenario> {
    let scenario = |name: &str, script: &str| {
        let script = format!(
            "file_system casefold; cd /mnt/casefold/etc\n{script}\nrm -rf ld.so.preload ld.so.conf.d/*"
        );
        Scenario::new(format!("casefold/{name}"), script)
    };
    let attack = "within casefold /bin/attack";
    vec![
        scenario("create", &format!("{attack} create /etc/LD.SO.PRELOAD; test -e ld.so.preload"))
            .alert(within(created("/etc/LD.SO.PRELOAD"))),
        scenario("create_uncached", &format!("forget_entries; {attack} create-new /etc/Ld.So.Preload"))
            .alert(within(created("/etc/Ld.So.Preload"))),
        scenario("in_directory", &format!("{attack} create /etc/LD.so.conf.d/X"))
            .alert(within(created("/etc/ld.so.conf.d/X"))),
        // The old name is the one that was asked for.
        scenario("rename", &format!(": >new; {attack} rename /etc/NEW /etc/LD.SO.PRELOAD"))
            .alert(within(renamed("/etc/NEW", "/etc/LD.SO.PRELOAD"))),
        // It is there, by another name.
        scenario("open_existing", &format!(": >LD.SO.PRELOAD; {attack} open-or-create /etc/ld.so.preload")),
        scenario(
            "open_existing_uncached",
            &format!(": >LD.SO.PRELOAD; forget_entries; {attack} open-or-create /etc/ld.so.preload"),
        ),
    ]
}

/// From the host, behind an overlay's back: a rule can be about that path. What the overlay does there itself is not told
/// again.
fn into_upper_layer() -> Scenario {
    let rules = rule("preload", r#"event.action == "creation" and file.path : "*/etc/ld.so.preload""#);
    let script = format!(
        "{DAEMON}\n{rules}\nfile_system overlay\ndaemon_begins a\n\
         within overlay /bin/attack create /etc/ld.so.preload\nrm /mnt/overlay/etc/ld.so.preload\n\
         attack create /mnt/overlay-layers/upper/etc/ld.so.preload\n\
         daemon_ends a\nrm /mnt/overlay-layers/upper/etc/ld.so.preload"
    );
    Scenario::new("root/upper_layer", script)
        .alert(json!({"event.action": "creation", "file.path": PRELOAD, "process.executable": "/bin/attack"}))
        .check(|outcome| {
            rules::expect(
                outcome,
                &[
                    "preload creation /etc/ld.so.preload",
                    "preload creation /mnt/overlay-layers/upper/etc/ld.so.preload",
                ],
            )
        })
}
