//! Whoever did it, and however it was started, is known although it is gone: row 19.

use integration_tests::Scenario;
use serde_json::{Value, json};

use crate::expected::{created, with};

const ATTACK: &str = "create /etc/ld.so.preload";

/// Whatever the process was, its parent is known.
fn created_by(fields: Value) -> Value {
    let parent = json!({"process.parent.executable": "/usr/bin/dash", "process.parent.name": "dash"});
    with(with(created("/etc/ld.so.preload"), parent), fields)
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("process/command_line", "attack create //etc/ld.so.preload").alert(created_by(json!({
            "process.command_line": "attack create //etc/ld.so.preload",
            "process.args": ["attack", "create", "//etc/ld.so.preload"],
            "process.args_count": 3,
            "process.name": "attack",
            "process.thread.name": "attack",
            "ldsentry.process.executable.deleted": null,
            "ldsentry.process.executable.memfd": null,
        }))),
        Scenario::new("process/script", SCRIPT).alert(json!({
            "file.path": "/etc/ld.so.preload",
            "process.executable": "/usr/bin/dash",
            "process.parent.executable": "/usr/bin/dash",
            "process.args": ["/bin/sh", "./script.sh", "an argument"],
            "process.pid": "$pid",
        })),
        Scenario::new(
            "process/deleted_executable",
            format!("attack from-copy /var/lab/gone remove-self {ATTACK}"),
        )
        .alert(created_by(json!({
            "process.executable": "/var/lab/gone",
            "process.name": "gone",
            "process.command_line": format!("/var/lab/gone remove-self {ATTACK}"),
            "ldsentry.process.executable.deleted": true,
            "ldsentry.process.executable.memfd": null,
        }))),
        Scenario::new("process/memfd", format!("attack from-memfd dpkg {ATTACK}")).alert(created_by(json!({
            "process.executable": "/memfd:dpkg",
            "process.command_line": format!("attack {ATTACK}"),
            "ldsentry.process.executable.memfd": true,
        }))),
        Scenario::new("process/fexecve", format!("attack through-fexecve {ATTACK}"))
            .alert(created_by(json!({"process.command_line": format!("attack {ATTACK}")}))),
        Scenario::new("process/proc_self_exe", format!("attack as /proc/self/exe {ATTACK}"))
            .alert(created_by(json!({"process.args": ["/proc/self/exe", "create", "/etc/ld.so.preload"]}))),
        Scenario::new("process/thread", format!("attack in-thread {ATTACK}"))
            .alert(created_by(json!({"process.command_line": format!("attack in-thread {ATTACK}")}))),
        // What a process calls itself is not what it runs.
        Scenario::new("process/borrowed_name", "bash -c 'exec -a dpkg attack create /etc/ld.so.preload'")
            .alert(created_by(json!({"process.args": ["dpkg", "create", "/etc/ld.so.preload"]}))),
        Scenario::new(
            "process/other_user",
            "chmod 777 /etc/ld.so.conf.d; \
             setpriv --reuid 1234 --regid 5678 --clear-groups attack create /etc/ld.so.conf.d/evil; \
             chmod 755 /etc/ld.so.conf.d",
        )
        .alert(with(
            created("/etc/ld.so.conf.d/evil"),
            json!({"user.id": "1234", "group.id": "5678", "user.name": null}),
        )),
        // In a pid namespace a process has another number than the host gives it.
        Scenario::new("process/pid_namespace", PID_NAMESPACE)
            .alert(created_by(json!({
                "process.pid": "$host_pid",
                "process.command_line": format!("attack {ATTACK}"),
                "process.parent.executable": "/usr/bin/unshare",
                "process.parent.name": "unshare",
            })))
            .check(|outcome| {
                anyhow::ensure!(
                    outcome.number("pid")? == 1,
                    "the attack was not the first in its pid namespace"
                );
                Ok(())
            }),
    ]
}

const SCRIPT: &str = r"cat >script.sh <<'END'
#!/bin/sh
echo pid=$$
echo /x.so >/etc/ld.so.preload
END
chmod +x script.sh
./script.sh 'an argument'";

/// `/proc` is the host's, and has the host's numbers.
const PID_NAMESPACE: &str = "unshare --pid --fork sh -c '
read stat </proc/self/stat
echo host_pid=${stat%% *}
exec attack create /etc/ld.so.preload'";
