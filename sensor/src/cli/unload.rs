//! `ldsentry unload`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Exit, output};
use crate::config::{DEFAULT_PINS, Settings};
use crate::instance::running;
use crate::kernel::{Removed, unload};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo systemctl stop ldsentry && sudo ldsentry unload

The kernel goes on collecting when the daemon is stopped, for the next one. This ends it: programs, maps and what they hold \
are removed. What happens from then on until the next start is not seen, and the next start says so.")]
pub(super) struct UnloadArgs {
    /// Configuration file [default: /etc/ldsentry/ldsentry.toml if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: &UnloadArgs) -> anyhow::Result<Exit> {
    let settings = Settings::load(args.config.as_deref())?;
    // It can have been turned off since.
    let directory = settings.sensor.pins.get().unwrap_or(Path::new(DEFAULT_PINS));
    if let Some(pid) = running()? {
        anyhow::bail!("ldsentry runs (pid {pid}): stop it first (`systemctl stop ldsentry`)");
    }
    match unload(directory)? {
        None => output::print(&format!("nothing is pinned in {}\n", directory.display()))?,
        Some((Removed { links, maps }, unread)) => {
            let directory = directory.display();
            output::print(&format!("removed {links} links and {maps} maps from {directory}\n"))?;
            if unread > 0 {
                output::print(&format!(
                    "with them {unread} bytes of records that no daemon had dealt with\n"
                ))?;
            }
        }
    }
    Ok(Exit::Fine)
}
