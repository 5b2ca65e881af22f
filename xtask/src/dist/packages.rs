//! The .deb. What is in it stands in `sensor/Cargo.toml`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{TARGET, epoch};
use crate::command::{Step, output, target_directory, workspace};
use crate::manual;

const CARGO_DEB: &str = "3.8.0";

/// Which daemon is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The one that is given to others.
    Release,
    /// The one that is built for the lab, for tests.
    Debug,
}

/// Packs the daemon that was built, for Debian and its like.
pub fn deb(profile: Profile, version: &str, to: &Path) -> Result<PathBuf> {
    install_cargo_deb()?;
    // Where the package's list of files looks for them.
    manual::write(&workspace().join("target/package"))?;
    let package = to.join(format!("ldsentry_{version}-1_amd64.deb"));
    let profile = match profile {
        Profile::Release => "release",
        Profile::Debug => "dev",
    };
    let mut command = Command::new("cargo");
    command.args(["deb", "--quiet", "--no-build", "--package", "sensor", "--profile", profile]);
    command
        .args(["--target", TARGET, "--deb-version", &format!("{version}-1")])
        .arg("--output")
        .arg(&package);
    command.current_dir(workspace()).env("CARGO_TARGET_DIR", target_directory());
    output(command.env("SOURCE_DATE_EPOCH", epoch()?)).context("packing the .deb")?;
    Ok(package)
}

fn install_cargo_deb() -> Result<()> {
    let installed = output(Command::new("cargo").args(["install", "--list"]))?;
    if installed.lines().any(|line| line == format!("cargo-deb v{CARGO_DEB}:")) {
        return Ok(());
    }
    let step = Step::begin(format!("building cargo-deb {CARGO_DEB} (about a minute, once)"));
    let mut install = Command::new("cargo");
    install.args(["install", "--quiet", "--locked", "--force", "cargo-deb", "--version", CARGO_DEB]);
    output(&mut install).context("building cargo-deb")?;
    step.done();
    Ok(())
}
