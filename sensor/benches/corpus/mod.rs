//! Events as a busy host has them: the same ones on every run.

mod host;
pub mod rules;

use std::sync::Arc;

use sensor::ecs::{Candidate, Document, FieldTable};
use sensor::event::{
    Action, Ancestor, Device, Event, EventId, Executable, ExecutableFile, File, Group, Host, Origin, Outcome,
    Path, Process, User, View,
};

use self::host::host;

const EXECUTABLES: &[&str] = &[
    "/usr/lib/systemd/systemd-journald",
    "/usr/bin/dpkg",
    "/usr/sbin/cron",
    "/usr/bin/python3.11",
    "/usr/lib/postgresql/15/bin/postgres",
    "/usr/bin/containerd-shim-runc-v2",
    "/opt/java/openjdk/bin/java",
    "/usr/bin/git",
    "/home/user/.cargo/bin/rustc",
    "/usr/bin/vim.basic",
];

const DIRECTORIES: &[&str] = &[
    "/run/systemd/journal/streams",
    "/tmp",
    "/var/lib/postgresql/15/main/base/16384",
    "/var/lib/docker/containers/4f5d2c0a9c5be3c1",
    "/home/user/project/target/debug/incremental",
    "/etc/ld.so.conf.d",
    "/etc",
    "/var/log",
    "/var/cache/apt/archives/partial",
    "/usr/share/doc/packages",
];

/// One in this many events is what the built-in rule looks for.
const WATCHED: usize = 1000;

/// As many events, of which most are of no interest to any rule.
pub fn events(count: usize) -> Vec<Event> {
    let host = Arc::new(host());
    (0..count).map(|number| event(number, Arc::clone(&host))).collect()
}

/// The events as NDJSON.
pub fn lines(events: &[Event]) -> Vec<u8> {
    let table = FieldTable::default();
    let mut lines = Vec::new();
    for event in events {
        let document = Document::new(event, &table, Candidate::default()).to_json();
        serde_json::to_writer(&mut lines, &document).expect("a document has a text");
        lines.push(b'\n');
    }
    lines
}

fn event(number: usize, host: Arc<Host>) -> Event {
    // A permutation that looks random and is the same on every run.
    let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 17;
    let name = match random % 4 {
        0 => format!(".#8:{random}Z9Q47q"),
        1 => format!("{random}.tmp"),
        2 => format!("libfoo-{random}.so.1"),
        _ => format!("{random}"),
    };
    let watched = number % WATCHED == WATCHED - 1;
    let directory = DIRECTORIES[random / 4 % DIRECTORIES.len()];
    let directory = if directory == "/etc/ld.so.conf.d" && !watched { "/etc/cron.d" } else { directory };
    let file = if watched { "/etc/ld.so.preload".to_owned() } else { format!("{directory}/{name}") };
    let renamed = random.is_multiple_of(3);
    let executable = if watched { "/tmp/evil" } else { EXECUTABLES[random / 64 % EXECUTABLES.len()] };
    Event {
        id: EventId {
            boot_ns: number as u64 * 1_000,
            cpu: number as u32 % 8,
            sequence: number as u64,
            part: 0,
        },
        time: jiff::Timestamp::from_microsecond(1_770_000_000_000_000 + number as i64)
            .expect("a time of our age"),
        action: if renamed { Action::Rename } else { Action::Creation },
        outcome: Outcome::Success,
        origin: Origin::Hook,
        file: File {
            paths: vec![path(&file)],
            original_paths: if renamed { vec![path(&format!("{file}.dpkg-tmp"))] } else { Vec::new() },
            mode: Some(0o100_644),
            device: Device { major: 8, minor: 1 },
            inode: Some(number as u64),
            file_system: Some("ext4".to_owned()),
            target: None,
            linked: None,
            mount: None,
        },
        process: Process {
            pid: 1000 + number as u32 % 5000,
            tid: 1000 + number as u32 % 5000,
            start_boot_ns: 20_000_000_000,
            start: Some(jiff::Timestamp::UNIX_EPOCH),
            thread_name: "worker".into(),
            executable: running(executable),
            args: vec![executable.to_owned(), "--config".to_owned(), "/etc/service.conf".to_owned()],
            raw_command_line: None,
            args_truncated: false,
            user: Some(User { id: random as u32 % 3 * 500, name: Some("service".to_owned()) }),
            group: Some(Group { id: 0, name: Some("root".to_owned()) }),
            login_user: None,
            session_id: None,
            capabilities: 1 << 1 | 1 << 21,
            cgroup_id: 77,
            cgroup: Some("/system.slice/service.service".to_owned()),
            container: None,
            mount_namespace: 4_026_531_841,
            in_host_mount_namespace: Some(true),
            pid_namespace: 4_026_531_836,
        },
        ancestors: vec![Ancestor {
            pid: 1,
            start_boot_ns: 1_000_000,
            thread_name: "systemd".into(),
            executable: running("/usr/lib/systemd/systemd"),
        }],
        host,
    }
}

fn path(text: &str) -> Path {
    Path { text: text.to_owned(), raw: None, view: View::Process, truncated: false }
}

fn running(text: &str) -> Executable {
    Executable::File(ExecutableFile {
        path: path(text),
        deleted: false,
        memfd: false,
        // Some are not trusted.
        uid: text.len() as u32 % 3 * 500,
        gid: 0,
        mode: 0o100_755,
        links: 1,
        device: Device { major: 8, minor: 1 },
        inode: 815,
        layer: None,
    })
}
