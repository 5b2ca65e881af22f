//! The .deb and the .rpm. What is in them stands in `sensor/Cargo.toml`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Tree, epoch, version};
use crate::command::output;
use crate::manual;

/// Which daemon is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The one that is given to others.
    Release,
    /// The one that is built for the lab, for tests.
    Debug,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Debug => "dev",
        }
    }
}

/// Packs the daemon that was built, and what [`prepare`] wrote, for Debian and its like.
pub fn deb(tree: &Tree, profile: Profile, version: &str, to: &Path) -> Result<PathBuf> {
    let package = to.join(format!("ldsentry_{version}-1_{}.deb", tree.architecture.name()));
    let mut command = subcommand(tree, "deb")?;
    command.args(["--quiet", "--no-build", "--package", "sensor", "--deb-version", &format!("{version}-1")]);
    command.args(["--profile", profile.name()]).arg("--output").arg(&package);
    output(&mut command).context("packing the .deb")?;
    Ok(package)
}

/// The same for Fedora, openSUSE and their like.
pub fn rpm(tree: &Tree, profile: Profile, to: &Path) -> Result<PathBuf> {
    let package = to.join(format!("ldsentry-{}-1.{}.rpm", version(), tree.architecture.machine()));
    let mut command = subcommand(tree, "generate-rpm")?;
    command.args(["--package", "sensor", "--source-date", &epoch()?]);
    command.args(["--profile", profile.name()]).arg("--output").arg(&package);
    output(&mut command).context("packing the .rpm")?;
    Ok(package)
}

/// Writes manual pages and completions to where the packages' lists of files look for them, and copies of what is in the tree.
///
/// Files in an .rpm keep their times, up to that of the sources. What is made now is later, on every machine.
pub fn prepare(tree: &Tree) -> Result<()> {
    let package = tree.sources.join("target/package");
    for directory in ["deploy", "docs"] {
        fs::remove_dir_all(package.join(directory)).ok();
    }
    manual::write(&package)?;
    let mut copy = Command::new("cp");
    copy.args(["--recursive", "deploy", "docs"]).arg(&package).current_dir(&tree.sources);
    output(&mut copy).context("copying what is packed")?;
    Ok(())
}

/// One of cargo's that packs.
fn subcommand(tree: &Tree, name: &str) -> Result<Command> {
    let mut command = Command::new("cargo");
    command.args([name, "--target", tree.architecture.target()]).current_dir(&tree.sources);
    command.env("CARGO_TARGET_DIR", &tree.target).env("SOURCE_DATE_EPOCH", epoch()?);
    Ok(command)
}
