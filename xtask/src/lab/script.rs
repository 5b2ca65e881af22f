//! `cargo xtask lab run` and `lab shell`: one script, or a person, in a guest with the daemon.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{Attach, Binaries, Guest, GuestOptions, Kind, LAB, Payload, Plan, Scenario, Series, build_for};
use crate::architecture::Architecture;
use crate::command::Step;

/// How a script or a shell is run.
#[derive(Clone, Debug, clap::Args)]
pub struct ScriptOptions {
    /// The kernel's series
    #[arg(long, value_enum, default_value = "6.12")]
    pub kernel: Series,
    /// The guest's architecture
    #[arg(long, value_enum, default_value = "amd64")]
    pub arch: Architecture,
    /// How the daemon hooks the kernel
    #[arg(long, value_enum, default_value_t)]
    pub attach: Attach,
    /// A configuration file for the daemon
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A static daemon to use instead of the one that is built from this tree
    #[arg(long, value_name = "FILE")]
    pub daemon: Option<PathBuf>,
    /// How long the script may take
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub time_limit: u64,
}

/// The daemon's command in a guest.
pub(crate) fn daemon_command(attach: Attach, output: &str, config: bool) -> Vec<String> {
    let program = format!("{LAB}/bin/ldsentry");
    let mut command = vec![program, "run".to_owned(), "--output".to_owned(), output.to_owned()];
    if attach != Attach::Auto {
        command.extend(["--attach".to_owned(), attach.name().to_owned()]);
    }
    if config {
        command.extend(["--config".to_owned(), format!("{LAB}/config.toml")]);
    }
    command
}

impl ScriptOptions {
    fn prepare(&self) -> Result<(Binaries, Payload, Plan)> {
        let mut programs = vec![("integration-tests", "attack")];
        if self.daemon.is_none() {
            programs.push(("sensor", "ldsentry"));
        }
        let binaries = build_for(self.arch, &programs)?;
        let mut payload = Payload::new()?;
        payload.add_program("bin/attack", &binaries.path("attack"))?;
        let daemon = self.daemon.clone().unwrap_or_else(|| binaries.path("ldsentry"));
        payload.add_program("bin/ldsentry", &daemon)?;
        if let Some(config) = &self.config {
            let text = fs::read(config).with_context(|| format!("reading {}", config.display()))?;
            payload.add("config.toml", &text, 0o644)?;
        }
        let daemon = daemon_command(self.attach, "ndjson", self.config.is_some());
        Ok((binaries, payload, Plan { daemon, ..Plan::default() }))
    }
}

/// Runs the script as root beside the daemon. The daemon's output goes to standard output, everything else to
/// standard error. Gives the script's exit code.
pub fn run_script(options: &ScriptOptions, script: &Path) -> Result<i32> {
    let text = fs::read_to_string(script).with_context(|| format!("reading {}", script.display()))?;
    let (binaries, payload, mut plan) = options.prepare()?;
    plan.scenarios.push(Scenario { name: "script".to_owned(), script: text, seconds: options.time_limit });
    let step = Step::begin(format!("booting a {} kernel", options.kernel.name()));
    let guest = Guest::boot(&GuestOptions {
        series: options.kernel,
        binaries: &binaries,
        payload: &payload,
        plan: &plan,
    })?;
    step.done();
    show(&guest)
}

/// Gives a shell in a guest on this terminal, with the daemon running beside it.
pub fn shell(options: &ScriptOptions) -> Result<()> {
    let (binaries, payload, mut plan) = options.prepare()?;
    plan.shell = true;
    Step::begin("booting; `exit` ends the guest").done();
    Guest::shell(&GuestOptions {
        series: options.kernel,
        binaries: &binaries,
        payload: &payload,
        plan: &plan,
    })
}

/// Passes on everything that the guest sends, as it comes, and gives the last exit code.
pub(crate) fn show(guest: &Guest) -> Result<i32> {
    let mut code = 0;
    loop {
        let frame = guest.next_frame()?;
        match frame.kind {
            Kind::DaemonStdout => {
                let mut stdout = io::stdout().lock();
                stdout
                    .write_all(&frame.payload)
                    .and_then(|()| stdout.flush())
                    .context("writing the output")?;
            }
            Kind::DaemonStderr | Kind::ScriptStdout | Kind::ScriptStderr => {
                io::stderr().write_all(&frame.payload).context("writing to standard error")?;
            }
            Kind::End => code = frame.text().parse().context("reading the script's exit code")?,
            Kind::Done => return Ok(code),
            Kind::Hello | Kind::Ready | Kind::DaemonExit | Kind::Begin | Kind::Failed => {}
        }
    }
}
