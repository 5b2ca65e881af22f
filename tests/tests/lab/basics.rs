//! Creation and rename, the plain way: rows 1, 2, 3 and 22.

use integration_tests::Scenario;
use serde_json::json;

use crate::expected::{created, renamed, touched};

pub(crate) fn scenarios() -> Vec<Scenario> {
    let mut scenarios = creations();
    scenarios.extend(renames());
    scenarios.extend(exchanges());
    scenarios
}

fn creations() -> Vec<Scenario> {
    vec![
        Scenario::new("create/preload_by_shell", "sh -c 'echo pid=$$; echo /x.so >/etc/ld.so.preload'")
            .alert(json!({
                "event.kind": "signal",
                "event.action": "creation",
                "event.type": ["creation"],
                "event.category": ["file"],
                "event.outcome": "success",
                "file.path": "/etc/ld.so.preload",
                "file.name": "ld.so.preload",
                "file.extension": "preload",
                "file.directory": "/etc",
                "file.type": "file",
                "file.Ext.original.path": null,
                "ldsentry.file.truncated": null,
                "process.executable": "/usr/bin/dash",
                "process.name": "dash",
                "process.pid": "$pid",
                "user.id": "0",
                "user.name": "root",
                "host.os.type": "linux",
                "host.hostname": "lab",
            })),
        Scenario::new("create/preload", "attack create /etc/ld.so.preload")
            .alert(created("/etc/ld.so.preload")),
        Scenario::new("create/in_conf_d", "attack create /etc/ld.so.conf.d/evil.conf")
            .alert(created("/etc/ld.so.conf.d/evil.conf")),
        // `*` crosses `/`.
        Scenario::new(
            "create/below_conf_d",
            "mkdir -p /etc/ld.so.conf.d/a/b; attack create /etc/ld.so.conf.d/a/b/evil",
        )
        .alert(created("/etc/ld.so.conf.d/a/b/evil")),
        // The file is restored by writing into it: opening what is there is no creation.
        Scenario::new(
            "create/conf",
            "cp -p /etc/ld.so.conf saved; rm /etc/ld.so.conf; attack create /etc/ld.so.conf; \
             cat saved >/etc/ld.so.conf",
        )
        .alert(created("/etc/ld.so.conf")),
        // Rules compare paths without regard to case.
        Scenario::new("create/other_case", "attack create /etc/LD.So.Preload; rm /etc/LD.So.Preload")
            .alert(created("/etc/LD.So.Preload")),
        Scenario::new("create/with_o_excl", "attack create-new /etc/ld.so.preload")
            .alert(created("/etc/ld.so.preload")),
        Scenario::new("create/read_only", "attack open-or-create /etc/ld.so.preload")
            .alert(created("/etc/ld.so.preload")),
        Scenario::new("create/by_mknod", "attack mknod /etc/ld.so.preload")
            .alert(created("/etc/ld.so.preload")),
        Scenario::new("create/gone_at_once", "attack create-and-unlink /etc/ld.so.preload")
            .alert(created("/etc/ld.so.preload")),
        Scenario::new("create/unwatched", "attack create /etc/ld.so.preloaded; attack create ld.so.preload"),
        Scenario::new(
            "create/existing",
            "attack create /etc/ld.so.conf.d/evil; attack create /etc/ld.so.conf.d/evil; \
             attack open-or-create /etc/ld.so.conf.d/evil",
        )
        .alert(json!({"event.action": "creation", "file.path": "/etc/ld.so.conf.d/evil"})),
    ]
}

fn renames() -> Vec<Scenario> {
    let here = "/var/lab/rename";
    vec![
        Scenario::new(
            "rename/by_mv",
            "echo /x.so >a.so; sh -c 'echo pid=$$; exec mv a.so /etc/ld.so.preload'",
        )
        .alert(json!({
            "event.action": "rename",
            "event.type": ["change"],
            "event.outcome": "success",
            "file.path": "/etc/ld.so.preload",
            "file.name": "ld.so.preload",
            "file.Ext.original.path": "/var/lab/rename/by_mv/a.so",
            "file.Ext.original.name": "a.so",
            "file.Ext.original.extension": "so",
            "process.executable": "/usr/bin/mv",
            "process.name": "mv",
            "process.pid": "$pid",
        })),
        Scenario::new("rename/from_elsewhere", "touch new; attack rename new /etc/ld.so.preload")
            .alert(renamed(&format!("{here}/from_elsewhere/new"), "/etc/ld.so.preload")),
        Scenario::new("rename/within_etc", "touch /etc/new; attack rename /etc/new /etc/ld.so.preload")
            .alert(renamed("/etc/new", "/etc/ld.so.preload")),
        Scenario::new(
            "rename/onto_existing",
            "touch new /etc/ld.so.conf.d/old; attack rename new /etc/ld.so.conf.d/old",
        )
        .alerts([
            touched("/etc/ld.so.conf.d/old"),
            renamed(&format!("{here}/onto_existing/new"), "/etc/ld.so.conf.d/old"),
        ]),
        Scenario::new(
            "rename/within_conf_d",
            "touch /etc/ld.so.conf.d/a; attack rename /etc/ld.so.conf.d/a /etc/ld.so.conf.d/b",
        )
        .alerts([touched("/etc/ld.so.conf.d/a"), renamed("/etc/ld.so.conf.d/a", "/etc/ld.so.conf.d/b")]),
        Scenario::new("rename/away", "touch /etc/ld.so.conf.d/a; attack rename /etc/ld.so.conf.d/a b")
            .alert(touched("/etc/ld.so.conf.d/a")),
        Scenario::new("rename/noreplace", "touch new; attack rename-noreplace new /etc/ld.so.preload")
            .alert(renamed(&format!("{here}/noreplace/new"), "/etc/ld.so.preload")),
        Scenario::new("rename/unwatched", "touch a; attack rename a b"),
    ]
}

/// `RENAME_EXCHANGE` gives both files a new path; each that is watched is an alert, whichever comes first.
fn exchanges() -> Vec<Scenario> {
    let here = "/var/lab/exchange";
    vec![
        Scenario::new("exchange/watched_second", "touch x /etc/ld.so.preload; attack exchange x /etc/ld.so.preload")
            .alerts([
                touched("/etc/ld.so.preload"),
                renamed(&format!("{here}/watched_second/x"), "/etc/ld.so.preload"),
            ]),
        Scenario::new("exchange/watched_first", "touch x /etc/ld.so.preload; attack exchange /etc/ld.so.preload x")
            .alerts([
                touched("/etc/ld.so.preload"),
                renamed(&format!("{here}/watched_first/x"), "/etc/ld.so.preload"),
            ]),
        Scenario::new(
            "exchange/both_watched",
            "touch /etc/ld.so.conf.d/a /etc/ld.so.conf.d/b; attack exchange /etc/ld.so.conf.d/a /etc/ld.so.conf.d/b",
        )
        .alerts([
            touched("/etc/ld.so.conf.d/a"),
            touched("/etc/ld.so.conf.d/b"),
            renamed("/etc/ld.so.conf.d/a", "/etc/ld.so.conf.d/b"),
            renamed("/etc/ld.so.conf.d/b", "/etc/ld.so.conf.d/a"),
        ]),
    ]
}
