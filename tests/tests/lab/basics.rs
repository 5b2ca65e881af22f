//! Creation and rename, the plain way: rows 1 and 2.

use integration_tests::Scenario;
use serde_json::json;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("shell_creates_preload", "sh -c 'echo pid=$$; echo /x.so >/etc/ld.so.preload'").alert(
            json!({
                "event.action": "creation",
                "event.outcome": "success",
                "file.path": "/etc/ld.so.preload",
                "file.name": "ld.so.preload",
                "file.extension": "preload",
                "file.Ext.original.path": null,
                "process.executable": "/usr/bin/dash",
                "process.name": "dash",
                "process.pid": "$pid",
                "user.id": "0",
            }),
        ),
        Scenario::new(
            "rename_onto_preload",
            "echo /x.so >a; sh -c 'echo pid=$$; exec mv a /etc/ld.so.preload'",
        )
        .alert(json!({
            "event.action": "rename",
            "event.outcome": "success",
            "file.path": "/etc/ld.so.preload",
            "file.Ext.original.path": "/var/lab/rename_onto_preload/a",
            "file.Ext.original.name": "a",
            "file.Ext.original.extension": null,
            "process.executable": "/usr/bin/mv",
            "process.pid": "$pid",
        })),
    ]
}
