//! `cargo xtask dist`: what is given to others, in `target/dist`.

pub mod daemon;
pub mod image;
pub mod packages;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::command::{Step, output, target_directory, workspace};
use daemon::TARGET;
use packages::Profile;

const SUMS: &str = "SHA256SUMS";

/// Builds everything.
pub fn run() -> Result<()> {
    let directory = target_directory().join("dist");
    fs::remove_dir_all(&directory).ok();
    fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
    let step = Step::begin("building the static daemon (minutes)");
    let daemon = daemon::build(&workspace(), &target_directory())?;
    step.done();
    let step = Step::begin("packing it");
    fs::copy(&daemon, directory.join("ldsentry")).with_context(|| format!("copying {}", daemon.display()))?;
    packages::deb(Profile::Release, version(), &directory)?;
    image::write(
        &daemon,
        "amd64",
        version(),
        &directory.join(format!("ldsentry-{}-oci-amd64.tar", version())),
    )?;
    write_sums(&directory)?;
    step.done();
    Ok(())
}

/// What all packages have in common.
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The time of the sources, in seconds: that of the last commit, unless `SOURCE_DATE_EPOCH` says another.
fn epoch() -> Result<String> {
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(epoch);
    }
    let mut git = Command::new("git");
    git.args(["log", "-1", "--format=%ct"]).current_dir(workspace());
    Ok(output(&mut git).context("asking for the time of the last commit")?.trim().to_owned())
}

/// The same, as RFC 3339 has it.
fn created() -> Result<String> {
    let mut date = Command::new("date");
    date.args(["--utc", "--date", &format!("@{}", epoch()?), "+%Y-%m-%dT%H:%M:%SZ"]);
    Ok(output(&mut date)?.trim().to_owned())
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// As `sha256sum --check` reads it.
fn write_sums(directory: &Path) -> Result<()> {
    let mut names: Vec<PathBuf> =
        fs::read_dir(directory)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    names.sort();
    let mut sums = String::new();
    for path in names {
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        writeln!(sums, "{}  {name}", sha256(&bytes))?;
    }
    Ok(fs::write(directory.join(SUMS), sums)?)
}
