//! What an alert costs in user space: from the records of a watched creation to the line on standard output.
//!
//! Times differ from machine to machine, and from one second to the next; instructions hardly. So valgrind counts those of
//! all threads, once for few creations and once for more, and the difference is theirs alone:
//!
//! ```sh
//! cargo bench -p sensor --bench alert --no-run   # says what PROGRAM is
//! for count in 200 1200; do
//!     valgrind --tool=callgrind --callgrind-out-file=$count.callgrind PROGRAM $count >/dev/null
//! done
//! ```
//!
//! `CARGO_PROFILE_BENCH_STRIP=none CARGO_PROFILE_BENCH_DEBUG=1` in front of the first line lets `callgrind_annotate` name functions.
//! It takes the steps that `pipeline` takes, which cannot be had without a kernel that has the hooks. What the host is asked for an
//! event (two `stat`, some clocks) is left out.
#![allow(clippy::print_stderr, reason = "a program that prints")]

#[path = "corpus/host.rs"]
mod host;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sensor::alert::Template;
use sensor::config::{Format, OutputOptions, SpoolOptions, StdoutOptions};
use sensor::decode::{RawRecord, decode};
use sensor::detect::{Engine, Verdict};
use sensor::ecs::Document;
use sensor::enrich::enrich;
use sensor::event::{self, Event};
use sensor::host::{Host, ProcessStat};
use sensor::load::load;
use sensor::metrics::{Counter, Metrics};
use sensor::outcome::Outcomes;
use sensor::sink::{Outputs, Record};
use sensor_common::record::{
    ABI, Ancestor, EXECUTABLE_FILE, Event as EventRecord, Executable, FLAG_VIA_OPEN, Header, KIND_CREATE,
    KIND_MADE, Made, SECTION_ANCESTOR, SECTION_ARGUMENTS, SECTION_CGROUP, SECTION_EXECUTABLE,
    SECTION_FILE_SYSTEM, SECTION_PATH, Section,
};
use zerocopy::{FromZeros as _, IntoBytes as _};

use self::host::host;

/// Fewer than an output's queue takes: none is dropped.
const BATCH: u64 = 500;

fn main() {
    let count = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(1000);
    let engine = load(&[], &[]).expect("the rules load").engine;
    let metrics = Metrics::default();
    let options = OutputOptions {
        stdout: StdoutOptions { enabled: true, format: Format::Ndjson },
        ..OutputOptions::default()
    };
    let outputs = Outputs::open(&options, &SpoolOptions::default(), &metrics).expect("the output opens");
    let outcomes = Outcomes::new(Duration::from_secs(1));
    let mut watched =
        Watched { engine, templates: HashMap::new(), host: Facts::default(), outcomes, metrics, outputs };
    for number in 0..count {
        watched.take(&creation(number));
        watched.take(&made(number));
        if number % BATCH == BATCH - 1 {
            while !watched.outputs.is_idle() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    let dropped = watched.outputs.close(Duration::from_mins(1));
    assert_eq!(dropped, 0, "alerts were dropped");
    eprintln!("{count} creations");
}

struct Watched {
    engine: Engine,
    templates: HashMap<usize, Template>,
    host: Facts,
    outcomes: Outcomes,
    metrics: Metrics,
    outputs: Outputs,
}

impl Watched {
    fn take(&mut self, record: &[u8]) {
        let mut settled = Vec::new();
        match decode(record).expect("a record is understood") {
            RawRecord::Event(raw) => {
                let events = enrich(&raw, &mut self.host);
                self.outcomes.begin(&raw.fixed, events, Duration::ZERO, (0, || 0), Some(0), &mut settled);
            }
            RawRecord::Made(made) => self.outcomes.made(&made, &mut settled),
            RawRecord::Ended(_) | RawRecord::Mounts => {}
        }
        for event in &settled {
            self.raise(event);
        }
    }

    fn raise(&mut self, event: &Event) {
        let Self { engine, templates, metrics, outputs, .. } = self;
        let now = Timestamp::now();
        engine.detect_event(event, now, |detection| {
            assert_eq!(detection.verdict, Verdict::Alert);
            let rule = engine.rule(detection.rule);
            let template = templates.entry(detection.rule).or_insert_with(|| Template::new(rule));
            let document = Document::new(event, engine.table(), detection.candidate);
            let clause = engine.clause(detection.rule, detection.verdict);
            let alert: Arc<dyn Record> = Arc::new(template.alert(&document, &clause, None, now));
            outputs.send(&alert);
        });
        metrics.increment(Counter::EventsSuccess);
        outputs.flush();
    }
}

/// Facts about a host, always the same.
struct Facts(Arc<event::Host>);

impl Default for Facts {
    fn default() -> Self {
        Self(Arc::new(host()))
    }
}

impl Host for Facts {
    fn describe(&self) -> Arc<event::Host> {
        Arc::clone(&self.0)
    }

    fn mount_namespace(&self) -> Option<u32> {
        Some(0xf000_0001)
    }

    fn container_names(&mut self, _container: &event::Container) -> event::ContainerNames {
        event::ContainerNames::default()
    }

    fn user(&mut self, uid: u32) -> event::User {
        event::User { id: uid, name: Some("root".to_owned()) }
    }

    fn group(&mut self, gid: u32) -> event::Group {
        event::Group { id: gid, name: Some("root".to_owned()) }
    }

    fn wall_clock(&mut self, boot_ns: u64) -> Timestamp {
        Timestamp::from_nanosecond(1_800_000_000_000_000_000 + i128::from(boot_ns)).unwrap_or_default()
    }

    fn process(&mut self, _pid: u32) -> Option<ProcessStat> {
        None
    }

    fn command_line(&mut self, _pid: u32, _limit: usize) -> Option<Vec<u8>> {
        None
    }

    fn executable(&mut self, _pid: u32) -> event::Executable {
        event::Executable::Unknown
    }
}

/// The record of a creation of a file in a watched directory, by a program that a shell started.
fn creation(number: u64) -> Vec<u8> {
    let mut fixed = EventRecord::new_zeroed();
    fixed.header = header(KIND_CREATE, number);
    (fixed.parent, fixed.name) = (1, number);
    fixed.fs_magic = 0xef53;
    fixed.capabilities = (1 << 41) - 1;
    fixed.cgroup = 4711;
    fixed.start_ns = 20_000_000_000;
    fixed.device = 8 << 20 | 1;
    fixed.mode = 0o100_644;
    (fixed.login_uid, fixed.session_id) = (u32::MAX, u32::MAX);
    (fixed.mount_namespace, fixed.pid_namespace) = (0xf000_0001, 0xf000_0002);
    fixed.comm = *b"cost\0\0\0\0\0\0\0\0\0\0\0\0";
    fixed.executable = executable();
    let path = format!("cost-{number}.conf\0ld.so.conf.d\0etc\0");
    let mut sections = Vec::new();
    add(&mut sections, SECTION_PATH, path.as_bytes());
    add(&mut sections, SECTION_EXECUTABLE, b"cost\0bin\0local\0usr\0");
    add(&mut sections, SECTION_ARGUMENTS, b"cost\0react\0/run/alerts\x00200\0");
    add(&mut sections, SECTION_FILE_SYSTEM, b"ext4\0");
    add(&mut sections, SECTION_CGROUP, b"cron.service\0system.slice\0");
    for (pid, comm, path) in [
        (800, b"dash\0\0\0\0\0\0\0\0\0\0\0\0", &b"dash\0bin\0usr\0"[..]),
        (1, b"systemd\0\0\0\0\0\0\0\0\0", b"systemd\0systemd\0lib\0usr\0"),
    ] {
        let ancestor =
            Ancestor { start_ns: 1_000_000_000, pid, reserved: 0, comm: *comm, executable: executable() };
        add(&mut sections, SECTION_ANCESTOR, &[ancestor.as_bytes(), path].concat());
    }
    fixed.header.length = (size_of::<EventRecord>() + sections.len()) as u32;
    [fixed.as_bytes(), &sections].concat()
}

/// The sign that it was done.
fn made(number: u64) -> Vec<u8> {
    let mut made = Made { header: header(KIND_MADE, number), parent: 1, name: number, inode: 100 + number };
    made.header.length = size_of::<Made>() as u32;
    made.as_bytes().to_vec()
}

fn header(kind: u8, number: u64) -> Header {
    let mut header = Header::new_zeroed();
    (header.kind, header.abi, header.flags) = (kind, ABI, FLAG_VIA_OPEN);
    (header.time_ns, header.sequence) = (30_000_000_000 + number, number);
    header.pid_tgid = 0x384 << 32 | 0x384;
    header
}

fn executable() -> Executable {
    Executable {
        inode: 12,
        fs_magic: 0xef53,
        device: 8 << 20 | 1,
        uid: 0,
        gid: 0,
        mode: 0o100_755,
        links: 1,
        flags: EXECUTABLE_FILE,
    }
}

fn add(sections: &mut Vec<u8>, kind: u8, content: &[u8]) {
    let head = Section { length: content.len() as u32, kind, view: 0, flags: 0 };
    sections.extend(head.as_bytes());
    sections.extend(content);
    sections.resize(sections.len().next_multiple_of(8), 0);
}
