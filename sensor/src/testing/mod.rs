//! What tests of several modules share.

pub(crate) mod certificates;
pub(crate) mod elasticsearch;
pub(crate) mod http;
pub(crate) mod syslog;

use std::path::Path;
use std::sync::Arc;

use crate::event::{
    self, Action, Ancestor, Device, Event, EventId, Executable, ExecutableFile, File, Group, Host, Origin,
    Outcome, Process, User, View,
};
use std::process::{Command, Stdio};

/// Fails if docs/`name` is not `expected`; with `UPDATE_DOCS` in the environment, writes it instead.
#[track_caller]
pub(crate) fn assert_document_is_current(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/{name} is stale: run `UPDATE_DOCS=1 cargo test -p sensor` and commit it"
    );
}

/// The ignored test `name` of this crate as a process of its own, for what a process has only once.
pub(crate) fn rerun(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture", "--quiet"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// A creation of `/etc/ld.so.preload` by a program that no rule excludes.
pub(crate) fn event() -> Event {
    let root = User { id: 0, name: Some("root".to_owned()) };
    Event {
        id: EventId { boot_ns: 0x1234_5678_9abc, cpu: 1, sequence: 42, part: 0 },
        time: "2026-11-23T09:15:00.123456789Z".parse().unwrap(),
        action: Action::Creation,
        outcome: Outcome::Success,
        origin: Origin::Hook,
        file: File {
            paths: vec![path("/etc/ld.so.preload")],
            original_paths: Vec::new(),
            mode: Some(0o100_644),
            device: Device { major: 8, minor: 1 },
            inode: Some(4711),
            file_system: Some("ext4".to_owned()),
            target: None,
            linked: None,
            mount: None,
        },
        process: Process {
            pid: 1234,
            tid: 1235,
            start_boot_ns: 20_000_000_000,
            start: Some("2026-11-23T09:14:59Z".parse().unwrap()),
            thread_name: "dropper".into(),
            executable: executable("/tmp/evil"),
            args: vec!["/tmp/evil".to_owned(), "--install".to_owned()],
            raw_command_line: None,
            args_truncated: false,
            user: Some(root.clone()),
            group: Some(Group { id: 0, name: Some("root".to_owned()) }),
            login_user: Some(User { id: 1000, name: Some("mallory".to_owned()) }),
            session_id: Some(3),
            capabilities: 1 << 1 | 1 << 21,
            cgroup_id: 77,
            cgroup: Some("/system.slice/ssh.service".to_owned()),
            container: None,
            mount_namespace: 4_026_531_841,
            in_host_mount_namespace: Some(true),
            pid_namespace: 4_026_531_836,
        },
        ancestors: vec![
            Ancestor {
                pid: 1200,
                start_boot_ns: 10_000_000_000,
                thread_name: "bash".into(),
                executable: executable("/usr/bin/bash"),
            },
            Ancestor {
                pid: 1,
                start_boot_ns: 1_000_000,
                thread_name: "systemd".into(),
                executable: Executable::Unknown,
            },
        ],
        host: Arc::new(Host {
            id: "18a77774a51b4024813da8493f10c056".to_owned(),
            boot_id: "7d3a8f0e-2f0e-4b5c-9e55-0a6f9d2f1c11".to_owned(),
            hostname: "h1".to_owned(),
            architecture: "x86_64".to_owned(),
            kernel: "6.12.0-1-amd64 #1 SMP".to_owned(),
            os_platform: Some("debian".to_owned()),
            os_family: Some("debian".to_owned()),
            os_name: Some("Debian GNU/Linux".to_owned()),
            os_version: Some("12".to_owned()),
            os_full: Some("Debian GNU/Linux 12 (bookworm)".to_owned()),
        }),
    }
}

/// A rename of `from` to `to`, otherwise as [`event`].
pub(crate) fn rename(from: &str, to: &str) -> Event {
    let mut event = event();
    event.action = Action::Rename;
    event.file.paths = vec![path(to)];
    event.file.original_paths = vec![path(from)];
    event
}

/// A whole path in the view of the process.
pub(crate) fn path(text: &str) -> event::Path {
    event::Path { text: text.to_owned(), raw: None, view: View::Process, truncated: false }
}

/// A file that runs, owned by root.
pub(crate) fn executable(text: &str) -> Executable {
    Executable::File(ExecutableFile {
        path: path(text),
        deleted: false,
        memfd: false,
        uid: 0,
        gid: 0,
        mode: 0o100_755,
        links: 1,
        device: Device { major: 8, minor: 1 },
        inode: 815,
        layer: None,
    })
}
