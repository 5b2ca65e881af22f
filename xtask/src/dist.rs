//! `cargo xtask dist`: what is given to others, in `target/dist`.

pub mod daemon;
pub mod image;
pub mod packages;
mod sbom;
pub mod tools;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::architecture::Architecture;
use crate::command::{Step, output, target_directory, workspace};
use packages::Profile;

const SUMS: &str = "SHA256SUMS";

/// What is built, and where.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The project's root.
    pub sources: PathBuf,
    /// Cargo's target directory.
    pub target: PathBuf,
    /// What is built for.
    pub architecture: Architecture,
}

impl Tree {
    /// The tree that this program is of.
    pub fn here(architecture: Architecture) -> Self {
        Self { sources: workspace(), target: target_directory(), architecture }
    }
}

/// Builds everything. With `twice` it is built a second time, somewhere else, and must come out the same.
pub fn run(architecture: Architecture, twice: bool) -> Result<()> {
    tools::install()?;
    architecture.prepare()?;
    let here = Tree::here(architecture);
    let directory = here.target.join(match architecture {
        Architecture::Amd64 => "dist",
        Architecture::Arm64 => "dist-arm64",
    });
    make(&here, &directory)?;
    if twice {
        let changes = output(Command::new("git").args(["status", "--porcelain"]).current_dir(workspace()))?;
        ensure!(changes.is_empty(), "what is not committed would not be in the second build:\n{changes}");
        let elsewhere = tempfile::tempdir_in(&here.target)?;
        let there = Tree {
            sources: elsewhere.path().join("sources"),
            target: elsewhere.path().join("target"),
            architecture,
        };
        output(Command::new("git").args(["clone", "--quiet"]).arg(workspace()).arg(&there.sources))?;
        let again = elsewhere.path().join("dist");
        make(&there, &again)?;
        let (one, other) = (fs::read_to_string(directory.join(SUMS))?, fs::read_to_string(again.join(SUMS))?);
        ensure!(one == other, "the second build has other bytes:\n{one}\n{other}");
    }
    Ok(())
}

fn make(tree: &Tree, directory: &Path) -> Result<()> {
    fs::remove_dir_all(directory).ok();
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    let step = Step::begin("building the static daemon (minutes)");
    let daemon = daemon::build(tree)?;
    step.done();
    let step = Step::begin("packing it");
    fs::copy(&daemon, directory.join("ldsentry")).with_context(|| format!("copying {}", daemon.display()))?;
    packages::prepare(tree)?;
    packages::deb(tree, Profile::Release, version(), directory)?;
    packages::rpm(tree, Profile::Release, directory)?;
    let architecture = tree.architecture.name();
    let image = directory.join(format!("ldsentry-{}-oci-{architecture}.tar", version()));
    image::write(&daemon, architecture, version(), &image)?;
    sbom::write(&tree.sources, &directory.join(format!("ldsentry-{}.spdx.json", version())))?;
    write_sums(directory)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_files() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let file = |name: &str| directory.path().join(name);
        fs::write(file("ldsentry"), [0, 159, 146, 150])?;
        fs::write(file("ldsentry_0.1.0-1_amd64.deb"), b"")?;
        write_sums(directory.path())?;
        let check = || {
            let mut sums = Command::new("sha256sum");
            output(sums.args(["--check", "--strict", SUMS]).current_dir(directory.path()))
        };
        let said = check()?;
        ensure!(said == "ldsentry: OK\nldsentry_0.1.0-1_amd64.deb: OK\n", "{said}");
        fs::write(file("ldsentry"), [0, 159, 146, 151])?;
        ensure!(check().is_err());
        Ok(())
    }
}
