//! `cargo xtask bench`: what the sensor costs those who do not notice it, in a guest whose clock counts instructions, beside
//! what others cost there. Writes docs/cost.md, and keeps the figures in docs/cost.json for [`compare`].

mod report;
mod results;
#[path = "../../sensor/benches/corpus/rules.rs"]
mod rules;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

pub use self::results::{Results, Stored};
use crate::architecture::Architecture;
use crate::command::{Step, workspace};
use crate::dist;
use crate::lab::{Binaries, Guest, GuestOptions, Machine, Payload, Plan, Root, Scenario, Series, build};

/// What is measured, beside nothing.
const EVERYTHING: &str = "
baseline
floor fentry
floor kprobe
sensor fentry 'one rule' --rules /lab/one.toml
sensor kprobe 'one rule' --rules /lab/one.toml
sensor fentry 'built-in rules'
sensor kprobe 'built-in rules'
sensor fentry '60 rules' --rules /lab/rules --rules /lab/one.toml
sensor kprobe '60 rules' --rules /lab/rules --rules /lab/one.toml
sensor_by_fanotify
sensor_by_fanotify_beside_inotify
trace
inotify
fanotify directory directory
fanotify file-system 'file system'
resources one --rules /lab/one.toml
resources many --rules /lab/rules --rules /lab/one.toml
audit
";
/// What every test run measures.
const CORE: &str = "
baseline
sensor fentry 'one rule' --rules /lab/one.toml
sensor kprobe 'one rule' --rules /lab/one.toml
";
/// The rule about creations and renames alone.
const ONE_RULE: &[u8] =
    include_bytes!("../../rules/linux/persistence/dynamic_linker_creation_or_modification.toml");
/// How often what seems to be worse is measured again: disks answer in their own time, and wake others in the guest now and then.
const AGAIN: usize = 2;
/// A rule set of the size of Elastic's.
const RULES: usize = 60;
/// In the guest's time, most of which passes at once.
const SECONDS: u64 = 100_000;

/// How long a machine that counts may take, which says nothing before it is done. On this machine's clock.
const MEASURING: Duration = Duration::from_hours(1);

/// How to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct BenchOptions {
    /// Only on this kernel
    #[arg(long, value_enum)]
    pub kernel: Option<Series>,
    /// Only these lines of what the guest does, as in xtask/src/bench.rs; other figures stay as they are
    #[arg(long, value_name = "LINES")]
    pub only: Option<String>,
    /// A static daemon to use instead of the one that is built from this tree, as `cargo xtask dist` does it
    #[arg(long, value_name = "FILE")]
    pub daemon: Option<PathBuf>,
    /// Print the page, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Measures everything and writes it down.
pub fn run(options: &BenchOptions) -> Result<()> {
    let lines = options.only.as_ref().map_or(EVERYTHING.to_owned(), |only| format!("baseline\n{only}\n"));
    // What the daemon itself needs is that of the one that is shipped.
    let shipped = lines.lines().any(|line| line.starts_with("resources"));
    let binaries = programs(options.daemon.is_none() && !shipped)?;
    let daemon = match &options.daemon {
        Some(daemon) => daemon.clone(),
        None if shipped => {
            let step = Step::begin("building the static daemon (minutes)");
            let daemon = dist::daemon::build(&dist::Tree::here(Architecture::Amd64))?;
            step.done();
            daemon
        }
        None => binaries.path("ldsentry"),
    };
    let mut measured = Vec::new();
    for series in Series::ALL.into_iter().filter(|series| options.kernel.is_none_or(|only| only == *series)) {
        let step = Step::begin(format!("measuring on a {} kernel", series.name()));
        let results = measure(series, Root::Compared, &binaries, &daemon, &lines)?;
        step.done();
        measured.push((series, results));
    }
    let mut stored = Stored::read(&data())?;
    for (series, results) in measured {
        if options.only.is_none() {
            stored.kernels.remove(series.name());
        }
        stored.add(series.name(), results);
    }
    let page = report::page(&stored);
    if options.dry_run {
        std::io::stdout().write_all(page.as_bytes()).context("writing the page")?;
        return Ok(());
    }
    stored.write(&data())?;
    let path = workspace().join("docs/cost.md");
    std::fs::write(&path, page).with_context(|| format!("writing {}", path.display()))
}

/// Measures what the hooks add, and complains if it is more than what is stored for the same build of the kernel. Gives what
/// there is to say.
pub fn compare(series: Series, binaries: &Binaries) -> Result<String> {
    let measure = || measure(series, Root::Tests, binaries, &binaries.path("ldsentry"), CORE);
    let mut results = measure()?;
    let stored = Stored::read(&data())?;
    let Some(before) = stored.kernels.get(series.name()).filter(|before| before.kernel == results.kernel)
    else {
        return Ok(format!(
            "nothing is stored for {}: `cargo xtask bench` measures it and stores it\n{}",
            results.kernel,
            report::core(&results)
        ));
    };
    let mut worse = results.worse_than(before);
    for _ in 0..AGAIN {
        if worse.is_empty() {
            break;
        }
        results.keep_least(&measure()?);
        worse = results.worse_than(before);
    }
    if worse.is_empty() {
        return Ok(format!("no worse than stored\n{}", report::core(&results)));
    }
    bail!(
        "more instructions than are stored in docs/cost.json; if that is worth it, `cargo xtask bench` stores them anew\n{}",
        worse.join("\n")
    )
}

/// What has to be built for measuring.
pub fn programs(daemon: bool) -> Result<Binaries> {
    let mut programs = vec![("integration-tests", "cost")];
    if daemon {
        programs.push(("sensor", "ldsentry"));
    }
    build(&programs)
}

fn measure(series: Series, root: Root, binaries: &Binaries, daemon: &Path, lines: &str) -> Result<Results> {
    let mut payload = Payload::new()?;
    payload.add_program("bin/cost", &binaries.path("cost"))?;
    payload.add_program("bin/ldsentry", daemon)?;
    payload.add("one.toml", ONE_RULE, 0o644)?;
    let generated = tempfile::tempdir().context("making a directory for rules")?;
    rules::write(generated.path(), RULES).context("writing rules")?;
    for rule in std::fs::read_dir(generated.path())? {
        let rule = rule?;
        let name = format!("rules/{}", rule.file_name().to_string_lossy());
        payload.add(&name, &std::fs::read(rule.path())?, 0o644)?;
    }
    let script = format!("{}{lines}", include_str!("bench/guest.sh"));
    let scenario = Scenario { name: "bench".to_owned(), script, seconds: SECONDS };
    let plan = Plan { scenarios: vec![scenario], ..Plan::default() };
    let options = GuestOptions { series, binaries, payload: &payload, plan: &plan };
    let guest = Guest::boot_on(Machine::Counted, root, &options)?;
    let output = guest.transcript(MEASURING)?.success();
    Results::parse(&output.with_context(|| format!("measuring on {}", series.name()))?)
}

fn data() -> PathBuf {
    workspace().join("docs/cost.json")
}
