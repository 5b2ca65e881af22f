//! The unit that is in the .deb.

use anyhow::{Context as _, Result, ensure};
use xtask::command::{output, program, workspace};

/// `systemd-analyze security` may say this at most.
const EXPOSURE: f32 = 2.5;

#[test]
fn the_unit_exposes_little() -> Result<()> {
    let unit = workspace().join("deploy/systemd/ldsentry.service");
    let mut analyze = program("systemd-analyze");
    let said = output(analyze.args(["security", "--offline=true", "--no-pager"]).arg(unit))?;
    let (_, level) = said.split_once("exposure level for ldsentry.service: ").context("no level")?;
    let level: f32 = level.split(' ').next().unwrap_or_default().parse().context("no number")?;
    ensure!(level <= EXPOSURE, "{said}");
    Ok(())
}
