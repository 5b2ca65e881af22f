//! `cargo xtask dist`: what is given to others, in `target/dist`.

mod daemon;

use std::fs;

use anyhow::{Context as _, Result};

use crate::command::{Step, target_directory, workspace};

/// Builds it.
pub fn run() -> Result<()> {
    let directory = target_directory().join("dist");
    fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
    let step = Step::begin("building the static daemon (minutes)");
    let daemon = daemon::build(&workspace(), &target_directory())?;
    step.done();
    fs::copy(&daemon, directory.join("ldsentry")).with_context(|| format!("copying {}", daemon.display()))?;
    Ok(())
}
