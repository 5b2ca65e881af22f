//! Who makes the call: threads of `io_uring` on a process's behalf, and 32-bit processes: rows 12 and 25.

use integration_tests::Scenario;
use serde_json::{Value, json};

use crate::expected::{created, renamed, touched, with};

const PRELOAD: &str = "/etc/ld.so.preload";
const NEW: &str = "/etc/new";

pub(crate) fn scenarios() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for (name, options) in [("uring", ""), ("uring_worker", " --worker"), ("uring_polled", " --polled")] {
        scenarios.extend(through(name, &format!("uring{options}"), "uring"));
        scenarios.push(exchanged(name, &format!("uring{options}")));
    }
    scenarios.extend(through("compat", "attack32", "attack32"));
    scenarios.push(
        Scenario::new("compat/mkfifo", "attack32 mkfifo /etc/ld.so.conf.d/pipe")
            .alert(by("attack32", with(created("/etc/ld.so.conf.d/pipe"), json!({"file.type": "fifo"})))),
    );
    scenarios
}

/// What a process does itself and what is done for it have the same process: its number, its file, its arguments.
fn by(program: &str, alert: Value) -> Value {
    with(
        alert,
        json!({
            "process.executable": format!("/lab/bin/{program}"),
            "process.name": program,
            "process.parent.executable": "/usr/bin/dash",
            "user.id": "0",
        }),
    )
}

fn through(name: &str, command: &str, program: &str) -> Vec<Scenario> {
    // Where an administrator has turned io_uring off there is nothing to test.
    let allowed = "setting=/proc/sys/kernel/io_uring_disabled; test ! -e $setting || echo 0 >$setting";
    let scenario = |attack: &str, before: &str, arguments: &str, alert: Value| {
        let script = format!("{allowed}\n{before}\n{command} {arguments}\nrm -f {NEW}");
        let line = format!("{command} {arguments}");
        let alert = with(by(program, alert), json!({"process.command_line": line}));
        Scenario::new(format!("{name}/{attack}"), script).alert(alert)
    };
    let conf = "/etc/ld.so.conf.d/evil.conf";
    vec![
        scenario("create", "", &format!("create {PRELOAD}"), created(PRELOAD)),
        scenario("create_in_conf_d", "", &format!("create {conf}"), created(conf)),
        scenario(
            "rename",
            &format!("touch {NEW}"),
            &format!("rename {NEW} {PRELOAD}"),
            renamed(NEW, PRELOAD),
        ),
        scenario(
            "link",
            &format!("touch {NEW}"),
            &format!("link {NEW} {PRELOAD}"),
            with(created(PRELOAD), json!({"ldsentry.file.linked_path": NEW})),
        ),
        scenario(
            "symlink",
            "",
            &format!("symlink /x.so {PRELOAD}"),
            with(created(PRELOAD), json!({"file.type": "symlink", "file.target_path": "/x.so"})),
        ),
    ]
}

fn exchanged(name: &str, command: &str) -> Scenario {
    let script = format!("touch {NEW} {PRELOAD}; {command} exchange {NEW} {PRELOAD}; rm {NEW}");
    Scenario::new(format!("{name}/exchange"), script)
        .alerts([touched(PRELOAD), by("uring", renamed(NEW, PRELOAD))])
}
