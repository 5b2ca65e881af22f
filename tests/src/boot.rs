//! One boot of one kernel, in which all scenarios run one after the other.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::Value;
use xtask::architecture::Architecture;
use xtask::lab::{
    Attach, Binaries, Frame, Guest, GuestOptions, Kind, LAB, MARKER, Payload, Plan, Series, StaleBreakpoint,
};

use crate::Scenario;
use crate::alert::lookup;

/// Names a static daemon to test instead of the one that is built from this tree.
const OTHER_DAEMON: &str = "LDSENTRY_LAB_DAEMON";

/// Programs for scripts.
const HELPERS: [&str; 5] = ["attack", "bpf-objects", "denied", "hijacked", "uring"];

/// The attacks of a 32-bit process. Rust has no such target here, and the C compiler needs nothing beside itself.
const ATTACK_32: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/c/attack32.c");

/// Longer lines are cut for people; counters are.
const LONG_LINE: usize = 300;

/// What came of a scenario.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The script's exit code.
    pub exit_code: i32,
    /// The script's standard output.
    pub stdout: String,
    /// The script's standard error.
    pub stderr: String,
    /// The daemon's alerts, without those for the lab's own markers.
    pub alerts: Vec<Value>,
    /// What the daemon said on standard error meanwhile.
    pub daemon_stderr: String,
}

impl Outcome {
    /// What the script printed as `name=value`; the last one counts.
    pub fn facts(&self) -> BTreeMap<String, String> {
        let facts = self.stdout.lines().filter_map(|line| line.split_once('='));
        facts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// A number that the script printed as `name=value`.
    pub fn number(&self, name: &str) -> Result<u64> {
        let facts = self.facts();
        let fact = facts.get(name).with_context(|| format!("the script did not print {name}=…"))?;
        fact.parse().with_context(|| format!("{name} is `{fact}`, no number"))
    }

    /// Everything that was said, for people.
    pub fn transcript(&self) -> String {
        let mut text = String::new();
        for (who, said) in [
            ("the script's output", &self.stdout),
            ("the script's errors", &self.stderr),
            ("the daemon's errors", &self.daemon_stderr),
        ] {
            if !said.is_empty() {
                writeln!(text, "--- {who}:").ok();
            }
            for line in said.lines() {
                let (shown, rest) = line.split_at(line.floor_char_boundary(LONG_LINE));
                writeln!(text, "{shown}{}", if rest.is_empty() { "" } else { "…" }).ok();
            }
        }
        text
    }
}

/// What the daemon did over the whole boot.
#[derive(Debug)]
struct Results {
    scenarios: BTreeMap<String, Outcome>,
    /// Why it ended before everything had run.
    broken: Option<anyhow::Error>,
    complaints: Vec<String>,
    daemon_stderr: String,
}

/// One boot, which happens when its first result is asked for.
#[derive(Debug)]
pub struct Boot {
    architecture: Architecture,
    series: Series,
    attach: Attach,
    scenarios: Vec<Arc<Scenario>>,
    results: OnceLock<Results>,
}

impl Boot {
    /// A boot of this kernel with the daemon attached in this way.
    pub fn new(architecture: Architecture, series: Series, attach: Attach) -> Self {
        Self { architecture, series, attach, scenarios: Vec::new(), results: OnceLock::new() }
    }

    /// As in a test's name.
    pub fn name(&self) -> String {
        let architecture = match self.architecture {
            Architecture::Amd64 => "",
            Architecture::Arm64 => "-arm64",
        };
        format!("{}{architecture}/{}", self.series.name(), self.attach.name())
    }

    /// What its processor is.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// One more scenario to run.
    pub fn add(&mut self, scenario: Arc<Scenario>) {
        self.scenarios.push(scenario);
    }

    /// Whether the scenario passed.
    pub fn verify(&self, scenario: &Scenario) -> Result<()> {
        let results = self.results();
        match (results.scenarios.get(scenario.name()), &results.broken) {
            (Some(outcome), _) => scenario.verify(outcome),
            (None, Some(error)) => {
                bail!("not finished, the guest ended before: {error:#}\n{}", results.daemon_stderr)
            }
            (None, None) => bail!("the guest did not run it"),
        }
    }

    /// Whether the daemon as a whole behaved.
    pub fn verify_daemon(&self) -> Result<()> {
        let results = self.results();
        if let Some(error) = &results.broken {
            bail!("{error:#}\n{}", results.daemon_stderr);
        }
        ensure!(
            results.complaints.is_empty(),
            "{}\n{}",
            results.complaints.join("\n"),
            results.daemon_stderr
        );
        Ok(())
    }

    fn results(&self) -> &Results {
        self.results.get_or_init(|| {
            let mut collector = Collector::default();
            let mut broken = self.run(&mut collector).err();
            for _ in 0..2 {
                // Under emulation a kernel now and then dies while it boots; that says nothing about the daemon.
                let is_emulators =
                    |error: &anyhow::Error| collector.finished.is_empty() || error.is::<StaleBreakpoint>();
                if !broken.as_ref().is_some_and(is_emulators) {
                    break;
                }
                collector.begin_anew();
                broken = self.run(&mut collector).err();
            }
            Results {
                scenarios: collector.finished,
                broken,
                complaints: collector.complaints,
                daemon_stderr: collector.daemon_stderr,
            }
        })
    }

    fn run(&self, collector: &mut Collector) -> Result<()> {
        let binaries = binaries(self.architecture)?;
        let mut payload = Payload::new()?;
        let other = std::env::var_os(OTHER_DAEMON).map(PathBuf::from);
        payload.add_program("bin/ldsentry", &other.unwrap_or_else(|| binaries.path("ldsentry")))?;
        for program in HELPERS {
            payload.add_program(&format!("bin/{program}"), &binaries.path(program))?;
        }
        if self.architecture == Architecture::Amd64 {
            payload.add_program("bin/attack32", &binaries.path("attack32"))?;
        }
        payload.add("lib.sh", include_bytes!("lib.sh"), 0o644)?;
        payload.add("ldsentry.toml", include_bytes!("ldsentry.toml"), 0o644)?;
        let [program, config] = ["bin/ldsentry", "ldsentry.toml"].map(|name| format!("{LAB}/{name}"));
        let daemon =
            [&program, "run", "--config", &config, "--output", "ndjson", "--attach", self.attach.name()];
        let daemon = daemon.map(str::to_owned).to_vec();
        let missing = self.scenarios.iter().filter(|one| !collector.finished.contains_key(one.name()));
        let scenarios = missing.map(|scenario| scenario.as_plan()).collect();
        let plan = Plan { daemon, scenarios, markers: true, ..Plan::default() };
        let guest =
            Guest::boot(&GuestOptions { series: self.series, binaries, payload: &payload, plan: &plan })?;
        while collector.take(&guest.next_frame()?)? {}
        Ok(())
    }
}

/// The programs for the guest, built once for all boots.
fn binaries(architecture: Architecture) -> Result<&'static Binaries> {
    static AMD64: OnceLock<Result<Binaries>> = OnceLock::new();
    static ARM64: OnceLock<Result<Binaries>> = OnceLock::new();
    let binaries = match architecture {
        Architecture::Amd64 => &AMD64,
        Architecture::Arm64 => &ARM64,
    };
    let built = binaries.get_or_init(|| {
        xtask::setup::run()?;
        let helpers = HELPERS.map(|program| ("integration-tests", program));
        let programs = [&[("sensor", "ldsentry")], &helpers[..]].concat();
        let binaries = xtask::lab::build_for(architecture, &programs)?;
        if architecture == Architecture::Amd64 {
            compile_32(&binaries.path("attack32"))?;
        }
        Ok(binaries)
    });
    built.as_ref().map_err(|error| anyhow!("{error:#}"))
}

fn compile_32(program: &Path) -> Result<()> {
    let mut command = Command::new("cc");
    command.args(["-m32", "-nostdlib", "-static", "-ffreestanding", "-fno-pie", "-no-pie", "-O1"]);
    command.args(["-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-o"]);
    let output =
        command.arg(program).arg(ATTACK_32).output().with_context(|| format!("running {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Puts frames together again.
#[derive(Debug, Default)]
struct Collector {
    finished: BTreeMap<String, Outcome>,
    scenario: usize,
    name: String,
    current: Outcome,
    stdout: Vec<u8>,
    markers: usize,
    complaints: Vec<String>,
    daemon_stderr: String,
}

impl Collector {
    /// What was running is lost.
    fn begin_anew(&mut self) {
        self.current = Outcome::default();
        self.stdout.clear();
    }

    /// Whether there is more to come.
    fn take(&mut self, frame: &Frame) -> Result<bool> {
        match frame.kind {
            Kind::Begin => {
                self.name = frame.text();
                self.scenario = frame.scenario;
                self.markers = 0;
            }
            Kind::ScriptStdout => self.current.stdout.push_str(&frame.text()),
            Kind::ScriptStderr => self.current.stderr.push_str(&frame.text()),
            Kind::DaemonStdout => self.take_output(&frame.payload),
            Kind::DaemonStderr => {
                self.current.daemon_stderr.push_str(&frame.text());
                self.daemon_stderr.push_str(&frame.text());
            }
            Kind::End => {
                if self.markers != 1 {
                    self.complaints
                        .push(format!("{} alerts for the marker after {}", self.markers, self.name));
                }
                let mut outcome = std::mem::take(&mut self.current);
                outcome.exit_code = frame.text().parse().context("reading a script's exit code")?;
                self.finished.insert(std::mem::take(&mut self.name), outcome);
            }
            Kind::DaemonExit => {
                if frame.text() != "0" {
                    self.complaints.push(format!("the daemon's exit code is {}", frame.text()));
                }
                if !self.current.alerts.is_empty() {
                    self.complaints
                        .push(format!("{} alerts after the last scenario", self.current.alerts.len()));
                }
            }
            Kind::Done => return Ok(false),
            Kind::Hello | Kind::Ready | Kind::Failed => {}
        }
        Ok(true)
    }

    fn take_output(&mut self, bytes: &[u8]) {
        self.stdout.extend_from_slice(bytes);
        while let Some(end) = self.stdout.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.stdout.drain(..=end).collect();
            match serde_json::from_slice::<Value>(&line) {
                Ok(alert) => match marker(&alert) {
                    Some(number) if number == self.scenario.to_string() => self.markers += 1,
                    // Of a scenario before, which was complained about.
                    Some(_) => {}
                    // Told when it is time to, and in numbers by the counters.
                    None if lookup(&alert, "kibana.alert.rule.name")
                        == Some(&"Events of this host were lost".into()) => {}
                    None => self.current.alerts.push(alert),
                },
                Err(error) => {
                    let line = String::from_utf8_lossy(&line);
                    self.complaints.push(format!("no JSON on the daemon's standard output: {error}: {line}"));
                }
            }
        }
    }
}

/// What follows in the name of a marker.
fn marker(alert: &Value) -> Option<&str> {
    lookup(alert, "file.name")?.as_str()?.strip_prefix(MARKER)
}
