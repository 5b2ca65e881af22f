//! The .deb, and the unit in it.

use anyhow::{Context as _, Result, ensure};
use xtask::command::{output, program, target_directory, workspace};
use xtask::dist;
use xtask::dist::packages::{Profile, deb};

/// `systemd-analyze security` may say this at most.
const EXPOSURE: f32 = 2.5;

#[test]
fn lintian_finds_no_error() -> Result<()> {
    let directory = tempfile::tempdir_in(target_directory())?;
    // The lab's daemon, without the optimisation that takes minutes.
    xtask::lab::build(&[("sensor", "ldsentry")])?;
    let package = deb(Profile::Debug, dist::version(), directory.path())?;
    output(program("lintian").args(["--fail-on", "error", "--allow-root"]).arg(package)).map(drop)
}

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
