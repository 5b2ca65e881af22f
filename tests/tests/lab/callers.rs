//! Who makes the call: threads of `io_uring` on a process's behalf, and 32-bit processes: rows 12 and 25.

use integration_tests::Scenario;
use serde_json::{Value, json};

use crate::expected::{created, deleted, modified, mounted, renamed, touched, with};

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
    scenarios.extend(changed_in_place());
    scenarios
}

fn changed_in_place() -> impl Iterator<Item = Scenario> {
    let conf = "/etc/ld.so.conf";
    let watched = "/etc/ld.so.conf.d/watched";
    let gone = |watched| with(deleted(watched), json!({"process.pid": "$pid"}));
    let bound = with(mounted("/etc/ld.so.conf.d", "bind"), json!({"process.pid": "$pid"}));
    [
        (
            "open_for_writing",
            format!("attack32 open-for-writing {conf}"),
            vec![by("attack32", modified(conf))],
        ),
        ("truncate", format!("attack32 truncate {conf}"), vec![by("attack32", modified(conf))]),
        (
            "unlink",
            format!("touch {watched}; attack32 unlink {watched}"),
            vec![touched(watched), by("attack32", gone(watched))],
        ),
        ("bind", "mkdir x; attack32 bind x /etc/ld.so.conf.d".to_owned(), vec![by("attack32", bound)]),
    ]
    .map(|(name, script, alerts)| {
        let script = format!("unshare --mount sh -euc '. /lab/lib.sh; {script}'");
        Scenario::new(format!("compat/{name}"), script).with_changes_in_place().alerts(alerts)
    })
    .into_iter()
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
