//! What parsing, compiling and evaluating cost: one rule, and sixty of the size that rule sets have.
//!
//! `cargo bench -p eql`. The throughput of `evaluate` is in events, that of `parse` and `compile` in bytes of rule.

use std::fmt::Write as _;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use eql::{Candidates, Document, FieldId, Fields, Index, Program, Query, Value, Verdict};

const RULE: &str = r#"file where host.os.type == "linux" and event.action in ("creation", "rename") and
file.path : ("/etc/ld.so.preload", "/etc/ld.so.conf.d/*", "/etc/ld.so.conf") and
not (
  process.executable in (
    "/usr/bin/apt", "/usr/bin/dnf", "/usr/bin/dpkg", "/usr/bin/dpkg-divert", "/usr/bin/dockerd", "/usr/bin/microdnf",
    "/usr/bin/pacman", "/usr/bin/podman", "/usr/bin/puppet", "/usr/bin/rpm", "/usr/bin/snapd", "/usr/bin/yum",
    "/usr/bin/zypper", "/usr/sbin/apk", "/usr/sbin/dockerd", "/usr/libexec/packagekitd", "/usr/lib/snapd/snapd"
  ) or
  file.extension in ("swp", "swpx", "swx", "dpkg-remove") or
  file.Ext.original.extension == "dpkg-new" or
  process.executable : ("/nix/store/*", "/var/lib/dpkg/*", "/snap/*", "/usr/lib/virtualbox/*", "/opt/agent/*") or
  process.executable == null or
  process.name in ("java", "executor", "packagekitd", "crio", "docker-init") or
  (process.name == "sed" and file.name : "sed*") or
  (process.name == "perl" and file.name : "scrub.tmp*")
)"#;

/// A rule about a directory of its own, with lists of over 100 entries. One in five looks into all homes, as among
/// Elastic's rules.
fn rule(number: usize) -> String {
    let list = |prefix: &str| {
        (0..110).fold(String::new(), |mut list, entry| {
            let comma = if entry == 0 { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(list, "{comma}\"{prefix}tool-{:02}\"", (entry * 7 + number) % 997);
            list
        })
    };
    let action = ["creation", "rename", "deletion"][number % 3];
    let home = if number.is_multiple_of(5) { "/home/*" } else { "/root" };
    let (exact, patterns) = (list("/usr/bin/"), list("/opt/*/"));
    format!(
        r#"file where host.os.type == "linux" and event.action in ("{action}", "rename") and
        process.executable != null and (file.path like ("/etc/service-{number}/*", "/usr/lib/service-{number}/*.conf",
        "{home}/.service-{number}/*") or file.name : ("service-{number}.conf", "*.service{number}")) and
        not (process.executable in ({exact}) or process.executable like ({patterns}) or
        file.extension in ("swp", "swpx", "tmp") or process.name like~ ("python*", "ruby?") or
        (process.name == "sed" and file.name : "sed*"))"#
    )
}

fn rules() -> Vec<String> {
    (0..60).map(rule).collect()
}

/// An event with its fields at their numbers.
struct Event(Vec<Option<String>>);

impl Document for Event {
    fn field(&self, id: FieldId) -> Value<'_> {
        self.0.get(id.index()).and_then(Option::as_deref).map_or(Value::Missing, Value::String)
    }
}

/// Events as a host has them: few of them concern a rule.
fn events(fields: &Fields) -> Vec<Event> {
    let paths = [
        "/etc/ld.so.preload",
        "/etc/ld.so.conf.d/lib.conf",
        "/tmp/build-8c31/object.o",
        "/var/log/journal/system.journal",
        "/home/user/.cache/browser/entries/4f2a9c",
        "/etc/service-7/main",
        "/usr/lib/service-9/extra.conf",
        "/var/lib/dpkg/status-new",
        "/home/user/.service-3/x",
        "/run/systemd/units/invocation:ssh.service",
    ];
    let executables = [
        "/usr/bin/bash",
        "/usr/bin/dpkg",
        "/usr/bin/tool-14",
        "/opt/some/tool-21",
        "/usr/lib/systemd/systemd",
    ];
    let actions = ["creation", "rename", "deletion"];
    let mut events = Vec::new();
    for number in 0..1_000 {
        let (path, executable) = (paths[number % paths.len()], executables[number % executables.len()]);
        let name = path.rsplit('/').next().unwrap_or_default();
        let mut event = Event(vec![None; fields.len()]);
        let mut set = |field: &str, value: &str| {
            if let Some(id) = fields.get(field) {
                event.0[id.index()] = Some(value.to_owned());
            }
        };
        set("event.category", "file");
        set("host.os.type", "linux");
        set("event.action", actions[number % actions.len()]);
        set("file.path", path);
        set("file.name", name);
        if let Some((_, extension)) = name.rsplit_once('.') {
            set("file.extension", extension);
        }
        set("process.executable", executable);
        set("process.name", executable.rsplit('/').next().unwrap_or_default());
        events.push(event);
    }
    events
}

fn compiled(rules: &[String]) -> (Vec<Program>, Vec<Event>) {
    let mut fields = Fields::default();
    let program =
        |rule: &String| Query::parse(rule).and_then(|query| query.compile(&mut fields)).expect("a fine rule");
    let programs = rules.iter().map(program).collect();
    (programs, events(&fields))
}

fn evaluate_all(bencher: Bencher<'_, '_>, rules: &[String], judge: impl Fn(&Program, &Event) -> bool + Sync) {
    let (programs, events) = compiled(rules);
    bencher.counter(ItemsCount::new(events.len())).bench(|| {
        events
            .iter()
            .map(|event| programs.iter().filter(|program| judge(program, black_box(event))).count())
            .sum::<usize>()
    });
}

#[divan::bench]
fn matches_one_rule(bencher: Bencher<'_, '_>) {
    evaluate_all(bencher, &[RULE.to_owned()], Program::matches);
}

#[divan::bench]
fn verdict_of_one_rule(bencher: Bencher<'_, '_>) {
    evaluate_all(bencher, &[RULE.to_owned()], |program, event| program.verdict(event) == Verdict::Match);
}

#[divan::bench]
fn matches_sixty_rules(bencher: Bencher<'_, '_>) {
    evaluate_all(bencher, &rules(), Program::matches);
}

#[divan::bench]
fn verdicts_of_sixty_rules(bencher: Bencher<'_, '_>) {
    evaluate_all(bencher, &rules(), |program, event| program.verdict(event) == Verdict::Match);
}

/// With an index, the rules that an event does not concern cost next to nothing.
#[divan::bench(args = [60, 600])]
fn verdicts_of_indexed_rules(bencher: Bencher<'_, '_>, count: usize) {
    let rules: Vec<String> = (0..count).map(rule).collect();
    let (programs, events) = compiled(&rules);
    let index = Index::new(&programs);
    bencher.counter(ItemsCount::new(events.len())).bench(|| {
        let mut candidates = Candidates::default();
        let mut matched = 0;
        for event in &events {
            index.find(black_box(event), &mut candidates);
            matched += candidates
                .iter()
                .filter(|program| programs[*program].verdict(event) == Verdict::Match)
                .count();
        }
        matched
    });
}

#[divan::bench]
fn parse_sixty_rules(bencher: Bencher<'_, '_>) {
    let rules = rules();
    let bytes: usize = rules.iter().map(String::len).sum();
    bencher
        .counter(BytesCount::new(bytes))
        .bench(|| rules.iter().filter(|rule| Query::parse(rule).is_ok()).count());
}

#[divan::bench]
fn compile_sixty_rules(bencher: Bencher<'_, '_>) {
    let rules = rules();
    let bytes: usize = rules.iter().map(String::len).sum();
    let queries: Vec<Query> = rules.iter().filter_map(|rule| Query::parse(rule).ok()).collect();
    bencher.counter(BytesCount::new(bytes)).bench(|| {
        let mut fields = Fields::default();
        queries.iter().filter(|query| query.compile(&mut fields).is_ok()).count()
    });
}

fn main() {
    divan::main();
}
