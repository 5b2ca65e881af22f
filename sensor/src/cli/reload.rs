//! `ldsentry reload`.

use std::time::{Duration, Instant};

use crate::instance::{last_reload, running};
use anyhow::{Context as _, bail};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::{Exit, output};

/// How long the daemon may take: it can have to attach hooks.
const PATIENCE: Duration = Duration::from_mins(1);

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo ldsentry reload
  sudo systemctl reload ldsentry      the same, if systemd started it

Tells the daemon to read its configuration and rules anew (SIGHUP), and says what came of it. Either all of it is in force \
afterwards, or nothing has changed and the exit code is 1.")]
pub(super) struct ReloadArgs {}

pub(super) fn run(_: &ReloadArgs) -> anyhow::Result<Exit> {
    let pid =
        running()?.context("no ldsentry runs that could reload: start it (`systemctl start ldsentry`)")?;
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).context("the daemon has no process id")?;
    let before = last_reload();
    kill_process(process, Signal::HUP)
        .with_context(|| format!("cannot signal the daemon (pid {pid}); run as root"))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match last_reload() {
            Some(report) if report.pid == pid && Some(&report) != before.as_ref() => {
                if let Some(error) = report.error {
                    bail!("not reloaded, the configuration before stays in force: {error}");
                }
                output::print("reloaded\n")?;
                return Ok(Exit::Fine);
            }
            _ if Instant::now() > deadline => {
                bail!(
                    "the daemon (pid {pid}) did not say within {} s what came of it; see its log",
                    PATIENCE.as_secs()
                );
            }
            _ if test_kill_process(process).is_err() => {
                bail!("the daemon (pid {pid}) has ended; see its log")
            }
            _ => std::thread::sleep(PAUSE),
        }
    }
}
